import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna", reason="needs lit-rnncomp[sweeps]")

from lit_rnncomp.machine import cores, threads
from lit_rnncomp.sweep.best import best, best_of_study
from lit_rnncomp.sweep.definition import SweepError
from lit_rnncomp.sweep.engine import Study, alone_in
from lit_rnncomp.sweep.reading import read_sweep
from lit_rnncomp.sweep.run import run

# Stands in for `lit-rnncomp fit`: logs `x` ten times over, writes checkpoints, saves on SIGTERM, resumes.
TRAINER = """
import csv, os, pathlib, signal, sys, time
options = dict(argument.lstrip('-').split('=', 1) for argument in sys.argv[1:])
folder = pathlib.Path(options['trainer.logger.init_args.save_dir'])
(folder / 'checkpoints').mkdir(exist_ok=True)
x, pause = float(options['x']), float(options.get('pause', 0))
if x == 13:
    sys.exit('unlucky x')
(folder / 'arguments.txt').write_text('\\n'.join(sys.argv))
(folder / 'device.txt').write_text(os.environ.get('CUDA_VISIBLE_DEVICES', ''))
start = int(pathlib.Path(options['ckpt_path']).read_text()) if 'ckpt_path' in options else 0
(folder / 'starts.txt').open('a').write(f'{start}\\n')
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
rows = []
for step in range(start, 10):
    rows.append({'step': step, 'auc': x + step / 100 if x != 14 else float('nan'), 'loss': ''})
    with (folder / 'metrics.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, ['step', 'loss', 'auc'])
        writer.writeheader()
        writer.writerows(rows)
    (folder / 'checkpoints' / 'best.ckpt').write_text(f'{x} {step}')
    (folder / 'checkpoints' / 'last.ckpt').write_text(str(step + 1))
    time.sleep(pause)
    if stop:
        break
"""


@pytest.fixture
def sweep(tmp_path):
    """Writes a sweep over the stand-in trainer; returns the YAML's path."""
    (tmp_path / "trainer.py").write_text(TRAINER)

    def of(pause: float = 0.0, **changes) -> Path:
        data = {
            "method": "random",
            "metric": {"name": "auc", "goal": "maximize"},
            "parameters": {"x": {"min": 0.0, "max": 1.0}},
            "program": str(tmp_path / "trainer.py"),
            "command": ["${env}", "${interpreter}", "${program}", "${args}", f"--pause={pause}"],
        }
        path = tmp_path / "some.yaml"
        path.write_text(yaml.safe_dump(data | changes))
        return path

    return of


def outcomes(folder: Path, path: Path):
    return Study(read_sweep(path), folder).outcomes()


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_trials_are_drawn_run_and_compared(sweep, tmp_path, capsys, method):
    path = sweep(method=method)
    run(str(path), count=4, workers=2, out=str(tmp_path / "study"), json=True)
    printed = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in printed["trials"]] == ["complete"] * 4
    for trial in printed["trials"]:
        assert 0 <= trial["parameters"]["x"] <= 1
        assert trial["value"] == pytest.approx(trial["parameters"]["x"] + 0.09)
    expected = max(printed["trials"], key=lambda trial: trial["value"])
    assert printed["best"] == expected["number"]
    found = best_of_study(tmp_path / "study")
    assert (found.value, found.parameters, found.run) == (expected["value"], expected["parameters"], expected["folder"])
    assert found.checkpoint.read_text() == f"{expected['parameters']['x']} 9"
    best(str(tmp_path / "study"), export=str(tmp_path / "out.ckpt"))
    assert (tmp_path / "out.ckpt").read_text() == found.checkpoint.read_text()
    shown = capsys.readouterr().out
    assert f"best run: {found.run}, auc {found.value:.5g}" in shown and "--model" in shown
    with pytest.raises(SweepError, match=r"out\.txt: the name must end in \.ckpt or \.safetensors"):
        best(str(tmp_path / "study"), export=str(tmp_path / "out.txt"))


def test_minimising_finds_the_smallest(sweep, tmp_path):
    path = sweep(method="grid", metric={"name": "auc", "goal": "minimize"}, parameters={"x": {"values": [3, 1, 2]}})
    run(str(path), out=str(tmp_path / "study"), workers=3)
    assert best_of_study(tmp_path / "study").parameters == {"x": 1}


def test_another_metric_chooses_another_trial_and_its_own_checkpoint(sweep, tmp_path, capsys):
    path = sweep(method="grid", parameters={"x": {"values": [1, 2]}})
    run(str(path), out=str(tmp_path / "study"), workers=2)
    with pytest.raises(SweepError, match="no finished trial that logged val/mean_psnr_hvs_best and kept best_psnr"):
        best(str(tmp_path / "study"), metric="psnr_hvs")
    for number, value in enumerate((31.5, 30.5)):
        folder = tmp_path / "study/trials" / f"{number:04}"
        (folder / "metrics-001.csv").write_text(f"step,val/mean_psnr_hvs_best\n3,20\n9,{value}\n")
        (folder / "checkpoints/best_psnr_hvs.ckpt").write_text(f"by PSNR-HVS {number}")
    capsys.readouterr()
    best(str(tmp_path / "study"), metric="psnr_hvs", export=str(tmp_path / "out.ckpt"), json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["parameters"], printed["value"]) == ({"x": 1}, 31.5)
    assert (tmp_path / "out.ckpt").read_text() == "by PSNR-HVS 0"
    assert best_of_study(tmp_path / "study").parameters == {"x": 2}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("told", ["never", "as a value before"])
def test_what_is_not_finite_is_neither_reported_nor_best(sweep, tmp_path, capsys, bad, told):
    path = sweep(method="grid", parameters={"x": {"values": [0.5, 0.9]}})
    study = Study(read_sweep(path), tmp_path / "study")
    trial = study.draw()
    if told == "as a value before":
        trial.report(0.4, 1)
        trial.report(bad, 2)
    study.report(trial, [0.4, bad, 0.5])
    study.finish(trial, [0.4, 0.5], "complete")
    kept = list(study.study.trials[0].intermediate_values.values())
    assert kept == ([0.4, 0.5] if told == "never" else pytest.approx([0.4, bad, 0.5], nan_ok=True))
    checkpoints = study.trial_folder(trial) / "checkpoints"
    checkpoints.mkdir(parents=True)
    for name in ("best", "best_psnr_hvs"):
        (checkpoints / f"{name}.ckpt").write_text("weights")
    (checkpoints.parent / "metrics.csv").write_text(f"step,val/mean_psnr_hvs_best\n1,30\n2,{bad}\n")
    run(str(path), out=str(tmp_path / "study"), json=True)
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (printed["best"], printed["trials"][0]["value"]) == (1, 0.5)
    best(str(tmp_path / "study"), json=True)
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["parameters"], found["value"]) == ({"x": 0.9}, pytest.approx(0.99))
    best(str(tmp_path / "study"), metric="psnr_hvs", json=True)
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["value"] == 30


def test_lists_and_dicts_are_printed_as_the_file_has_them(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    given = {"x": 1, "a": [0.9, None], "b": {"c": 1}}
    path = sweep(method="grid", parameters={key: {"value": value} for key, value in given.items()})
    run(str(path), out=str(tmp_path / "study"), json=True)
    assert json.loads(capsys.readouterr().out)["trials"][0]["parameters"] == given
    run(str(path), out=str(tmp_path / "study"))
    table = capsys.readouterr().out
    assert all(text in table for text in ("x=1", "a=[0.9, null]", 'b={"c": 1}')), table
    best(str(tmp_path / "study"), json=True)
    assert json.loads(capsys.readouterr().out)["parameters"] == given
    best(str(tmp_path / "study"))
    assert '  a = [0.9, null]\n  b = {"c": 1}\n' in capsys.readouterr().out


def test_values_are_printed_as_they_are(sweep, tmp_path, capsys):
    parameters = {"x": {"value": 1}, "a": {"value": "[b]"}, "b": {"value": "[/c]"}}
    run(str(sweep(method="grid", parameters=parameters)), out=str(tmp_path / "study"))
    table = capsys.readouterr().out
    assert "a=[b]" in table and "b=[/c]" in table, "not as markup"


def test_what_is_drawn_depends_on_the_seed(sweep, tmp_path):
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        study = Study(read_sweep(sweep()), tmp_path / name, seed)
        drawn.append([study.draw().params["x"] for _ in range(3)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 3


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_stepped_integers_are_drawn_as_integers(sweep, tmp_path, method):
    steps = {"x": {"distribution": "q_uniform", "min": 16, "max": 64, "q": 16}}
    study = Study(read_sweep(sweep(method=method, parameters=steps)), tmp_path / "study", seed=2**40)
    drawn = [study.draw().params["x"] for _ in range(12)]
    assert {type(x) for x in drawn} == {int} and set(drawn) == {16, 32, 48, 64}


def test_threads_follow_the_cores_that_are_allowed(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert (cores(), threads(1), threads(4), threads(7)) == (6, 6, 1, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads(4) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert threads(2) == 3


def test_every_trial_gets_the_data(sweep, tmp_path):
    run(str(sweep()), count=1, out=str(tmp_path / "study"), data="some/folder")
    assert "--data.train=some/folder" in (tmp_path / "study" / "trials" / "0000" / "arguments.txt").read_text().split(
        "\n"
    )


def test_a_grid_is_covered_once_and_then_done(sweep, tmp_path, capsys):
    path = sweep(method="grid", parameters={"x": {"values": [1, 2, 3]}, "y": {"min": 0, "max": 1}})
    run(str(path), count=4, workers=2, out=str(tmp_path / "study"))
    run(str(path), workers=2, out=str(tmp_path / "study"))
    points = {(outcome.parameters["x"], outcome.parameters["y"]) for outcome in outcomes(tmp_path / "study", path)}
    assert len(outcomes(tmp_path / "study", path)) == len(points) == 6
    capsys.readouterr()
    run(str(path), out=str(tmp_path / "study"))
    assert "best: trial" in capsys.readouterr().out
    assert len(outcomes(tmp_path / "study", path)) == 6


def test_eight_trials_at_a_time_have_a_device_each(sweep, tmp_path):
    path = sweep(pause=0.3)
    run(str(path), count=16, workers=8, gpus=8, out=str(tmp_path / "study"))
    found = outcomes(tmp_path / "study", path)
    assert [outcome.state for outcome in found] == ["complete"] * 16
    assert len({outcome.parameters["x"] for outcome in found}) == 16
    folders = [Path(outcome.folder) for outcome in found]
    devices = [(folder / "device.txt").read_text() for folder in folders]
    assert sorted(devices[:8]) == [str(number) for number in range(8)]
    begun = max((folder / "device.txt").stat().st_mtime for folder in folders[:8])
    ended = min((folder / "checkpoints/last.ckpt").stat().st_mtime for folder in folders[:8])
    assert begun < ended, "the first eight ran at the same time"


def test_failures_are_recorded_and_not_fatal(sweep, tmp_path, capsys):
    path = sweep(method="grid", parameters={"x": {"values": [13, 14, 1]}})
    run(str(path), workers=3, out=str(tmp_path / "study"))
    found = {outcome.parameters["x"]: outcome for outcome in outcomes(tmp_path / "study", path)}
    assert (found[13].state, found[13].error) == ("failed", "exit code 1: unlucky x")
    assert (found[14].state, found[14].error) == ("failed", "the run logged no finite auc")
    assert found[1].state == "complete"
    assert "unlucky x" in capsys.readouterr().err
    only_bad = sweep(parameters={"x": {"value": 13}})
    with pytest.raises(SweepError, match="none of 1 trials gave a value of auc; the first: exit code 1: unlucky x"):
        run(str(only_bad), count=1, out=str(tmp_path / "bad"))
    with pytest.raises(SweepError, match="has no finished trial with a checkpoint"):
        best(str(tmp_path / "bad"))


def test_hopeless_trials_are_stopped_early(sweep, tmp_path):
    """Good ones first, so that the bad ones can be told: they are stopped after few of their ten values."""
    path = sweep(
        pause=0.3,
        method="grid",
        parameters={"x": {"values": [8, 8.5, 9, 0.1, 0.2, 0.3]}},
        early_terminate={"type": "hyperband", "min_iter": 1, "max_iter": 3, "eta": 3},
    )
    run(str(path), workers=3, out=str(tmp_path / "study"))
    found = outcomes(tmp_path / "study", path)
    pruned = [outcome for outcome in found if outcome.state == "pruned"]
    assert pruned and all(outcome.state in ("pruned", "complete") for outcome in found)
    for outcome in pruned:
        assert len((Path(outcome.folder) / "metrics.csv").read_text().splitlines()) - 1 < 10
    assert best_of_study(tmp_path / "study").parameters["x"] >= 8


def test_a_killed_sweep_goes_on_where_it_was(sweep, tmp_path):
    """SIGKILL in the middle: trials end by themselves after saving; the rerun resumes them and repeats none that were
    done."""
    path, study = sweep(pause=0.25), tmp_path / "study"
    script = "import sys; from lit_rnncomp.sweep.run import run; run(sys.argv[1], count=4, workers=2, out=sys.argv[2])"
    command = [sys.executable, "-c", script, str(path), str(study)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(study.glob("trials/*/checkpoints/last.ckpt"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run(str(path), count=4, workers=2, out=str(study))  # waits until the orphans have ended: they hold the lock
    found = outcomes(study, path)
    assert [outcome.state for outcome in found] == ["complete"] * 4
    starts = [(Path(outcome.folder) / "starts.txt").read_text().split() for outcome in found]
    assert [len(each) for each in starts] == [2, 2, 1, 1]
    assert all(int(each[1]) > 0 for each in starts[:2])
    for outcome in found:
        assert outcome.value == pytest.approx(outcome.parameters["x"] + 0.09)
        trial = Study(read_sweep(path), study).study.trials[outcome.number]
        assert len(trial.intermediate_values) == 10


def test_an_interrupt_leaves_trials_to_go_on(sweep, tmp_path):
    path, study = sweep(pause=0.25), tmp_path / "study"
    script = "import sys; from lit_rnncomp.sweep.run import run; run(sys.argv[1], count=1, out=sys.argv[2])"
    process = subprocess.Popen([sys.executable, "-c", script, str(path), str(study)], stderr=subprocess.DEVNULL)
    while not list(study.glob("trials/*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    assert outcomes(study, path) == []
    run(str(path), count=1, out=str(study))
    assert [outcome.state for outcome in outcomes(study, path)] == ["complete"]
    assert len((study / "trials" / "0000" / "starts.txt").read_text().split()) == 2


@pytest.mark.parametrize("name", ["o?x=1", "o %20#x", "{x}", "a@b:c", ":memory:"])
def test_a_study_is_in_the_folder_that_was_named(sweep, tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run(str(sweep()), count=1, out=name)
    assert [path.name for path in Path.cwd().iterdir()] == [name]
    assert {path.name for path in Path(name).iterdir()} == {"lock", "study.db", "trials"}
    assert best_of_study(Path(name)).run == f"{name}/trials/0000"


@pytest.mark.parametrize("name", ["", ".", "..", "../../elsewhere", "/elsewhere", "a/b"])
def test_the_name_of_a_sweep_leads_nowhere_else(sweep, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SweepError, match=f"name is '{re.escape(name)}', which cannot name a folder; give one with --out"
    ):
        run(str(sweep(name=name)), count=1)
    run(str(sweep(name=None)), count=1)
    assert [str(path) for path in Path("runs").glob("*/*")] == ["runs/sweeps/some"]


def test_two_sweeps_cannot_share_a_folder(sweep, tmp_path):
    with (
        alone_in(tmp_path / "study"),
        pytest.raises(SweepError, match=r"another sweep is at work in .*study"),
        alone_in(tmp_path / "study", patience=0.1),
    ):
        pass
    run(str(sweep()), count=1, out=str(tmp_path / "study"))
    with pytest.raises(SweepError, match="holds a study of another sweep"):
        run(str(sweep(method="bayes")), count=1, out=str(tmp_path / "study"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"count": 0}, "--count is 0, must be at least 1"),
        ({"count": -3}, "--count is -3, must be at least 1"),
    ],
)
@pytest.mark.parametrize("method", ["random", "grid"])
def test_wrong_options_are_named(sweep, tmp_path, method, options, message):
    path = sweep(method=method, parameters={"x": {"values": [1, 2]}}, run_cap=1)
    with pytest.raises(ValueError, match=message):
        run(str(path), out=str(tmp_path / "study"), **options)
    assert not (tmp_path / "study").exists()


def test_what_has_no_end_needs_a_count(sweep, tmp_path):
    with pytest.raises(SweepError, match="a random sweep has no end of its own: say how many trials with --count"):
        run(str(sweep()), out=str(tmp_path / "study"))


def test_the_cap_of_a_grid_is_kept(sweep, tmp_path):
    path = sweep(method="grid", parameters={"x": {"values": [1, 2, 3]}}, run_cap=2)
    run(str(path), out=str(tmp_path / "study"), workers=2)
    assert [outcome.parameters["x"] for outcome in outcomes(tmp_path / "study", path)] == [1, 2]


def test_a_study_that_was_killed_before_it_began_is_named(tmp_path):
    (tmp_path / "study.db").touch()
    with pytest.raises(SweepError, match=r"study\.db holds no sweep"):
        best(str(tmp_path))


def test_neither_folder_nor_server_path_is_explained(tmp_path):
    with pytest.raises(
        SweepError, match=r"neither the folder of a study \(no study\.db in it\) nor ENTITY/PROJECT/SWEEP"
    ):
        best(str(tmp_path))


@pytest.mark.slow
def test_the_smoke_sweep_ends_in_a_codec(tmp_path, monkeypatch, capsys):
    """Two real training runs; the better one, exported, compresses a photograph."""
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "configs").symlink_to(root / "configs")
    monkeypatch.chdir(tmp_path)
    run(str(root / "sweeps" / "smoke.yaml"), count=2, workers=2, json=True)
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    best("runs/sweeps/smoke", export="best.safetensors", json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["value"] == max(trial["value"] for trial in trials)

    from lit_rnncomp import load
    from lit_rnncomp.data import read_image, sample_photographs

    photo = read_image(sample_photographs()[1]).crop((0, 0, 96, 64))
    codec = load("best.safetensors")
    assert codec.decode(codec.encode(photo)).size == photo.size
