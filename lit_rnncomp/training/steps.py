"""How long a run is."""

from __future__ import annotations

import math

import lightning as L


def total_steps(trainer: L.Trainer) -> float:
    """Optimizer steps of the whole run; infinite when neither epochs nor steps are limited.

    `trainer.estimated_stepping_batches` says the same, but builds the training loader to find out. Asked for while the optimizers are
    configured, that is before Lightning restores a checkpoint's loops, and the loader's place in the data is then never restored
    (Lightning 2.6). So it is asked only when the data module does not have `steps_per_epoch`.
    """
    batches: float | None = getattr(trainer.datamodule, "steps_per_epoch", None)  # type: ignore[attr-defined]
    if batches is None:
        return trainer.estimated_stepping_batches
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs = trainer.max_epochs
    by_epochs = math.inf if epochs is None or epochs < 0 else epochs * math.ceil(batches / trainer.accumulate_grad_batches)
    return by_epochs if trainer.max_steps < 0 else min(by_epochs, trainer.max_steps)
