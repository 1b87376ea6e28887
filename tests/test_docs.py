"""What ships is tested: commands in the documentation name verbs and options that exist; links lead somewhere; every
module imports."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pages import PAGES, ROOT, commands

import lit_rnncomp
from lit_rnncomp.arguments import underscored
from lit_rnncomp.cli import VERBS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_verbs_and_options_that_exist(page: Path) -> None:
    for words in commands(page):
        verb = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
        assert verb in VERBS, words
        module, name = VERBS[verb][0].split(":")
        if module == "lit_rnncomp.training.cli":
            continue  # parsed for real by tests/training/test_recipes.py
        known = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
        options = {underscored(word).removeprefix("--").split("=")[0] for word in words if word.startswith("--")}
        assert options <= known, (words, options - known)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_readme_has_the_two_set_up_lines() -> None:
    text = (ROOT / "README.md").read_text()
    assert "\npip install -e '.[train]' && lit-rnncomp fit --config configs/quickstart.yaml\n" in text
    assert "\npip install -e '.[dev]' && pytest\n" in text


def test_every_verb_and_module_is_there() -> None:
    for module, name in (target.split(":") for target, _ in VERBS.values()):
        assert callable(getattr(importlib.import_module(module), name))
    for module in pkgutil.walk_packages(lit_rnncomp.__path__, "lit_rnncomp."):
        importlib.import_module(module.name)


def test_floors_only_look_down() -> None:
    """models <- codec, data <- evaluation <- demo; sweep, training <- rehearsal; the kernels know nothing of
    lit_rnncomp, and only the command line knows the rehearsal."""
    allowed = {
        "models": {"models", "images"},
        "codec": {"models", "codec", "formats", "images", "files", "picture_formats", "machine", "progress", "advice"},
        "data": {"data", "images", "files", "machine"},
        "evaluation": {
            "models",
            "codec",
            "data",
            "images",
            "files",
            "picture_formats",
            "machine",
            "evaluation",
            "arguments",
        },
        "demo": {"models", "codec", "data", "evaluation", "formats", "images"},
        "sweep": {"codec", "images", "files", "machine"},
        "rehearsal": {"training", "files"},
    }
    pattern = re.compile(r"^\s*(?:from|import) +(?:lit_rnncomp\.|\.\.)(\w+)", re.MULTILINE)
    for floor, reachable in allowed.items():
        for path in (ROOT / "lit_rnncomp" / floor).rglob("*.py"):
            assert set(pattern.findall(path.read_text())) <= reachable, path
    for path in (ROOT / "lit_rnncomp").rglob("*.py"):
        if path.parent.name != "rehearsal" and path != ROOT / "lit_rnncomp" / "cli.py":
            assert not re.search(r"import.*rehearsal|from.*rehearsal|lit_rnncomp\.rehearsal", path.read_text()), path
    for path in (ROOT / "kernels" / "rnncomp_kernels").rglob("*.py"):
        assert "lit_rnncomp" not in path.read_text(), path


def test_models_need_no_lightning() -> None:
    modules = "lit_rnncomp.models.recurrent_codec, lit_rnncomp.codec.api"
    script = f"import sys; sys.modules['lightning'] = sys.modules['wandb'] = None; import {modules}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
