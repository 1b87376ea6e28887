"""Eight processes on one machine: who sees which picture, what is measured, what is the same everywhere, and where a
run goes on."""

import hashlib
import json
import multiprocessing
import os
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from lit_rnncomp.data.module import PhotographData
from lit_rnncomp.images import to_signal
from lit_rnncomp.training import GRUCompressor
from lit_rnncomp.training.agreement import Agreement
from lit_rnncomp.training.callbacks import StepSeeds
from lit_rnncomp.training.checkpoints import LastCheckpoint, WholeFiles, best_checkpoint
from lit_rnncomp.training.processes import Distributed, Validations

PROCESSES, STEPS, EPOCH = 8, 6, 3
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")]


def together(work: Callable[[int], None]) -> None:
    """Calls `work` with the rank in as many processes, forked from this one, which know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def one(rank: int) -> None:
        warnings.simplefilter("ignore")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(PROCESSES), NODE_RANK="0")
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), PL_GLOBAL_SEED="5")
        work(rank)

    started = [multiprocessing.get_context("fork").Process(target=one, args=(rank,)) for rank in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(200)
        process.kill()
    assert [process.exitcode for process in started] == [0] * PROCESSES


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()


class Seen(Callback):
    """The digests of this process's batches, of its running means after so many steps, and what it measured."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self.running: dict[int, str] = {}
        self.values: dict[str, float] = {}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.batches.append(digest(batch))
        self.running[trainer.global_step] = digest(module.codec.reconstruction.deviation)

    def on_validation_end(self, trainer, module):
        self.values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val")}


def data(folder: Path) -> PhotographData:
    """Eleven pictures, three of which are measured on: five processes have none."""
    options = {"patch": 32, "steps_per_epoch": EPOCH, "max_side": 64, "num_workers": 0, "seed": 3}
    return PhotographData(str(folder / "photographs"), holdout=3, batch_size=1, **options)


def model() -> GRUCompressor:
    """With early iterations, of which parameters may be left out: torch then keeps gradients grouped as they are.

    (Else it groups them anew after the first step of each start, and a sum over more than two processes is taken in
    another order.)
    """
    torch.manual_seed(1)
    network = {"frontend": "dct", "code_stride": 8, "bits": 8, "width": 0.02, "iterations": 2}
    return GRUCompressor(reconstruction="measured_gain", early_iterations=2, **network)


def train(folder: Path, out: Path, rank: int, checkpoint: Path | None = None) -> None:
    """Trains to the last step, from nothing or a checkpoint; leaves a file of what each process saw."""
    module, seen = model(), Seen()
    brought = [StepSeeds(), Agreement(), Distributed(), Validations(), LastCheckpoint(2), best_checkpoint(), seen]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    length = {"max_steps": STEPS, "max_epochs": -1, "log_every_n_steps": 2, "check_val_every_n_epoch": None}
    trainer = L.Trainer(
        default_root_dir=out,
        accelerator="cpu",
        devices=PROCESSES,
        strategy="ddp",
        callbacks=brought,
        plugins=[WholeFiles()],
        **length,
        **quiet,
    )
    trainer.fit(module, data(folder), ckpt_path=checkpoint, weights_only=False)
    state = digest(*module.state_dict().values())
    found = {"batches": seen.batches, "running": seen.running, "values": seen.values, "state": state}
    (out / f"{rank}.json").write_text(json.dumps(found))


def found(folder: Path) -> list[dict]:
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(PROCESSES)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The folder of an unbroken run, `whole`, and of one that goes on from the checkpoint before its last, `again`."""
    folder = tmp_path_factory.mktemp("eight")
    for name in ("photographs", "whole", "again"):
        (folder / name).mkdir()
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(folder / f"photographs/{number:02}.png")

    def work(rank: int) -> None:
        train(folder, folder / "whole", rank)
        train(folder, folder / "again", rank, folder / "whole/checkpoints/last-1.ckpt")

    together(work)
    return folder


def test_each_batch_is_the_eighth_part_of_one(runs):
    loader = data(runs).train_dataloader()
    for step in range(STEPS):
        expected = [digest(to_signal(loader.dataset[PROCESSES * step + rank][None])) for rank in range(PROCESSES)]
        assert [each["batches"][step] for each in found(runs / "whole")] == expected
        assert len(set(expected)) == PROCESSES


def test_all_processes_have_the_same_weights_means_and_values(runs):
    everywhere = found(runs / "whole")
    assert len({each["state"] for each in everywhere}) == 1
    assert all(each["values"] == everywhere[0]["values"] for each in everywhere) and everywhere[0]["values"]
    # Running means are each process's own until the processes next agree.
    apart = {step: len({each["running"][step] for each in everywhere}) for step in everywhere[0]["running"]}
    assert apart == {"0": 1, "1": PROCESSES, "2": 1, "3": 1, "4": 1, "5": PROCESSES}


def test_a_validation_is_that_of_one_process(runs):
    module = model()
    module.load_state_dict(torch.load(runs / "whole/checkpoints/last.ckpt", weights_only=False)["state_dict"])
    module.eval()
    pictures = list(data(runs).val_dataloader())
    assert len(pictures) == 3
    with torch.no_grad():
        for picture in pictures:
            module.validation_step(to_signal(picture), 0)
    expected = module._summary("val", module.curve.compute())
    measured = found(runs / "whole")[0]["values"]
    assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_a_run_goes_on_to_the_bit(runs):
    before = torch.load(runs / "whole/checkpoints/last-1.ckpt", weights_only=False)["global_step"]
    assert 0 < before < STEPS
    for whole, again in zip(found(runs / "whole"), found(runs / "again"), strict=True):
        assert again["batches"] == whole["batches"][before:]
        assert again["state"] == whole["state"] and again["values"] == whole["values"]
