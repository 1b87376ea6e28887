"""What a part does in its process: a plan, or some steps of a real `fit`, timed."""

from __future__ import annotations

import logging
import sys
import time
from statistics import median
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from ..training.compression_cli import CompressionCLI
from ..training.plan_cli import planned


def plan(words: list[str]) -> dict[str, Any]:
    """The plan of `fit` with these options."""
    sys.argv[1:] = []
    found = planned(["fit", *words])
    return {
        "multiply_adds": found.multiply_adds // found.accumulated,  # of a batch, which is what is timed
        "parameters": found.parameters,
        "planned_bytes": sum(found.memory),
    }


def fit(words: list[str]) -> dict[str, Any]:
    """Runs `fit` with these options.

    `seconds_a_batch`: of training alone, the median over the last half of the batches, when all is warm and all
    iterations are unrolled. `pictures_per_second`: over all devices, with what is around a batch, the data's loading
    included. `peak_bytes`: the most that tensors held on the device, or on a CPU the whole process. `loss`: the last.
    """
    sys.argv[1:] = []
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return RehearsedCLI(args=["fit", *words]).watch.figures()


class RehearsedCLI(CompressionCLI):
    """`fit` with a stopwatch."""

    watch: Stopwatch

    def instantiate_trainer(self, **options: Any) -> L.Trainer:
        trainer = super().instantiate_trainer(**options)
        self.watch = Stopwatch()
        trainer.callbacks.append(self.watch)  # type: ignore[attr-defined]
        return trainer


class Stopwatch(Callback):
    """Times every batch on a device that has nothing else to do."""

    def __init__(self) -> None:
        self._begun: list[float] = []
        self._ended: list[float] = []
        self._pictures, self._loss = 0, float("nan")
        self._device = torch.device("cpu")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._device = pl_module.device
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._begun.append(self._now())

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._ended.append(self._now())
        self._pictures = len(batch) * trainer.world_size
        self._loss = float(outputs["loss"] if isinstance(outputs, dict) else outputs)

    def figures(self) -> dict[str, Any]:
        """See `fit`."""
        half = (len(self._ended) + 1) // 2
        alone = [end - begin for begin, end in zip(self._begun, self._ended, strict=True)][half:]
        whole = [later - earlier for earlier, later in zip(self._ended, self._ended[1:], strict=False)][half - 1 :]
        return {
            "seconds_a_batch": median(alone),
            "pictures_per_second": self._pictures / median(whole),
            "peak_bytes": self._peak(),
            "loss": self._loss,
        }

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _peak(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
