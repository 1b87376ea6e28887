"""The front page and the guides are run: their commands print what they show, their Python blocks work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pages import ROOT
from PIL import Image
from skimage import data

pytestmark = pytest.mark.slow

FRONT = ROOT / "README.md"
PHOTOGRAPHERS = ROOT / "docs" / "pages" / "photographers.md"


def comparable(text: str) -> list[str]:
    """Its words: numbers may differ between machines and codecs, and tables are as wide as their numbers."""
    return re.sub(r"[0-9][0-9a-f,.]*", "#", re.sub(r"[\u2500-\u257f]+", " ", text)).split()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path


@pytest.mark.parametrize(("page", "least"), [(FRONT, 2), (PHOTOGRAPHERS, 11)], ids=["front", "photographers"])
def test_commands_print_what_the_page_shows(page: Path, least: int, folder: Path) -> None:
    program = f"lit-rnncomp() {{ '{sys.executable}' -c 'from lit_rnncomp.cli import main; main()' \"$@\"; }}"
    shown = [
        (command, said) for block in blocks(page, "console") for command, said in re.findall(r"\$ (.*)\n([^$]*)", block)
    ]
    assert len(shown) >= least
    for command, said in shown:
        run = subprocess.run(
            ["bash", "-c", f"{program}; {command}"],
            cwd=folder,
            env={**os.environ, "COLUMNS": "80"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert comparable(run.stdout) == comparable(said), (command, run.stdout)


@pytest.mark.parametrize("page", [FRONT, PHOTOGRAPHERS], ids=["front", "photographers"])
def test_python_blocks_run(page: Path, folder: Path) -> None:
    found = blocks(page, "python")
    assert found
    for block in found:
        subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=folder, check=True, timeout=120)
    if page == PHOTOGRAPHERS:
        assert (folder / "after 1.png").is_file() and (folder / "third.png").is_file()
