"""When a run is validated, and options of distributed training that recipes need."""

from __future__ import annotations

import math

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy

from .optimizers import steps_of_epoch, total_steps

VALIDATIONS = 10
_LEAST_STEPS = 10  # between two validations: one costs as much as several steps


def at_end(trainer: L.Trainer) -> bool:
    """Whether the batch just trained on was the run's last, by `max_steps` or `max_epochs`."""
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (
        last_epoch and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    )


class Validations(Callback):
    """Validates about ten times in a run, whatever its length, unless `check_val_every_n_epoch` or `val_check_interval`
    says otherwise; and after the last step, wherever in an epoch that is: no run ends unmeasured.

    In a run so short that there would be less than ten steps between two, they follow epochs, about ten of them. Where
    the length is not known (neither steps nor epochs are limited, or a data module of one's own has no
    `steps_per_epoch`), a validation follows every epoch.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        # Where validations follow the clock, the trainer has no interval.
        chosen = trainer.check_val_every_n_epoch is not None or getattr(trainer, "val_check_interval", None) != 1.0
        if stage != "fit" or chosen or not hasattr(trainer.datamodule, "steps_per_epoch"):  # type: ignore[attr-defined]
            return
        steps = total_steps(trainer)
        if not math.isfinite(steps):
            return
        apart = math.ceil(steps / VALIDATIONS)
        if apart >= _LEAST_STEPS:
            # Batches over all epochs, which is what Lightning counts where no number of epochs is given.
            trainer.val_check_interval = apart * trainer.accumulate_grad_batches
        else:
            trainer.check_val_every_n_epoch = max(1, math.ceil(steps / max(1, steps_of_epoch(trainer)) / VALIDATIONS))

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if at_end(trainer) and trainer.enable_validation:
            # The way in which Lightning lets a callback end a run: it validates before it does, unless there is a
            # least number of epochs, which it assumes where one of steps is given.
            trainer.should_stop = True
            trainer.fit_loop.min_epochs = trainer.fit_loop.epoch_loop.min_steps = None
            if trainer.check_val_every_n_epoch is not None:
                trainer.check_val_every_n_epoch = 1


class Distributed(Callback):
    """Tells distributed training which parameters a step may leave out, and that buffers are alike by themselves.

    (Early iterations, or one alone, use no state and not all projections; torch stops where nothing said so. Sending
    buffers with every forward would make all processes wait for the first.)
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, DDPStrategy):
            options = trainer.strategy._ddp_kwargs
            options.setdefault("broadcast_buffers", False)
            options.setdefault("find_unused_parameters", getattr(pl_module, "leaves_parameters_out", False))
