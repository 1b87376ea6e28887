"""What a checkpoint must not bring back into the start that goes on from it: the clock, the rates, and paths of a
folder that was moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from torch.optim.lr_scheduler import LambdaLR

from ..sweep.trials import TRIAL

_LEAST = 1e-3  # seconds that a start gets: Lightning does nothing at all in one that has none
_PATHS = ("best_model_path", "last_model_path", "kth_best_model_path")


class TimeOfThisStart(Callback):
    """Makes `max_time` the time from each start, not from the first: a job that ran into its limit can be started
    again. That of a sweep's trial counts over all its starts, so that trials that were interrupted get no more of it,
    but for one step: after that it is measured, which a trial that was killed in its last validation is not yet.
    """

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        states = checkpoint["callbacks"]
        if not {TRIAL, "WANDB_SWEEP_ID"} & set(os.environ):
            states.pop("Timer", None)
            return
        for timer in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(timer, Timer) and (left := timer.time_remaining()) and timer.state_key in states:
                elapsed = states[timer.state_key]["time_elapsed"]
                elapsed["train"] = min(elapsed["train"], left - _LEAST)


class RatesOfThisStart(Callback):
    """Makes the optimizer's rates (`lr`, `eps`, `weight_decay`, ...) those of each start, as its `config.yaml` says. A
    schedule that is no function of the step goes on from where it was, in proportion.

    (A checkpoint of torch holds them beside the moments, and they would come back unseen.) Another optimizer, which
    has other moments, is refused with a `ValueError`.
    """

    def __init__(self) -> None:
        self._asked: list[list[dict[str, Any]]] = []

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn != "fit":
            return
        there = checkpoint.get("hyper_parameters", {}).get("optimizer")
        here = pl_module.hparams.get("optimizer")
        if there is not None and here is not None and there != here:
            raise ValueError(
                f"cannot go on from {trainer.ckpt_path} with optimizer={here}: what it knows is that of {there}; "
                "give the same, or start from its weights with --model.init_args.weights"
            )

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes the rates as they are configured: the checkpoint's state of the optimizer is restored after this."""
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])  # what not every schedule, and no optimizer, notes
        self._asked = [
            [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            return
        for optimizer, asked in zip(trainer.optimizers, self._asked, strict=True):
            for group, values in zip(optimizer.param_groups, asked, strict=True):
                before, now = group.get("initial_lr", values["initial_lr"]), values["initial_lr"]
                group.update({name: value for name, value in values.items() if name not in ("lr", "step")})
                group["lr"] = group["lr"] * (now / before) if before else now
        for config in trainer.lr_scheduler_configs:
            _follow(config.scheduler)


def _follow(schedule: Any) -> None:
    """Makes a schedule one of the rates that its optimizer has now; where it is a function of the step alone, makes the
    rates what it says of them."""
    groups = schedule.optimizer.param_groups
    for part in getattr(schedule, "_schedulers", ()):  # of which it is made
        _follow(part)
    if hasattr(schedule, "base_lrs"):
        schedule.base_lrs = [group["initial_lr"] for group in groups]
    if isinstance(schedule, LambdaLR):
        factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
        for group, rate, factor in zip(groups, schedule.base_lrs, factors, strict=True):
            group["lr"] = rate * factor
    schedule._last_lr = [group["lr"] for group in groups]


class MovedCheckpoints(Callback):
    """Lets a run whose folder was moved or renamed go on with its best checkpoint.

    (Lightning forgets the best value when the folder's path is another, and the next checkpoint replaces a better one.)
    """

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].get(callback.state_key)
            if isinstance(callback, ModelCheckpoint) and state and callback.dirpath:
                checkpoint["callbacks"][callback.state_key] = moved(state, str(callback.dirpath))


def moved(state: dict[str, Any], folder: str) -> dict[str, Any]:
    """The state of a `ModelCheckpoint` with the paths it has in `folder`; as it is unless all its files are there."""
    before = state.get("dirpath")
    if before is None or before == folder:
        return state

    def there(path: str) -> str:
        return (
            str(Path(folder) / Path(path).relative_to(before)) if path and Path(path).is_relative_to(before) else path
        )

    kept = {there(path): value for path, value in state.get("best_k_models", {}).items()}
    paths = {name: there(state.get(name, "")) for name in _PATHS}
    if not all(Path(path).is_file() for path in (*kept, *filter(None, paths.values()))):
        return state
    return {**state, **paths, "best_k_models": kept, "dirpath": folder}
