"""A rehearsal on the CPU: what passes, what needs a GPU, what fails alone, and what a killed one leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_rnncomp.rehearsal import accuracy
from lit_rnncomp.rehearsal.figures import compare
from lit_rnncomp.rehearsal.parts import NO_GPU, Part, parts
from lit_rnncomp.rehearsal.recipes import recipes
from lit_rnncomp.training.compression_cli import CompressionCLI
from rnncomp_kernels import reference

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
COMMAND = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "rehearse", "--small"]


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of a rehearsal of the kernels and of two recipes, of which one has a value that is none."""
    folder = tmp_path_factory.mktemp("rehearsal")
    for name in ("data", "trainer", "model"):
        (folder / "configs" / name).mkdir(parents=True)
    for name in ("data/photographs", "trainer/paper", "model/gru_additive"):
        shutil.copy(CONFIGS / f"{name}.yaml", folder / "configs" / f"{name}.yaml")
    broken = (CONFIGS / "quickstart.yaml").read_text().replace("lr: 0.01", "lr: fast")
    (folder / "configs" / "broken.yaml").write_text(broken)
    command = [*COMMAND, "--configs", str(folder / "configs"), "--out", str(folder / "found.json"), "--minutes", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "COLUMNS": "120"})
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads((folder / "found.json").read_text())
    return {**found, "said": done.stdout}


def row(found: dict[str, Any], name: str, way: str) -> dict[str, Any]:
    (one,) = [row for row in found["parts"] if (row["name"], row["way"]) == (name, way)]
    return one


@pytest.mark.slow
def test_each_part_that_a_cpu_can_do_is_done(rehearsed: dict[str, Any]) -> None:
    assert rehearsed["done"] and rehearsed["device"] == "cpu" and rehearsed["machine"]["packages"]["torch"]
    assert row(rehearsed, "kernels", "tests, definitions")["state"] == "passed"
    best = row(rehearsed, "device", "peak")["operations_per_second"]
    plan = row(rehearsed, "model/gru_additive", "plan")
    for way, kind in (("fp32", "float32"), ("bf16", "bfloat16"), ("DDP, 2 processes", "float32")):
        found = row(rehearsed, "model/gru_additive", way)
        assert found["state"] == "passed" and 0 < found["loss"] < 2 and found["peak_bytes"] > 1e8
        reached = 2 * plan["multiply_adds"] / found["seconds_a_batch"]
        assert found["share_of_peak"] == pytest.approx(reached / best[kind])
        processes = 2 if way.startswith("DDP") else 1
        assert 0 < found["pictures_per_second"] <= 2 * processes / found["seconds_a_batch"]
    errors = row(rehearsed, "kernels", "accuracy, interpreted")
    if errors["state"] == "passed":  # where there is Triton
        worst = [error for types in errors["errors_over_allowed"].values() for error in types.values()]
        assert len(worst) == 15 and 0 < max(worst) <= 1 and min(worst) > 0


@pytest.mark.slow
def test_a_part_that_fails_fails_alone_and_says_why(rehearsed: dict[str, Any]) -> None:
    failed = {(row["name"], row["way"]): row["why"] for row in rehearsed["parts"] if row["state"] == "failed"}
    assert set(failed) == {("broken", way) for way in ("fp32", "bf16", "plan", "DDP, 2 processes")}
    assert set(failed.values()) == {"lit-rnncomp: error: --lr fast: not a number"}
    assert "failed: lit-rnncomp: error: --lr fast: not a number: broken fp32, broken bf16" in rehearsed["said"]


@pytest.mark.slow
def test_what_needs_a_gpu_is_listed_and_not_passed(rehearsed: dict[str, Any]) -> None:
    missing = {(row["name"], row["way"]) for row in rehearsed["parts"] if row.get("why") == NO_GPU}
    ways = {("model/gru_additive", "cuda_graph"), ("model/gru_additive", "compile")}
    assert missing >= {("kernels", "accuracy"), ("kernels", "tests"), *ways}
    assert all(row["state"] == "not run" for row in rehearsed["parts"] if row.get("why") == NO_GPU)
    assert f"not run: {NO_GPU}: kernels tests, kernels accuracy" in rehearsed["said"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a rehearsal forks")
def test_a_killed_rehearsal_leaves_what_it_knew_and_nothing_running(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([*COMMAND, "--only", "peak", "--only", "fp32", "--out", str(out)], env=environment)
    end = time.monotonic() + 300
    while not (out.exists() and json.loads(out.read_text())["parts"]) and time.monotonic() < end:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = json.loads(out.read_text())
    assert not found["done"] and found["parts"][0]["way"] == "peak" and found["parts"][0]["state"] == "passed"
    while _running(tmp_path) and time.monotonic() < end:
        time.sleep(0.2)
    assert not _running(tmp_path)


def _running(folder: Path) -> list[str]:
    """Processes whose folder is in this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = (process / "cwd").resolve(strict=True)
        except OSError:
            continue
        if place.is_relative_to(folder):
            found.append(process.name)
    return found


class Parser(CompressionCLI):
    """Stops before anything is built."""

    def instantiate_classes(self) -> None:
        pass


def listed(gpus: int, small: bool) -> list[Part]:
    return parts(recipes(CONFIGS, small), gpus, small)


def test_with_gpus_every_recipe_is_run_in_every_way_that_it_has() -> None:
    found = {(part.name, part.way): part for part in listed(8, small=False)}
    names = {path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml")}
    names -= {name for name in names if name.startswith("data/")} | {"trainer/paper", "trainer/bf16", "trainer/wandb"}
    assert {name for name, way in found if way == "fp32"} == {name for name, way in found if way == "plan"} == names
    networks = {name for name in names if not name.startswith("trainer/")}
    for way in ("bf16", "cuda_graph", "compile", "DDP, 8 processes"):
        assert {name for name, other in found if other == way} == networks, way
    assert not any(part.not_run == NO_GPU for part in found.values())
    assert found["ternary/decoder", "compile"].not_run == "TernaryDecoder has no accelerate"
    assert found["residual_gru_dct64", "compile"].not_run == "compile needs projections=shared and no shortcut"
    graph = found["model/lstm_one_shot", "cuda_graph"].work
    assert graph is not None and "--model.init_args.accelerate=cuda_graph" in graph.arguments["words"]
    assert "--trainer.accelerator=gpu" in graph.arguments["words"] and graph.processes == 1
    several = found["quickstart", "DDP, 8 processes"].work
    assert several is not None and several.processes == 8
    assert sum(part.work.limit for part in found.values() if part.work) > 600, "so that --minutes is what bounds it"


def test_what_is_given_to_fit_on_gpus_is_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lit-rnncomp"])
    parser = Parser(run=False, args=["--model=LSTMCompressor"]).parser
    works = [part.work for part in listed(8, small=False) if part.work and "rehearsal.steps" in part.work.function]
    fits = [work.arguments["words"] for work in works]
    assert len(fits) > 80
    for words in fits:
        parsed = parser.parse_args(words)
        assert parsed.trainer.accelerator == "gpu" and parsed.trainer.max_epochs == -1 and parsed.trainer.max_steps > 3


def test_a_kernel_that_is_a_little_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain PyTorch in the place of the kernels is right, and one op a ten thousandth off is named with its type."""
    monkeypatch.setattr(accuracy, "use_kernels", lambda x: True)
    for op in accuracy.OPS:
        monkeypatch.setattr(accuracy.ops, op.name, getattr(reference, op.name))
    found = accuracy.accuracy("cpu", channels=4, side=5)
    assert all(0 < error <= 0.5 for errors in found["errors_over_allowed"].values() for error in errors.values())
    off = lambda *inputs: reference.gru_reset(*inputs) * 1.0001  # noqa: E731
    monkeypatch.setattr(accuracy.ops, "gru_reset", off)
    with pytest.raises(SystemExit, match="too far from the formula: gru_reset in float32$"):
        accuracy.accuracy("cpu", channels=4, side=5)


def test_kernels_that_do_not_run_are_no_success() -> None:
    if accuracy.use_kernels(torch.empty(0)):
        pytest.skip("Triton interprets here")
    with pytest.raises(ValueError, match="kernels do not run on cpu here"):
        accuracy.accuracy("cpu")


def test_shares_wait_for_what_they_are_shares_of() -> None:
    timed = {"name": "a", "way": "bf16", "seconds_a_batch": 0.5}
    rows: list[dict[str, Any]] = [timed]
    compare(rows)
    assert "share_of_peak" not in timed
    rows.append({"name": "device", "way": "peak", "operations_per_second": {"float32": 1e3, "bfloat16": 1e4}})
    rows.append({"name": "a", "way": "plan", "multiply_adds": 1250, "planned_bytes": 7})
    compare(rows)
    assert timed["share_of_peak"] == 0.5 and "planned_bytes" not in timed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "nosuch"], "--only nosuch: no part has it in its name, such as kernels"),
        (["--minutes", "0"], "--minutes 0.0 is not positive"),
        (["--configs", "."], "--configs . holds no recipes: give the folder configs of a checkout"),
        (["--out", "found.txt"], "cannot write found.txt: the name must end in .json"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())
