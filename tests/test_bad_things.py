"""Every verb, given each of the bad things that a person may name, says in one line what is wrong, ends with exit code
2, and loses and leaves nothing, but in the folder that it fills. A new verb is born with it: its inputs stand in
`COMMANDS`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import binary_models
from PIL import Image

from lit_rnncomp.cli import VERBS, main
from lit_rnncomp.codec import entropy_weights, weights

TRAINING = [
    "--model=LSTMCompressor", "--model.init_args.width=0.03", "--model.init_args.iterations=2",
    "--data.init_args.max_side=64", "--data.init_args.num_workers=0", "--data.init_args.batch_size=1",
    "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.logger=false", "--trainer.max_steps=1",
]  # fmt: skip
# Words in braces are inputs: files of this kind, or folders. All others are outputs, which must not come into being.
COMMANDS = {
    "encode": "{photo} new.rnnc --model {model} --focus {mask}",
    "decode": "{file} new.png --model {model}",
    "info": "{file} --map new.png --model {model}",
    "truncate": "{file} new.rnnc --iterations 1",
    "export": "{model} new.safetensors --entropy {entropy}",
    "bench": "{photo} --model {model} --repeats 1 --threads 1 --no-paper",
    "evaluate": "--model {model} --data {pictures} --codecs jpeg420 --frames 1 --out out --workers 1",
    "plot": "{results} --out new.png",
    "bdrate": "jpeg420 jpeg420 --results {results}",
    "compare": "{model} jpeg420 --picture {photo} --out new.png",
    "report": "{results} --out new.html --codecs none --pictures 1",
    "demo": "--model {model} --port 0 --no-browser",
    "data mine": "--images {pictures} --out out --workers 1",
    "sweep run": "{sweep} --count 1 --out out",
    "sweep best": "{study} --export new.ckpt",
    "fit": f"{' '.join(TRAINING)} --data.train={{pictures}} --data.val={{pictures}}",
    "validate": f"{' '.join(TRAINING[:-1])} --data.val={{pictures}} --ckpt_path={{checkpoint}}",
    "test": f"{' '.join(TRAINING[:-1])} --data.test={{pictures}} --ckpt_path={{checkpoint}}",
    "predict": f"{' '.join(TRAINING[:-1])} --data.predict={{pictures}} --ckpt_path={{checkpoint}}",
    "models": "",
    "rehearse": "--small --only peak --configs {recipes} --out new.json",
}
FOLDERS = {"pictures", "results", "study", "recipes"}
BAD = ["missing", "empty", "folder or file", "broken", "wrong kind", "no permission"]
OUTPUTS = {verb: re.findall(r"(?:new\.\w+|\bout\b)$|new\.\w+", words) for verb, words in COMMANDS.items()}
PROCESS = {"fit", "validate", "test", "predict"}  # they read `sys.argv`


def test_every_verb_is_here() -> None:
    assert COMMANDS.keys() == VERBS.keys(), "say of a new verb what it reads, and the test below names it bad things"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Callable) -> dict[str, Path]:
    """What each input should be."""
    from lit_rnncomp.codec.api import load
    from lit_rnncomp.evaluation.evaluate import evaluate

    folder = tmp_path_factory.mktemp("good")
    names = {"photo": "photo.png", "mask": "mask.png", "file": "photo.rnnc", "model": "tiny.safetensors"}
    paths = {kind: folder / name for kind, name in names.items()}
    y, x = np.mgrid[:176, :192]
    Image.fromarray(np.stack([y, x, (x * y) % 251], -1).astype(np.uint8)).save(paths["photo"])
    Image.new("L", (192, 176), 255).save(paths["mask"])
    weights.save(paths["model"], tiny_codec(unit="gru", iterations=2))
    paths["file"].write_bytes(load(paths["model"]).encode(Image.open(paths["photo"])))
    paths["coded"] = folder / "coded.rnnc"
    paths["coded"].write_bytes(load().encode(Image.open(paths["photo"])))
    paths["pictures"] = folder / "pictures"
    paths["pictures"].mkdir()
    (paths["pictures"] / "a.png").write_bytes(paths["photo"].read_bytes())
    paths["results"] = folder / "results"
    evaluate(
        model=[str(paths["model"])], data=str(paths["pictures"]), codecs="jpeg420", out=str(paths["results"]),
        frames=1, json=True,
    )  # fmt: skip
    paths["sweep"] = folder / "sweep.yaml"
    sweep = {
        "method": "random",
        "metric": {"name": "auc", "goal": "maximize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    paths["sweep"].write_text(yaml.safe_dump({**sweep, "program": "none"}))
    paths["entropy"] = folder / "entropy.safetensors"
    entropy = binary_models.codec().entropy
    assert entropy is not None
    entropy_weights.save(paths["entropy"], entropy)
    recipes = Path(__file__).parents[1] / "configs"
    return {**paths, "study": folder / "study", "checkpoint": folder / "a.ckpt", "recipes": recipes}


def bad(kind: str, thing: str, good: dict[str, Path], folder: Path) -> Path:
    """A path that is this bad thing instead of an input of a kind."""
    path = folder / (good[kind].name if kind in good else kind)
    if thing == "missing":
        return path
    if kind in FOLDERS:
        if thing == "folder or file":
            path.write_bytes(b"a file")
            return path
        path.mkdir()
        if thing in ("broken", "no permission"):
            name = {"pictures": "a.png", "results": "run.json", "study": "study.db", "recipes": "quickstart.yaml"}[kind]
            (path / name).write_bytes(b"\x89PNG\r\n\x1a\nbroken" * 9)
        elif thing == "wrong kind":
            (path / "a.txt").write_text("text")
    elif thing == "folder or file":
        path.mkdir()
    elif thing == "wrong kind":
        other = {"photo": "file", "mask": "model", "file": "photo", "sweep": "photo"}.get(kind, "photo")
        path.write_bytes(good[other].read_bytes())
    else:
        path.write_bytes(b"" if thing == "empty" else bytes(range(256)) * 3)
    if thing == "no permission":
        path.chmod(0)
    return path


CASES = [
    (verb, kind, thing)
    for verb, words in COMMANDS.items()
    for kind in dict.fromkeys(re.findall(r"{(\w+)}", words))
    for thing in BAD
    # One process each, of seconds: of the training verbs what is theirs.
    if verb not in PROCESS or (kind, thing) in {("pictures", "missing"), ("checkpoint", "broken")}
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # pictures that are left out, before there is none left
@pytest.mark.parametrize(("verb", "kind", "thing"), CASES, ids=lambda word: word)
def test_bad_input_is_one_line(verb, kind, thing, good, tmp_path, capsys, monkeypatch) -> None:
    if thing == "no permission" and os.geteuid() == 0:
        pytest.skip("nothing is without permission to root")
    monkeypatch.chdir(tmp_path)
    inputs = {**good, kind: bad(kind, thing, good, tmp_path)}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    words = [word.format(**inputs) for word in COMMANDS[verb].split()]
    if kind != "checkpoint":
        words = [word for word in words if not word.startswith("--ckpt_path")]
    error = said(verb, words, capsys)
    inside = [path.name for path in inputs[kind].iterdir()] if inputs[kind].is_dir() else []
    assert any(name in error for name in (inputs[kind].name, *inside)), error
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    # A verb that fills a folder begins with what makes the folder its own, a run with how it was started.
    new = {path for path in after.keys() - before.keys() if tmp_path / "out" not in path.parents}
    assert new <= ({tmp_path / "config.yaml"} if verb == "fit" else set())
    assert all(after[path] == time for path, time in before.items())


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no /dev/full")
@pytest.mark.parametrize("verb", ["encode", "decode", "info", "truncate", "export", "compare", "plot", "report"])
def test_a_full_device_is_one_line(verb, good, tmp_path, capsys, monkeypatch) -> None:
    """Of the verbs that write the one file that a person names."""
    monkeypatch.chdir(tmp_path)
    name = re.search(r"new(\.\w+)", COMMANDS[verb])
    assert name is not None
    link = tmp_path / f"full{name[1]}"
    link.symlink_to("/dev/full")
    words = COMMANDS[verb].replace(" --entropy {entropy}", "").replace(" --focus {mask}", "")
    words = words.replace(name[0], str(link))
    if verb == "info":  # there is no map of binary codes
        words = words.replace("{file}", "{coded}").replace(" --model {model}", "")
    error = said(verb, [word.format(**good) for word in words.split()], capsys)
    assert f"cannot write {link}: No space left on device" in error
    assert list(tmp_path.iterdir()) == [link]


LIMITED = {
    "encode": "{photo} --model {model} -o out/new.rnnc",
    "plot": "{results} --out out/new",
    "plot pdf": "{results} --out out/new.pdf",
    "compare": "{model} jpeg420 --picture {photo} --out out/new.png",
    "report": "{results} --out out/new.html --codecs none --pictures 1",
    "evaluate": "--model {model} --data {pictures} --codecs jpeg420 --frames 0 --out out --workers 1",
    "data mine": "--images {pictures} --out out --workers 1",
    "sweep run": "{sweep} --count 1 --out out",
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", LIMITED)
def test_a_disk_that_fills_up_is_one_line(verb, good, tmp_path) -> None:
    """A limit on the size of files cuts every one of them, where the verb puts it or by the library that it uses."""
    (tmp_path / "out").mkdir()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))"
    words = [*verb.removesuffix(" pdf").split(), *(word.format(**good) for word in LIMITED[verb].split())]
    command = [sys.executable, "-c", f"{limit}; from lit_rnncomp.cli import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("lit-rnncomp: error: ")]
    assert re.search(r"cannot write (?:\S+/)?out[/:]", line), line
    own = {"sweep run": {"lock", "study.db"}, "evaluate": {"run.json"}, "data mine": {"plan.json"}}
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= own.get(verb, set())


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no /dev/full")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("words", ["--help", "--version", "models", "models --json"])
def test_a_standard_output_that_takes_nothing(words: str, buffered: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {} if buffered else {"PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *words.split()]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60, check=False)
    assert done.stderr == b"lit-rnncomp: error: cannot write standard output: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_a_closed_standard_output_is_no_error() -> None:
    script = f'"{sys.executable}" -c "from lit_rnncomp.cli import main; main()" models >&-'
    done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def said(verb: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    if verb in PROCESS:
        command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *verb.split(), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        return done.stderr.strip().split("\n")[-1]
    with pytest.raises(SystemExit) as stopped:
        main([*verb.split(), *words])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("lit-rnncomp: error: ")]
    assert stopped.value.code == 2 and len(lines) == 1 and "Traceback" not in error, error
    return error
