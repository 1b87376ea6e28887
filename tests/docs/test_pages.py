"""The guide for photographers is run: its commands print what it shows, its Python blocks work."""

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

PAGE = (ROOT / "docs" / "pages" / "photographers.md").read_text()


def comparable(text: str) -> list[str]:
    """Its words: numbers may differ between machines and codecs, and tables are as wide as their numbers."""
    return re.sub(r"[0-9][0-9a-f,.]*", "#", re.sub(r"[\u2500-\u257f]+", " ", text)).split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path


def test_commands_print_what_the_page_shows(folder: Path) -> None:
    program = f"lit-rnncomp() {{ '{sys.executable}' -c 'from lit_rnncomp.cli import main; main()' \"$@\"; }}"
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    shown = [(command, said) for block in blocks for command, said in re.findall(r"\$ (.*)\n([^$]*)", block)]
    assert len(shown) > 10
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


def test_python_blocks_run(folder: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=folder, check=True, timeout=120)
    assert (folder / "after 1.png").is_file() and (folder / "third.png").is_file()
