"""The shipped sweeps on Weights & Biases: the real `wandb sweep` and `wandb agent`, with a server that is only a
stub."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from helpers.wandb_stub import ENTITY, PROJECT, SWEEP, wandb_stub

from lit_rnncomp.sweep.best import best
from lit_rnncomp.sweep.definition import SweepError

ROOT = Path(__file__).resolve().parents[2]
PATH = f"{ENTITY}/{PROJECT}/{SWEEP}"


@pytest.fixture
def server(monkeypatch, tmp_path):
    with wandb_stub() as stub:
        settings = {
            "WANDB_BASE_URL": stub.url,
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ENTITY": ENTITY,
            "WANDB_PROJECT": PROJECT,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "false",
            "WANDB_DIR": str(tmp_path),
            "WANDB_CONFIG_DIR": str(tmp_path / "settings"),
            "WANDB_CACHE_DIR": str(tmp_path / "cache"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
        }
        for key, value in settings.items():
            monkeypatch.setenv(key, value)
        yield stub


def node(name: str, auc: float) -> dict:
    """A run as the server describes it."""
    config = {"model.class_path": {"value": "GRUCompressor"}, "model.init_args.lr": {"value": 0.01}}
    fields = {
        "id": name,
        "name": name,
        "displayName": name,
        "state": "finished",
        "sweepName": SWEEP,
        "projectId": "1",
        "tags": [],
    }
    fields |= {
        "config": json.dumps(config),
        "summaryMetrics": json.dumps({"val/auc_ms_ssim_best": auc, "val/mean_psnr_hvs_best": 30 - auc}),
        "systemMetrics": "{}",
    }
    fields |= {
        "createdAt": "2026-01-01T00:00:00",
        "heartbeatAt": None,
        "updatedAt": None,
        "description": None,
        "notes": None,
        "group": None,
    }
    fields |= {"jobType": None, "commit": None, "readOnly": False, "historyKeys": None}
    return fields | {"user": {"name": ENTITY, "username": ENTITY}, "project": {"name": PROJECT}}


@pytest.mark.slow
def test_the_agent_runs_the_smoke_sweep(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    registered = subprocess.run(
        ["wandb", "sweep", str(ROOT / "sweeps" / "smoke.yaml")], capture_output=True, text=True, timeout=120
    )
    assert registered.returncode == 0, registered.stderr
    assert re.search(rf"wandb agent .*{PATH}", registered.stderr + registered.stdout)
    assert yaml.safe_load(server.config)["metric"] == {"name": "val/auc_ms_ssim_best", "goal": "maximize"}
    swept = {"model.class_path": {"value": "LSTMCompressor"}, "model.init_args.lr": {"value": 0.01}}
    server.queue = [{"type": "run", "run_id": "run00001", "program": None, "args": swept}]
    environment = dict(os.environ, WANDB_MODE="offline")  # for the run; the agent itself talks to the server
    agent = subprocess.run(["wandb", "agent", PATH], env=environment, capture_output=True, text=True, timeout=300)
    assert agent.returncode == 0, agent.stderr
    assert {"CreateAgent", "Heartbeat"} <= set(server.operations)
    checkpoints = list(tmp_path.glob("runs/*/run00001/checkpoints/best.ckpt"))
    assert len(checkpoints) == 1, agent.stdout + agent.stderr
    server.runs = [node("run00001", 0.5)]
    best(PATH, export=str(tmp_path / "best.safetensors"))
    assert f"checkpoint: {checkpoints[0].relative_to(tmp_path)}" in capsys.readouterr().out
    from lit_rnncomp.codec import weights

    assert weights.load(tmp_path / "best.safetensors").config.unit == "lstm"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="`ps -s`")
@pytest.mark.parametrize("end", ["by itself", "stopped", "pre-empted"])
def test_the_best_checkpoint_arrives_at_the_server_however_a_trial_ends(server, tmp_path, monkeypatch, end):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "online")
    sweep = yaml.safe_load((ROOT / "sweeps" / "smoke.yaml").read_text())
    length = 3 if end == "by itself" else 1000
    sweep["command"][-1:] = [f"--trainer.max_epochs={length}", "--data.max_side=64", "${args}"]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    subprocess.run(["wandb", "sweep", "sweep.yaml"], check=True, capture_output=True, timeout=120)
    swept = {"model.class_path": {"value": "GRUCompressor"}, "model.init_args.lr": {"value": 0.01}}
    server.queue = [{"type": "run", "run_id": "run00001", "program": None, "args": swept}]
    with (tmp_path / "agent.txt").open("w") as log:
        agent = subprocess.Popen(
            ["wandb", "agent", "--forward-signals", PATH], stdout=log, stderr=log, start_new_session=True
        )
    try:
        if end != "by itself":
            wait_for(lambda: any(each["whole"] for each in server.artifacts.values()), agent)
        if end == "stopped":
            server.orders = [{"type": "stop", "run_id": "run00001"}]
        if end == "pre-empted":
            agent.terminate()  # which ends its trial
        agent.wait(120)
        wait_for(lambda: not in_session(agent.pid))  # the trial, which saves and uploads
        (best,) = tmp_path.glob("runs/*/run00001/checkpoints/best.ckpt")
    finally:
        for process in in_session(agent.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    # Tables are artifacts too, of no name but the latest.
    number, last = [item for item in server.artifacts.items() if item[1]["aliases"] != ["latest"]][-1]
    assert last["run"] == "run00001" and sorted(last["aliases"]) == ["best", "latest"] and last["whole"]
    assert server.files[f"{number}/best.ckpt"] == best.read_bytes(), (tmp_path / "agent.txt").read_text()


def in_session(leader: int) -> list[int]:
    found = subprocess.run(["ps", "-s", str(leader), "-o", "pid="], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def wait_for(condition, process=None, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and (process is None or process.poll() is None)
        time.sleep(0.1)


def test_the_best_run_of_a_server_sweep_is_found(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    server.config = (ROOT / "sweeps" / "smoke.yaml").read_text()
    server.runs = [node("aaaa", 0.4), node("bbbb", 0.6), node("cccc", 0.5)]
    (tmp_path / "runs" / "lit_rnncomp" / "bbbb" / "checkpoints").mkdir(parents=True)
    checkpoint = tmp_path / "runs" / "lit_rnncomp" / "bbbb" / "checkpoints" / "best.ckpt"
    checkpoint.write_text("weights")
    best(PATH, export="copy.ckpt", json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["run"], printed["value"], printed["metric"]) == ("bbbb", 0.6, "val/auc_ms_ssim_best")
    assert printed["parameters"] == {"model.class_path": "GRUCompressor", "model.init_args.lr": 0.01}
    assert Path("copy.ckpt").read_text() == "weights"
    other = tmp_path / "runs/lit_rnncomp/aaaa/checkpoints/best_psnr_hvs.ckpt"
    other.parent.mkdir(parents=True)
    other.write_text("by PSNR-HVS")
    best(PATH, metric="psnr_hvs", json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["run"], printed["value"], Path(printed["checkpoint"]).read_text()) == ("aaaa", 29.6, "by PSNR-HVS")
    server.runs[1] = node("bbbb", math.nan)
    checkpoint.parent.parent.rename(checkpoint.parents[2] / "cccc")
    best(PATH, json=True)
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (printed["run"], printed["value"]) == ("cccc", 0.5)
    server.runs = []
    with pytest.raises(SweepError, match=f"no run of the sweep {PATH} has logged val/auc_ms_ssim_best"):
        best(PATH)


def test_a_server_sweep_may_name_neither_metric_nor_goal(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep = yaml.safe_load((ROOT / "sweeps" / "smoke.yaml").read_text())
    server.runs = [node("aaaa", 0.4), node("bbbb", 0.6)]
    checkpoints = tmp_path / "runs/lit_rnncomp/aaaa/checkpoints"
    checkpoints.mkdir(parents=True)
    for name in ("best", "best_psnr_hvs"):
        (checkpoints / f"{name}.ckpt").write_text("weights")
    server.config = yaml.safe_dump(sweep | {"metric": {"name": "val/auc_ms_ssim_best"}})
    best(PATH, json=True)
    assert json.loads(capsys.readouterr().out)["value"] == 0.4, "which minimises, as the server does"
    del sweep["metric"]
    server.config = yaml.safe_dump(sweep)
    with pytest.raises(SweepError, match=f"the sweep {PATH} names no metric; choose one with --metric"):
        best(PATH)
    best(PATH, metric="psnr_hvs", json=True)
    assert json.loads(capsys.readouterr().out)["value"] == 29.6
