"""Runs that are killed inside a validation, also the one at their very end: `--ckpt_path last` does it, to the bit."""

import csv
import signal
import time

import pytest
import torch
from helpers.runs import EPOCH, STEPS, Run, assert_same

from lit_rnncomp.sweep.trials import TRIAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(starts, tmp_path_factory):
    """Runs that were never stopped, by how they end."""
    known: dict[str, Run] = {}

    def of(processes: int = 1, **trainer: object) -> Run:
        name = f"{processes} {trainer}"
        if name not in known:
            known[name] = Run(starts, tmp_path_factory.mktemp("whole") / "run", processes=processes, **trainer)
            known[name].finish()
        return known[name]

    return of


def kill_within(run: Run, step: int, place: str, signum: int, rank: int = 0, *arguments: str) -> None:
    """Starts the run and ends it within the validation that follows `step`."""
    waiting = run.folder / "waiting"
    options = [*arguments, "--trainer.callbacks+=onlookers.Waiting", f"--trainer.callbacks.step={step}"]
    started = run.start(*options, f"--trainer.callbacks.place={place}", f"--trainer.callbacks.rank={rank}")
    while not waiting.exists():
        assert all(process.exit_code() is None for process in started), started[0].output()
        time.sleep(0.01)
    for process in started:
        process.send(signum, group=signum == signal.SIGKILL)
    waiting.unlink()
    codes = [process.wait() for process in started]
    assert codes == ([-signum] * len(codes) if signum == signal.SIGKILL else [143, *[0] * (len(codes) - 1)])


def measured(run: Run) -> dict[int, dict[str, str]]:
    """What the metrics of all starts say of each validation; the timing of the machine aside."""
    found: dict[int, dict[str, str]] = {}
    for path in sorted(run.folder.glob("runs/lightning_logs/*/metrics*.csv")):
        for row in csv.DictReader(path.open()):
            values = {name: value for name, value in row.items() if name.startswith("val/") and value}
            if values:
                found.setdefault(int(row["step"]), {}).update(values)
    return found


@pytest.mark.parametrize(
    ("place", "signum", "steps"),
    [
        ("batch", signal.SIGTERM, (EPOCH, 3 * EPOCH, STEPS, STEPS)),
        ("batch", signal.SIGKILL, (2 * EPOCH, STEPS, STEPS)),
        ("end", signal.SIGTERM, (EPOCH, STEPS)),
        ("end", signal.SIGKILL, (EPOCH, STEPS, STEPS)),
    ],
)
def test_each_validation_is_done_again(starts, whole, tmp_path, place, signum, steps):
    run = Run(starts, tmp_path / "run")
    for step in steps:
        kill_within(run, step, place, signum)
    run.finish()
    assert_same(run, whole())
    assert measured(run) == measured(whole())
    # Also where the kill came before they were drawn.
    assert {path.name for path in run.folder.glob("runs/*/*/*.png")} == {"rate_distortion.png", "strip.png"}


ENDS = {
    "steps": {"max_steps": 10},
    "epochs": {"max_steps": -1, "max_epochs": 2},
    "an epoch that would not be validated": {"max_steps": -1, "max_epochs": 3, "check_val_every_n_epoch": 2},
    "shares of an epoch": {"max_steps": -1, "max_epochs": 1, "val_check_interval": 0.4},
    "fewer steps than the least epoch": {"min_steps": 5, "max_steps": 10},
    "as many epochs as the least": {"max_steps": -1, "min_epochs": 2, "max_epochs": 2},
    "validations by the clock": {"max_steps": 10, "val_check_interval": "00:01:00:00"},
}


@pytest.mark.parametrize("end", ENDS)
def test_no_run_ends_unmeasured(starts, whole, tmp_path, end):
    once, run = whole(**ENDS[end]), Run(starts, tmp_path / "run", **ENDS[end])
    steps = once.last()["global_step"]
    assert once.step() == steps and steps in [int(line.split()[1]) for line in once.record("val")[0]]
    kill_within(run, steps, "batch", signal.SIGKILL)
    run.finish()
    assert run.record() == once.record() and measured(run) == measured(once)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops"):
        torch.testing.assert_close(run.last()[part], once.last()[part], rtol=0, atol=0)
    assert list(run.folder.glob("runs/*/*/checkpoints/best.ckpt"))


def test_two_processes(starts, whole, tmp_path):
    end = {"max_steps": 10}
    run = Run(starts, tmp_path / "run", processes=2, **end)
    kill_within(run, 10, "batch", signal.SIGKILL, rank=1)
    kill_within(run, 10, "end", signal.SIGKILL)
    run.finish()
    assert run.record() == whole(2, **end).record() and measured(run) == measured(whole(2, **end))


def test_a_trial_out_of_time_is_measured(starts, tmp_path):
    """The time of a trial counts over its starts: there is none left after a kill in its last validation."""
    run = Run(starts, tmp_path / "run")
    run.environment = {TRIAL: "0001"}
    # One step takes all the time.
    limited = ["--trainer.max_time=00:00:00:01", "--trainer.callbacks+=onlookers.Slow", "--trainer.callbacks.seconds=1"]
    kill_within(run, 1, "batch", signal.SIGKILL, 0, *limited)
    assert not run.record("val")[0]
    run.finish(*limited)
    assert len(run.record("val")[0]) == 1 and run.step() == run.last()["global_step"] <= 2
    assert list(run.folder.glob("runs/*/*/checkpoints/best.ckpt"))
