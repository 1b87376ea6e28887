"""What a run needs around the training step."""

from __future__ import annotations

import math
import os
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback


class StepSeeds(Callback):
    """Makes the binarizer's noise a function of (seed, step, rank), so that a resumed run repeats an uninterrupted one exactly."""

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_index: int) -> None:
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))
        torch.manual_seed(_mix(seed, trainer.fit_loop.total_batch_idx, trainer.global_rank))


class FiniteLoss(Callback):
    """Stops a run whose loss is no longer a number, naming the last good checkpoint. Raises `FloatingPointError`."""

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None or math.isfinite(loss):
            return
        checkpoint = getattr(trainer.checkpoint_callback, "last_model_path", "") or getattr(
            trainer.checkpoint_callback, "best_model_path", ""
        )
        way_out = f"the last checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
        raise FloatingPointError(f"the loss is {float(loss)} at step {trainer.global_step}; {way_out}; a lower lr may help")


def _mix(*numbers: int) -> int:
    """A 63-bit hash of some integers (splitmix64 steps)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & (1 << 64) - 1
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        state = (state ^ state >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
        state ^= state >> 31
    return state >> 1
