"""Checkpoints for runs that are killed: the best, and the last, each of them whole at any moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from ..files import remove_unfinished, replacing
from .termination import Termination


def best_checkpoint(monitor: str = "val/auc_ms_ssim", mode: str = "max") -> ModelCheckpoint:
    """Keeps `best.ckpt`: the one with the largest area under the MS-SSIM curve (or the best `monitor`)."""
    return ModelCheckpoint(monitor=monitor, mode=mode, auto_insert_metric_name=False, filename="best", enable_version_counter=False)


class LastCheckpoint(ModelCheckpoint):
    """Keeps `last.ckpt`, from which `--ckpt_path last` goes on exactly where the run was.

    It is written every `every_n_steps` optimizer steps, at the end of every epoch, after every validation, when the run ends, and when
    SIGTERM arrives, which ends the run with exit code 143 after that; not while gradients are being accumulated, and not with weights
    that are not finite.

    (Lightning's `save_on_exception` is not used: it writes the broken or half-way state over the best checkpoint.)

    Args:
        every_n_steps: optimizer steps between two writes.
    """

    def __init__(self, every_n_steps: int = 1000) -> None:
        if every_n_steps < 1:
            raise ValueError(f"last_checkpoint.every_n_steps is {every_n_steps}, must be at least 1")
        super().__init__(filename="last", enable_version_counter=False, every_n_train_steps=every_n_steps)
        self.every_n_steps = every_n_steps
        self._seen = -1
        self._between_steps = self._ending = False
        self._termination = Termination()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        # Behind all others, so that what they know after this step is saved with it.
        trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self] + [self]  # type: ignore[attr-defined]
        if stage == "fit" and trainer.is_global_zero and self.dirpath and "://" not in str(self.dirpath):
            remove_unfinished(Path(self.dirpath))

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._termination.listen()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._termination.listen()
        self._seen, self._between_steps = trainer.global_step, True

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if self._ending:
            self._termination.end(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        self._between_steps, self._seen = step > self._seen, step
        ends = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch or trainer.should_stop or step == trainer.max_steps
        # The run ends a moment later, before the next batch: this step's values are still to be logged.
        self._ending = self._between_steps and self._termination.asked(trainer)
        if ends or self._ending or step % self.every_n_steps == 0:
            self._write(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        # With several processes, which may have different numbers of pictures, only the end of the validation is a common place.
        if trainer.world_size == 1 and self._termination.asked(trainer):
            self._termination.end(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._write(trainer)
        if self._termination.asked(trainer):
            self._termination.end(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing: the last batch of the epoch was its end."""

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing: the last batch was saved."""

    def _write(self, trainer: L.Trainer) -> None:
        if not self._between_steps or trainer.fast_dev_run or not all(p.isfinite().all() for p in trainer.lightning_module.parameters()):  # type: ignore[attr-defined]
            return
        assert self.dirpath is not None
        self.last_model_path = os.path.join(self.dirpath, "last.ckpt")  # noqa: PTH118  # may be a URL
        self._save_checkpoint(trainer, self.last_model_path)
        for logger in trainer.loggers:  # what was computed before this checkpoint is not computed again
            logger.save()


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints beside their place and renames them: a kill leaves the old file or the new one.

    (Lightning writes to the system's temporary folder and moves, which copies when that is another file system.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(checkpoint, temporary)
