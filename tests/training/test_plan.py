"""A plan says what a run costs: each number against another way to come by it; nothing is trained or written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from lit_rnncomp.training import GRUCompressor
from lit_rnncomp.training.compression_cli import CompressionCLI
from lit_rnncomp.training.counting import Count
from lit_rnncomp.training.plan import Plan
from lit_rnncomp.training.plan_cli import planned

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
SMALL = {"width": 0.05, "iterations": 3}
BASE = ["--model=GRUCompressor", *(f"--model.{name}={value}" for name, value in SMALL.items()), "--data.batch_size=2"]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """The plan of `fit` with arguments, made in a folder that must stay as it is."""
    monkeypatch.setattr("sys.argv", ["lit-rnncomp"])
    monkeypatch.chdir(tmp_path)

    def of(*arguments: str) -> Plan:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        found = planned(["fit", "--plan", *arguments])
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before, "a plan writes nothing"
        return found

    return of


def files(*names: str) -> list[str]:
    return [f"--config={CONFIGS / name}.yaml" for name in names]


def recipes() -> dict[str, list[str]]:
    """Every file of `configs/`; of the paper's networks two iterations, as more cost time alone."""
    found = {}
    for path in sorted(CONFIGS.rglob("*.yaml")):
        name = path.relative_to(CONFIGS).with_suffix("").as_posix()
        found[name] = {
            "model": [*files(name, "data/hard_tiles", "trainer/paper"), "--model.init_args.iterations=2"],
            "data": [*files("model/gru_one_shot", name), "--model.width=0.1", "--model.iterations=4"],
            "trainer": [*files("model/lstm_additive", "data/photographs", name), "--model.width=0.1"],
            "entropy": [*files(name), f"--model.codec={ROOT / 'lit_rnncomp/zoo/residual_gru_dct64.safetensors'}"],
        }.get(path.parent.name, files(name))
    return found


class Parser(CompressionCLI):
    """Stops before anything is built."""

    def instantiate_classes(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes())
def test_every_recipe_has_a_plan(plan: Callable[..., Plan], name: str) -> None:
    found = plan(*recipes()[name], "--trainer.accelerator=cpu", "--trainer.devices=2")
    spec = Parser(run=False, args=recipes()[name]).config.model
    module, kind = spec.class_path.rsplit(".", 1)
    with torch.device("cpu" if name.startswith("entropy") else "meta"):  # that one loads a codec
        model = getattr(import_module(module), kind)(**spec.init_args.as_dict())
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert found.reduced == found.memory.buckets == 4 * found.trained
    assert found.pictures == 2 * found.batch[0] * found.accumulated
    assert min(found.multiply_adds, *found.memory[:4]) > 0
    assert (found.memory.averages > 0) == (name == "trainer/ema")
    early = spec.init_args.get("early_iterations")
    assert (found.early_multiply_adds is None) == (early is None)
    if early:
        share = found.early_multiply_adds / found.multiply_adds
        assert share == pytest.approx(early / model.codec.config.iterations, rel=0.05)


@pytest.mark.slow
def test_the_papers_run_on_eight_gpus_is_planned_without_one(tmp_path: Path) -> None:
    words = files("model/lstm_one_shot", "data/hard_tiles", "trainer/paper")
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "fit", "--plan", "--json", *words]
    devices = ["--trainer.accelerator=gpu", "--trainer.devices=8", "--trainer.num_nodes=2"]
    done = subprocess.run([*command, *devices], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # Each weight of a convolution counts once for each position, in three products: see the test of the layer table.
    assert found["multiply_adds"] == pytest.approx(16 * 32 * 3 * 694_500_000, rel=0.02)
    assert found["pictures"] == 16 * 32 and found["steps"] == 1_000_000 and found["validations"] == 10
    assert found["devices"] == {"kind": "cuda", "each": 8, "nodes": 2, "precision": "32-true"}
    assert found["folder"] == "runs/lightning_logs/version_0" and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_person_reads_a_table(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "fit", "--plan", *files("quickstart")]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "120"}
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for words in (
        "391,976",
        "4 of 3x64x64",
        "600 steps, 2,400 pictures, 4 validations",
        "runs/lightning_logs/version_0",
    ):
        assert words in done.stdout
    assert not list(tmp_path.iterdir())


EXCHANGED = """
import sys, torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from lit_rnncomp.training import GRUCompressor
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
module, found = torch.nn.parallel.DistributedDataParallel(GRUCompressor(width=0.05, iterations=3).codec), []
def hook(state, bucket):
    found.append(bucket.buffer().nbytes)
    return allreduce_hook(None, bucket)
module.register_comm_hook(None, hook)
torch.stack([r.abs().mean() for r in module(torch.zeros(2, 3, 32, 32)).residuals]).sum().backward()
print(sum(found))
"""


def test_the_gradients_bytes_are_those_that_two_processes_exchange(plan: Callable[..., Plan], tmp_path: Path) -> None:
    command = [sys.executable, "-c", EXCHANGED, str(tmp_path / "meeting")]
    two = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE) for rank in (0, 1)]
    exchanged = [int(process.communicate(timeout=120)[0]) for process in two]
    assert exchanged == [plan(*BASE, "--trainer.devices=2", "--trainer.accelerator=cpu").reduced] * 2
    assert plan(*BASE, "--trainer.devices=1", "--trainer.accelerator=cpu").reduced == 0


def test_multiply_adds_are_those_of_the_batches_of_a_step(plan: Callable[..., Plan]) -> None:
    with Count() as count:
        pictures = GRUCompressor(**SMALL).codec.train()(torch.zeros(2, 3, 32, 32)).residuals
        torch.stack([r.abs().mean() for r in pictures]).sum().backward()
    found = plan(*BASE, "--trainer.accumulate_grad_batches=4")
    assert found.multiply_adds == 4 * (count.operations // 2) and found.pictures == 8


MEASURED = """
import json, sys
from types import SimpleNamespace
import lightning as L, torch
from lit_rnncomp.training import ResidualGRUCompressor
from lit_rnncomp.training.benchmark import _status
torch.set_num_threads(1)
before = _status("VmRSS")
module = ResidualGRUCompressor(**json.loads(sys.argv[1])).train()
module.trainer = L.Trainer(max_steps=5, logger=False, accelerator="cpu", enable_checkpointing=False)
module.trainer.datamodule = SimpleNamespace(steps_per_epoch=5)
module.log = lambda *args, **kwargs: None
optimizer, image = module.configure_optimizers()["optimizer"], torch.rand(32, 3, 64, 64)
for _ in range(2):
    optimizer.zero_grad()
    module.training_step(image, 0).backward()
    optimizer.step()
print(_status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's account of the process")
def test_the_memory_of_a_step_is_what_is_planned(plan: Callable[..., Plan]) -> None:
    """Within a quarter: libraries take some, and the system gives whole pages."""
    options = yaml.safe_load((CONFIGS / "quickstart.yaml").read_text())["model"]["init_args"]
    words = json.dumps({**options, "early_iterations": None})
    # glibc would keep what is freed, and with it as much again.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEASURED, words]
    measured = int(subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300).stdout)
    assert measured / 1.25 < sum(plan(*files("quickstart"), "--data.batch_size=32").memory) < measured * 1.25


def test_a_gpu_keeps_less_and_bfloat16_still_less(plan: Callable[..., Plan]) -> None:
    gpu = ["--trainer.accelerator=gpu", "--trainer.devices=1"]
    larger = [*BASE, "--model=LSTMCompressor", "--data.patch=128"]
    here, there = plan(*larger), plan(*larger, *gpu)
    mixed = plan(*larger, *gpu, "--trainer.precision=bf16-mixed")
    assert mixed.memory.activations < there.memory.activations < here.memory.activations
    assert mixed.multiply_adds == there.multiply_adds == here.multiply_adds


@pytest.mark.parametrize(
    ("length", "count"),
    [  # the steps of runs of these lengths are held by the tests of processes
        (["max_steps=5", "max_epochs=-1"], 1),
        (["max_epochs=3", "check_val_every_n_epoch=2", "STEPS=2"], 2),
        (["max_steps=4", "max_epochs=-1", "check_val_every_n_epoch=1", "STEPS=2"], 2),
        (["max_epochs=4", "val_check_interval=0.5", "STEPS=2"], 8),
        (["max_epochs=3", "STEPS=3"], 3),
        (["max_epochs=25", "STEPS=1"], 9),
        (["max_epochs=25", "limit_train_batches=1", "STEPS=50"], 9),
        (["max_steps=115", "max_epochs=-1"], 10),
        (["max_epochs=36", "accumulate_grad_batches=2", "STEPS=6"], 10),
        (["max_epochs=36", "limit_val_batches=0"], 0),
        ([], 10),
        (["max_time=00:01:00:00"], None),
        (["max_epochs=-1"], None),
    ],
)
def test_validations_are_counted(plan: Callable[..., Plan], length: list[str], count: int | None) -> None:
    words = [word.replace("STEPS", "--data.steps_per_epoch") for word in length]
    found = plan(*BASE, *(word if word.startswith("--") else f"--trainer.{word}" for word in words))
    assert found.validations == count and (found.steps is None) == (count is None)


def test_where_a_run_goes_on_is_said_and_left_alone(plan: Callable[..., Plan], tmp_path: Path) -> None:
    assert plan(*BASE, "--ckpt_path=last").folder == "runs/lightning_logs/version_0"
    run = tmp_path / "runs/lightning_logs/version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/last.ckpt").touch()
    (run / "metrics.csv").write_text("step\n1\n")
    anew, on = plan(*BASE), plan(*BASE, "--ckpt_path=last")
    assert (anew.folder, anew.goes_on) == ("runs/lightning_logs/version_1", False)
    assert (on.folder, on.goes_on) == ("runs/lightning_logs/version_0", True)
    assert plan(*BASE, *files("trainer/wandb")).folder == "runs/lit-rnncomp/ID"
    assert plan(*BASE, "--trainer.logger.version=mine").folder == "runs/lightning_logs/mine"
    assert plan(*BASE, "--trainer.fast_dev_run=true").folder is None


OWN = """
import lightning, torch
from torch.utils.data import DataLoader, TensorDataset

class Data(lightning.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(torch.rand(12, 3, 32, 32), batch_size=4)

    def val_dataloader(self):
        return DataLoader(torch.rand(1, 3, 32, 32))

class Pairs(Data):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.rand(12, 3, 32, 32), torch.rand(12)), batch_size=4)
"""


def test_data_of_ones_own_are_asked_for_a_batch(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_data.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    own = [*BASE[:-1], "--data=own_data.Data", "--trainer.max_epochs=3"]
    found, theirs = plan(*own), plan(*BASE[:-1], "--data.batch_size=4")
    assert (found.batch, found.steps, found.validations) == ((4, 3, 32, 32), 9, None)
    assert (found.multiply_adds, found.memory) == (theirs.multiply_adds, theirs.memory)
    assert plan(*own, "--trainer.devices=2", "--trainer.accelerator=cpu").steps is None
    with pytest.raises(ValueError, match="a plan counts batches of one tensor, and Pairs makes a list"):
        plan(*BASE[:-1], "--data=own_data.Pairs", "--trainer.max_epochs=3")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.precision=bf16-true"], "use bf16-mixed"),
        (["--trainer.accelerator=tpu"], "a plan knows auto, cpu, gpu, cuda and mps"),
        (["--trainer.strategy=fsdp", "--trainer.devices=2"], "a plan of several devices knows ddp alone"),
        (["--trainer.accelerator=cpu", "--model.accelerate=cuda_graph"], "needs a CUDA GPU and this run is on cpu"),
        (["--trainer.accelerator=gpu", "--trainer.devices=2", "--model.accelerate=cuda_graph"], "this run has 2"),
    ],
)
def test_what_a_run_would_refuse_the_plan_does(plan: Callable[..., Plan], words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(*BASE, *words)


def test_an_uncounted_number_of_gpus_is_asked_for(plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="no CUDA device to count: say how many there will be, --trainer.devices N"):
        plan(*BASE, "--trainer.accelerator=gpu")
    assert plan(*BASE, "--trainer.accelerator=gpu", "--trainer.devices=[0,2]").devices.all == 2
    assert plan(*BASE, "--trainer.accelerator=gpu", "--trainer.devices=0,2,3").devices.all == 3


@pytest.mark.slow
@pytest.mark.parametrize("words", [["fit", "--json", *BASE], ["validate", "--plan", *BASE]])
def test_the_switches_are_those_of_a_plan(tmp_path: Path, words: list[str]) -> None:
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and words[1] in done.stderr.splitlines()[-1], done.stderr
    assert not list(tmp_path.iterdir())
