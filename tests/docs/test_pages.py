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
RESEARCHERS = ROOT / "docs" / "pages" / "researchers.md"


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


def python(code: str, folder: Path) -> str:
    """What a script prints in a folder; warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=folder, check=True, timeout=120, stdout=subprocess.PIPE, text=True).stdout


def test_results_are_read_as_the_researchers_page_shows() -> None:
    _, plain, *_ = blocks(RESEARCHERS, "python")
    (shown,) = blocks(RESEARCHERS, "text")
    assert python(plain, ROOT) == shown


def test_results_become_data_frames(folder: Path) -> None:
    pytest.importorskip("pandas")
    _, *code = blocks(RESEARCHERS, "python")
    (folder / "lit_rnncomp").mkdir()
    (folder / "lit_rnncomp" / "zoo").symlink_to(ROOT / "lit_rnncomp" / "zoo")
    (folder / "photographs").mkdir()
    (folder / "photo.jpg").rename(folder / "photographs" / "photo.jpg")
    command = "from lit_rnncomp.cli import main; main()"
    arguments = ["evaluate", "--data", "photographs", "--codecs", "jpeg420,webp", "--out", "results"]
    subprocess.run([sys.executable, "-c", command, *arguments], cwd=folder, check=True, timeout=120)
    printed = python("\n".join(code), folder)
    assert re.search(r"^codec +jpeg420 +webp$", printed, re.MULTILINE)
    assert re.search(r"^mean +[0-9.]+ +[0-9.]+$", printed, re.MULTILINE)


def test_data_and_callback_of_ones_own_are_used(tmp_path: Path) -> None:
    own, *_ = blocks(RESEARCHERS, "python")
    (tmp_path / "mine.py").write_text(own)
    (named,) = re.findall(r"`lit-rnncomp (fit --model .*mine\.\S+)`", RESEARCHERS.read_text())
    small = "--model.init_args.width=0.02 --model.init_args.iterations=2 --data.batch_size=2 --data.max_side=64"
    quiet = "--trainer.accelerator=cpu --trainer.enable_progress_bar=false --trainer.max_steps=2"
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()"]
    words = [*named.split(), *small.split(), *quiet.split()]
    run = subprocess.run([*command, *words], cwd=tmp_path, check=True, timeout=300, stdout=subprocess.PIPE, text=True)
    assert re.search(r"^step 2: area 0\.[0-9]+$", run.stdout, re.MULTILINE)
    assert "mine.Dimmed" in (tmp_path / "runs/lightning_logs/version_0/config.yaml").read_text()
