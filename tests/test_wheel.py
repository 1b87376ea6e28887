"""A wheel holds all that the codec needs, and the codec needs neither torch nor anything else that an extra brings."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.pages import ROOT
from PIL import Image
from skimage import data

from lit_rnncomp import extras
from lit_rnncomp.cli import VERBS
from lit_rnncomp.codec import zoo

pytestmark = pytest.mark.slow

# As in an environment where no extra is installed: what they bring is not found.
LIGHT = (
    f"import sys\nfor name in {sorted(extras.PACKAGES)}: sys.modules[name] = None\n"
    "import lit_rnncomp, importlib.util\n"
    "find = importlib.util.find_spec\n"
    "importlib.util.find_spec = lambda name, *rest: None if sys.modules.get(name, 0) is None else find(name, *rest)\n"
    "from lit_rnncomp.cli import main; main()"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is unpacked, far from the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    # Of a copy: setuptools leaves its work in the source's folder.
    for name in ("lit_rnncomp", "kernels"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    quiet = {"check": True, "capture_output": True, "timeout": 300}
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], **quiet)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "installed"), str(wheel)], **quiet)
    return folder / "installed"


def run(installed: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("model", sorted(zoo.shipped()))
def test_the_codec_without_torch(installed: Path, tmp_path: Path, model: str) -> None:
    Image.fromarray(data.astronaut()[:96, :120]).save(tmp_path / "photo.png")
    file, rate = tmp_path / "a.rnnc", ("--bpp", 1)
    said = json.loads(run(installed, "encode", tmp_path / "photo.png", file, "--model", model, *rate, "--json").stdout)
    assert said["model"] == model and 0 < said["bpp"] <= 1
    run(installed, "decode", file, tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").size == (120, 96)
    run(installed, "truncate", file, tmp_path / "c.rnnc", "--bpp", 0.5)
    assert "120x96" in run(installed, "info", tmp_path / "c.rnnc").stdout


def test_models_and_bench_without_torch(installed: Path, tmp_path: Path) -> None:
    rows = json.loads(run(installed, "models", "--json").stdout)
    assert {row["name"] for row in rows} == {path.stem for path in (ROOT / "lit_rnncomp" / "zoo").glob("*.safetensors")}
    assert all(Path(row["card"]).is_file() and Path(row["card"]).is_relative_to(installed) for row in rows)
    assert all(row["kodak"] for row in rows), "the tables of results are inside"
    Image.fromarray(data.astronaut()[:64, :64]).save(tmp_path / "photo.png")
    timed = run(installed, "bench", tmp_path / "photo.png", "--threads", 1, "--repeats", 1, "--json")
    assert "without torch the paper's network is not timed" in timed.stderr
    assert {row["verb"] for row in json.loads(timed.stdout)} == {"encode", "decode"}


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("fit",), "train"),
        (("export", "x.ckpt", "y.safetensors"), "train"),
        (("compare", "ternary64", "jpeg420", "--picture", "photo.png", "--out", "x.png"), "evaluate"),
        (("evaluate", "--data", ".", "--out", "out"), "evaluate"),
        (("sweep", "run", "sweep.yaml", "--count", "1", "--out", "study"), "sweeps"),
    ],
)
def test_a_verb_that_needs_more_says_what(installed: Path, arguments: tuple[str, ...], extra: str) -> None:
    Image.fromarray(data.astronaut()[:176, :176]).save(installed.parent / "photo.png")
    (installed.parent / "x.ckpt").write_bytes(b"a checkpoint")
    (installed.parent / "sweep.yaml").write_text(
        "program: x\nmethod: random\nmetric: {name: a, goal: maximize}\nparameters: {x: {min: 0.0, max: 1.0}}\n"
    )
    error = run(installed, *arguments, code=2).stderr
    assert error.strip().count("\n") == 0 and f"pip install 'lit-rnncomp[{extra}]'" in error


def test_every_verb_says_what_it_needs() -> None:
    assert extras.VERBS.keys() == VERBS.keys()
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(
        f"\n{extra} = [" in declared for extra in {*filter(None, extras.VERBS.values()), *extras.PACKAGES.values()}
    )
    rows = dict(re.findall(r"^\| (none|`\w+`) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
    for verb, extra in extras.VERBS.items():
        assert f"`{verb}`" in rows[f"`{extra}`" if extra else "none"], verb
