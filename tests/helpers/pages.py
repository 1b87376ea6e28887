"""The pages of documentation and the commands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = (
    *("", "docs", "docs/decoder", "docs/pages", "docs/pages/api"),
    *("configs", "configs/entropy", "sweeps", "kernels", "lit_rnncomp/zoo"),
)
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))


def commands(page: Path) -> list[list[str]]:
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(lit-rnncomp .*)$", text, re.MULTILINE)
    return [line.split("#")[0].split("&&")[0].split()[1:] for line in lines]
