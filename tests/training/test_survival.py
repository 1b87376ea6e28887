"""Runs that are killed, asked to end, out of time or out of numbers: what `--ckpt_path last` goes on with is what they
were."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.runs import EPOCH, STEPS, VALIDATIONS, Run, assert_same

pytestmark = pytest.mark.slow
HELPERS, CONFIGS = (Path(__file__).parents[2] / name for name in ("tests/helpers", "configs"))


@pytest.fixture(scope="module")
def whole(starts, tmp_path_factory):
    """Runs that were never stopped, by the number of processes; without loader workers."""
    known: dict[int, Run] = {}

    def of(processes: int) -> Run:
        if processes not in known:
            known[processes] = Run(starts, tmp_path_factory.mktemp("whole") / str(processes), processes=processes)
            known[processes].finish()
        return known[processes]

    return of


def kill_and_resume(run: Run, kills: int, *arguments: object) -> None:
    draw = random.Random(kills)
    for step in sorted(draw.sample(range(1, STEPS - 1), kills)):
        started = run.start(*arguments)
        run.until(step, started)
        time.sleep(draw.uniform(0, 0.03))
        for process in started:
            process.send(signal.SIGKILL, group=True)
        assert started[0].wait() == -signal.SIGKILL
    run.finish(*arguments)


@pytest.mark.parametrize(("workers", "processes", "kills"), [(0, 1, 10), (2, 1, 3), (0, 2, 3), (2, 2, 2)])
def test_killed_at_random_steps(starts, whole, tmp_path, workers, processes, kills):
    run = Run(starts, tmp_path / "run", workers, processes)
    kill_and_resume(run, kills)
    assert_same(run, whole(processes))


def test_epochs_without_a_validation_are_counted(starts, tmp_path):
    once, run = (Run(starts, tmp_path / name, check_val_every_n_epoch=2) for name in ("whole", "run"))
    once.finish()
    kill_and_resume(run, 5, "--last_checkpoint.every_n_steps=6")  # every other one at the end of an epoch
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops"):
        torch.testing.assert_close(run.last()[part], once.last()[part], rtol=0, atol=0)
    assert run.record() == once.record()


def test_an_average_of_the_weights_survives_too(starts, tmp_path):
    options = f"--config={CONFIGS / 'trainer/ema.yaml'}", "--trainer.callbacks+=onlookers.Recorder"
    run, unharmed = (Run(starts, tmp_path / name) for name in ("run", "unharmed"))
    unharmed.finish(*options)
    kill_and_resume(run, 2, *options)
    assert_same(run, unharmed)
    for part in ("current_model_state", "averaging_state"):
        torch.testing.assert_close(run.last()[part], unharmed.last()[part], rtol=0, atol=0)
    average, current = (run.last()[part]["codec.decoder.head.weight"] for part in ("state_dict", "current_model_state"))
    assert (average != current).any()


@pytest.mark.parametrize(
    ("workers", "processes", "signum", "code"),
    [(0, 1, signal.SIGTERM, 143), (0, 2, signal.SIGTERM, 143), (0, 1, signal.SIGINT, 130), (2, 1, signal.SIGINT, 130)],
)
def test_a_signal_saves_at_the_next_step(starts, whole, tmp_path, workers, processes, signum, code):
    run = Run(starts, tmp_path / "run", workers, processes, log_every_n_steps=1)
    started = run.start("--last_checkpoint.every_n_steps=1000")
    run.until(16, started)
    started[-1].send(signum, group=workers > 0)  # one process is told, all end; Ctrl-C goes to its workers too
    assert [process.wait() for process in started] == [code, 0][:processes], started[0].output()
    assert 16 <= run.last()["global_step"] == run.step() < STEPS
    run.finish()
    assert_same(run, whole(processes))
    logged = "".join(path.read_text() for path in run.folder.glob("runs/*/*/metrics*.csv"))
    assert all(f"\n{step // EPOCH},{step}," in logged for step in range(STEPS)), "the logs of all starts are kept"


@pytest.mark.parametrize("processes", [1, 2])
def test_out_of_time_and_on_again(starts, whole, tmp_path, processes):
    """`max_time` counts from each start, so that the same command goes on."""
    run = Run(starts, tmp_path / "run", processes=processes)
    limited = [
        "--trainer.max_time=00:00:00:01",
        "--trainer.callbacks+=onlookers.Slow",
        "--trainer.callbacks.seconds=0.15",
    ]
    reached = [0]
    for _ in range(2):
        run.finish(*limited)
        assert reached[-1] < run.last()["global_step"] == run.step() < STEPS
        reached.append(run.step())
    run.finish()
    # Out of time, a run measures where it stands; the training is the same.
    assert run.record("train") == whole(processes).record("train")
    assert len(run.record("val")[0]) > VALIDATIONS
    ours, theirs = (each.last()["optimizer_states"] for each in (run, whole(processes)))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_processes_agree_to_end_within_an_interval(starts, whole, tmp_path):
    """One is told; the others hear of it when they next agree, here before the validation after step 24."""
    run = Run(starts, tmp_path / "run", processes=2, log_every_n_steps=1000)
    slow = ["--trainer.callbacks+=onlookers.Slow", "--trainer.callbacks.seconds=0.05"]
    started = run.start("--last_checkpoint.every_n_steps=1000", *slow)
    run.until(14, started)
    started[-1].send(signal.SIGTERM)
    assert [process.wait() for process in started] == [143, 0], started[0].output()
    assert run.last()["global_step"] == run.step() == 24
    run.finish()
    assert_same(run, whole(2))


@pytest.mark.parametrize(
    ("processes", "rank", "poisoned", "what"),
    [
        # The weight is one of the encoder: its signs stay finite, its gradient does not. Step 21 would be saved.
        (1, 0, 20, "a weight is not a finite number after step 21"),
        (2, 1, 20, "a weight is not a finite number after step 21"),
        # Nothing is saved before step 24, nor said.
        (1, 0, 21, "the loss is nan at step 23"),
        (2, 1, 21, "the loss is nan at step 23"),
    ],
)
def test_not_a_number_names_the_last_good_checkpoint(starts, tmp_path, processes, rank, poisoned, what):
    run = Run(starts, tmp_path / "run", processes=processes)
    started = run.start(
        "--trainer.callbacks+=onlookers.Poison",
        f"--trainer.callbacks.step={poisoned}",
        f"--trainer.callbacks.rank={rank}",
    )
    assert [process.wait() for process in started] == [2, 0][:processes], started[0].output()
    (error,) = [line for process in started for line in process.output().splitlines() if "error" in line.lower()]
    path = "runs/lightning_logs/version_0/checkpoints/last.ckpt"
    assert error == f"lit-rnncomp: error: {what}; the last good checkpoint is {path}; a lower lr may help"
    assert run.last()["global_step"] == poisoned // 3 * 3
    for kept in (run.folder / path).parent.glob("*.ckpt"):
        weights = torch.load(kept, weights_only=False)["state_dict"].values()
        assert all(weight.isfinite().all() for weight in weights), kept


def test_one_command_for_the_first_start_and_every_other(starts, tmp_path):
    run = Run(starts, tmp_path / "run", max_steps=4)
    (first,) = run.start()
    assert (
        first.wait() == 0 and "no run to go on with in runs/lightning_logs: this is the first start" in first.output()
    )
    before = (run.folder / "record-0.txt").read_text()
    run.finish()  # nothing is left to do
    assert (run.folder / "record-0.txt").read_text() == before and before.count("train") == 4
    (other,) = run.start("--model.init_args.width=0.06")
    assert other.wait() == 2
    (line,) = [line for line in other.output().splitlines() if "error" in line]
    assert "last.ckpt: width is 0.06 in this run, 0.03 there; give the same options, or a folder of its own" in line


def test_the_job_script_puts_itself_back_in_the_queue(starts, tmp_path):
    """With an `srun` that runs the command, and an `scontrol` that starts the script again."""
    run = Run(starts, tmp_path / "run", max_steps=30)
    script = [str(CONFIGS / "slurm.sh"), "some", "--config", "run.yaml"]
    programs = {
        "srun": '"$@" & echo $! > pid; wait $!',
        "scontrol": f"echo $@ >> requeued; exec {' '.join(script)}",
        "lit-rnncomp": f'exec {sys.executable} -c "from lit_rnncomp.cli import main; main()" "$@"',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        name: f"{new}:{os.environ.get(name, '')}" for name, new in (("PATH", tmp_path), ("PYTHONPATH", HELPERS))
    }
    slurm = {
        "JOB_ID": 77,
        "JOB_NAME": "some",
        "NTASKS": 1,
        "NTASKS_PER_NODE": 1,
        "NNODES": 1,
        "NODEID": 0,
        "PROCID": 0,
        "LOCALID": 0,
    }
    environment = {**os.environ, **environment, **{f"SLURM_{name}": str(value) for name, value in slurm.items()}}
    slow = ["--trainer.callbacks+=onlookers.Slow", "--trainer.callbacks.seconds=0.1"]
    with (tmp_path / "output.txt").open("w") as log:
        job = subprocess.Popen([*script, *slow], cwd=run.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    while run.step() < 4:
        assert job.poll() is None, (tmp_path / "output.txt").read_text()
        time.sleep(0.02)
    os.kill(int((run.folder / "pid").read_text()), signal.SIGTERM)
    assert job.wait(timeout=600) == 0, (tmp_path / "output.txt").read_text()
    assert (run.folder / "requeued").read_text() == "requeue 77\n"
    first, second = json.loads((run.folder / "runs/lightning_logs/some/provenance.json").read_text())
    assert first["step"] == 0 and 4 <= second["step"] < 30 and run.step() == 30


def test_a_damaged_last_checkpoint_names_the_one_before(starts, tmp_path):
    run = Run(starts, tmp_path / "run", max_steps=8)
    run.finish("--last_checkpoint.every_n_steps=3")
    (last,) = run.folder.glob("runs/lightning_logs/*/checkpoints/last.ckpt")
    before = last.with_name("last-1.ckpt")
    assert torch.load(before, weights_only=False)["global_step"] == 6 and run.last()["global_step"] == 8
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    (start,) = run.start("--trainer.max_steps=10")
    assert start.wait() == 2
    (line,) = [line for line in start.output().splitlines() if "error" in line]
    where = last.relative_to(run.folder)
    assert (
        f"{where} is damaged, or no checkpoint; the one before it is intact: `mv {where.with_name(before.name)}" in line
    )
    before.rename(last)
    run.finish("--trainer.max_steps=10")
    assert run.last()["global_step"] == 10


def test_a_full_disk_ends_a_run_in_one_line(starts, tmp_path):
    """A limit on the size of files stops the checkpoint in its middle; the one before stays."""
    run = Run(starts, tmp_path / "run", max_steps=3)
    run.finish()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))"
    command = [sys.executable, "-c", f"{limit}; from lit_rnncomp.cli import main; main()"]
    command += ["fit", "--config", "run.yaml", "--ckpt_path", "last", "--trainer.max_steps=9"]
    environment = {**os.environ, "PYTHONPATH": f"{HELPERS}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=run.folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "last.ckpt: the disk is full, or does not write" in done.stderr.splitlines()[-1]
    assert run.last()["global_step"] == 3


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no /dev/full")
def test_a_log_that_takes_nothing_names_the_run(starts, tmp_path):
    run = Run(starts, tmp_path / "run", max_steps=3)
    folder = run.folder / "runs/lightning_logs/mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("# lit-rnncomp fit\n")
    (folder / "hparams.yaml").symlink_to("/dev/full")
    (start,) = run.start("--trainer.logger.init_args.version=mine")
    assert start.wait() == 2 and "Traceback" not in start.output()
    assert start.output().splitlines()[-1].endswith("No space left on device: 'runs/lightning_logs/mine'")
