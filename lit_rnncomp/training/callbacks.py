"""What a run needs around the training step."""

from __future__ import annotations

import os
import time
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from ..data.sampling import mix

COMPUTED_IN = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""The type of convolutions in each precision of Lightning's that has weights of float32."""


class StepSeeds(Callback):
    """Makes the binarizer's noise a function of (seed, step, rank), so that resumed runs repeat unbroken ones."""

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_index: int) -> None:
        state = np.zeros(1, np.uint64)
        for number in (int(os.environ.get("PL_GLOBAL_SEED", 0)), trainer.fit_loop.total_batch_idx, trainer.global_rank):
            state = mix(state ^ np.uint64(number))
        torch.manual_seed(int(state[0]) >> 1)


class Precision(Callback):
    """Refuses weights that are not float32, with `ValueError`: sums over iterations and Adam's small steps would be
    lost in them, and entropy models count in integers."""

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        check_precision(trainer.precision)


def check_precision(precision: Any) -> None:
    """Raises `ValueError` for a precision of Lightning's that is not in `COMPUTED_IN`."""
    if precision not in COMPUTED_IN:
        raise ValueError(
            f"trainer.precision={precision} would keep weights and sums in another type than float32: use "
            "bf16-mixed, which has the convolutions alone in bfloat16, or 32-true"
        )


class Diagnostics(Callback):
    """Logs `train/pictures_per_second` over all processes, and the norm of the gradient before clipping:
    `train/grad_norm` of all weights, `train/grad_norm_encoder` and so on of each part of the network."""

    def __init__(self) -> None:
        self._since = 0.0
        self._pictures = 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._since, self._pictures = time.monotonic(), 0

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._since, self._pictures = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        self._pictures += len(batch) * trainer.world_size
        if _logs(trainer, trainer.fit_loop.epoch_loop.total_batch_idx):
            now = time.monotonic()
            module.log("train/pictures_per_second", self._pictures / (now - self._since))
            self._since, self._pictures = now, 0

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if not _logs(trainer, trainer.global_step):
            return
        squares: dict[str, list[torch.Tensor]] = {}
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                part = name.split(".")[:2][-1]  # a parameter of the module itself has no more than a name
                squares.setdefault(part, []).append(parameter.grad.float().square().sum())
        if not squares:
            return
        parts = {name: torch.stack(values).sum() for name, values in squares.items()}
        module.log("train/grad_norm", torch.stack(list(parts.values())).sum().sqrt())
        module.log_dict({f"train/grad_norm_{name}": value.sqrt() for name, value in parts.items()})


def _logs(trainer: L.Trainer, before: int) -> bool:
    """Whether the step, or batch, after so many is one that is logged."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and (before + 1) % every == 0
