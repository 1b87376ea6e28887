"""What makes many processes one run: validation at its end, and options of distributed training that recipes need."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy


def at_end(trainer: L.Trainer) -> bool:
    """Whether the batch just trained on was the run's last, by `max_steps` or `max_epochs`."""
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return trainer.global_step == trainer.max_steps or (
        last_epoch and trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
    )


class ValidatedEnd(Callback):
    """Validates after the last step, wherever in an epoch that is: no run ends unmeasured."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if at_end(trainer) and trainer.enable_validation:
            # The way in which Lightning lets a callback end a run: it validates before it does.
            trainer.should_stop = True
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
