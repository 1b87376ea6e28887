"""Runs that end before they are done and go on: checkpoints that are whole at any moment, SIGTERM and Ctrl-C, and
`--ckpt_path last`."""

from __future__ import annotations

import math
import os
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from ..codec.tensor_files import CheckpointError, load, whole
from ..files import remove_unfinished, replacing
from .agreement import Agreement
from .processes import at_end

LAST, BEFORE = "last.ckpt", "last-1.ckpt"
_TRAINING = {"loops", "callbacks", "optimizer_states"}  # what a checkpoint has of the training, besides the weights
# How a logger's class names the folder of a run, where its options do not.
_VERSIONS = {"CSVLogger": "version_*", "TensorBoardLogger": "version_*", "WandbLogger": "*"}


def best_checkpoint(monitor: str = "val/auc_ms_ssim", mode: str = "max") -> ModelCheckpoint:
    """Keeps `best.ckpt`: the one with the largest area under the MS-SSIM curve (or the best `monitor`)."""
    return ModelCheckpoint(
        monitor=monitor, mode=mode, auto_insert_metric_name=False, filename="best", enable_version_counter=False
    )


def _validates_next(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether a validation follows this batch. A run that is killed in it goes on from before this batch: Lightning
    would take a checkpoint of here for one that was validated, and with one of the run's end there would be nothing
    left to do. (By the clock, none is foreseen but the last.)"""
    every, apart = trainer.check_val_every_n_epoch, trainer.val_check_batch or math.inf
    if not trainer.enable_validation:
        return False
    if every is None:  # batches count over all epochs
        batch_idx = trainer.fit_loop.epoch_loop.total_batch_idx
    elif (trainer.current_epoch + 1) % every:
        return False
    return (at_end(trainer) and trainer.should_stop) or (batch_idx + 1) % apart == 0


class LastCheckpoint(ModelCheckpoint):
    """Keeps `last.ckpt`, from which `--ckpt_path last` goes on exactly where the run was.

    It is written every `every_n_steps` optimizer steps, after every validation, a step after the end of every epoch
    without one, when the run ends, and when SIGTERM or Ctrl-C arrives, which ends the run with exit code 143 or 130
    after that (of several processes, at the next step in which they agree on it, see `Agreement`); not while gradients
    are being accumulated, and not with weights that are not finite. The one before it stays as `last-1.ckpt`, for a
    disk that loses the newer one.

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
        self._between_steps = self._ending = self._due = self._first = False
        self._agreement = Agreement()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        known = [callback for callback in trainer.callbacks if isinstance(callback, Agreement)]  # type: ignore[attr-defined]
        if known:
            self._agreement = known[0]
        else:  # before this: it is asked before anything is saved
            trainer.callbacks.append(self._agreement)  # type: ignore[attr-defined]
            self._agreement.setup(trainer, pl_module, stage)
        # Behind all others, so that what they know after this step is saved with it.
        trainer.callbacks = [callback for callback in trainer.callbacks if callback is not self] + [self]  # type: ignore[attr-defined]
        if stage == "fit" and trainer.is_global_zero and self.dirpath and "://" not in str(self.dirpath):
            remove_unfinished(Path(self.dirpath))

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._agreement.termination.listen()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._agreement.termination.listen()
        self._seen, self._between_steps, self._first = trainer.global_step, True, True

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if self._ending:
            self._agreement.termination.end(trainer)
        if self._first and pl_module.automatic_optimization:
            # Lightning forgets to count the step before a validation that came with the end of a start, and would log
            # the steps of the next one under numbers of one less.
            loop = trainer.fit_loop.epoch_loop
            loop._batches_that_stepped = max(loop._batches_that_stepped, trainer.global_step)
        self._first = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        self._between_steps, self._seen = step > self._seen, step
        last_of_epoch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        ends = at_end(trainer) or trainer.should_stop
        if last_of_epoch and not ends and not _validates_next(trainer, batch_idx):
            # Lightning miscounts the epochs of a run that goes on from here: the next step will do.
            self._due = self._agreement.wanted = True
            return
        # The run ends a moment later, before the next batch: this step's values are still to be logged.
        self._ending = self._between_steps and self._agreement.ends
        self._due |= ends or self._ending or step % self.every_n_steps == 0
        if self._due and not _validates_next(trainer, batch_idx):
            self._write(trainer)

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        # With several processes, which may have different numbers of pictures, only the end of the validation is a
        # common place.
        if trainer.world_size == 1 and self._agreement.termination.asked(trainer):
            self._agreement.termination.end(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._write(trainer)
        if self._agreement.termination.asked(trainer):
            self._agreement.termination.end(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing: the last batch of the epoch was its end."""

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves nothing: the last batch was saved."""
        self._agreement.termination.done()

    def _write(self, trainer: L.Trainer) -> None:
        if not self._between_steps or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._due = False
        assert self.dirpath is not None
        self.last_model_path = os.path.join(self.dirpath, LAST)  # noqa: PTH118  # may be a URL
        if trainer.is_global_zero and "://" not in str(self.dirpath):
            _keep(Path(self.dirpath))
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
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # torch's writer of archives tells a full disk from nothing else
                raise OSError("the disk is full, or does not write") from error


def _keep(folder: Path) -> None:
    """The last checkpoint gets a second name, under which it stays when the next one takes its first."""
    last, before = folder / LAST, folder / BEFORE
    if last.is_file():
        with suppress(OSError):  # a file system without links keeps one checkpoint
            before.unlink(missing_ok=True)
            os.link(last, before)


def check_whole(path: Path) -> None:
    """Raises `CheckpointError` for a checkpoint that is damaged, or none: it says which other one is intact."""
    if whole(path):
        return
    if path.suffix == ".safetensors":
        raise CheckpointError(_weights_alone(path))
    intact = next((other for other in (path.with_name(BEFORE),) if other != path and whole(other)), None)
    if intact:
        way_out = f"; the one before it is intact: `mv {intact} {path}` and the same command go on from there"
    else:
        way_out = "; no other one of this run is intact: remove it to start anew" if path.name == LAST else ""
    raise CheckpointError(f"{path} is damaged, or no checkpoint{way_out}")


def _weights_alone(path: Path) -> str:
    return f"{path} has weights alone: to start from them, give --model.init_args.weights={path} without --ckpt_path"


def model_options(path: Path, resume: bool) -> dict[str, Any]:
    """The options of the model that a checkpoint of `fit` is of, and its class as `_class_path`, as far as it says.

    Args:
        path: of the checkpoint.
        resume: whether training is to go on from it.

    Raises:
        CheckpointError: it is damaged, none of `fit`, or to `resume` from and without the state of the training.
    """
    check_whole(path)
    try:
        checkpoint = load(path)
    except pickle.UnpicklingError:
        return {}  # of a model of one's own, which may be read with --weights_only=false
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{path} is no checkpoint of fit")
    if "pytorch-lightning_version" not in checkpoint or (resume and not checkpoint.keys() >= _TRAINING):
        raise CheckpointError(_weights_alone(path))
    return {name: value for name, value in checkpoint.get("hyper_parameters", {}).items() if name != "_instantiator"}


def go_on(config: Any) -> None:
    """Points the logger of a parsed `fit` with `--ckpt_path last` at the run that was written last; one that the
    command names it writes to anyway.

    (Lightning looks in the folder of the run that is about to start. Its loggers give each start a new one, so it finds
    nothing there.)

    Args:
        config: of `fit`: its `ckpt_path` becomes null when there is nothing to go on from; the `version` of a logger
            that would number or name a new run becomes that of the old one. A logger of another kind is left as it is.

    Raises:
        CheckpointError: the checkpoint is damaged, or none of a run.
        ValueError: the logger is whichever Lightning takes.
    """
    if config.get("ckpt_path") != "last" or config.trainer.get("fast_dev_run"):
        return
    if config.trainer.get("logger") is True:
        raise ValueError("with trainer.logger=true each start is a new run: --ckpt_path=last needs a logger by name")
    kind, options = _logger(config)
    if kind not in _VERSIONS:
        return
    found = last_run(config)
    if found is None:
        config["ckpt_path"] = None
        rank_zero_info(f"no run to go on with in {_place(config)}: this is the first start")
        return
    model_options(found / "checkpoints" / LAST, resume=True)
    if named_folder(config) is None:
        options["version"] = found.name


def last_of_run(config: Any) -> None:
    """Makes `--ckpt_path last` of a parsed `validate`, `test` or `predict` the path of that checkpoint.

    Raises:
        ValueError: there is none.
    """
    if config.get("ckpt_path") != "last":
        return
    found = last_run(config)
    if found is None:
        raise ValueError(f"--ckpt_path=last: no run in {_place(config)} has a last checkpoint; give its path")
    config["ckpt_path"] = str(found / "checkpoints" / LAST)


def last_run(config: Any) -> Path | None:
    """The folder of the run whose last checkpoint `--ckpt_path last` of a parsed verb means; None where there is
    none."""
    if config.get("ckpt_path") != "last":
        return None
    if (named := named_folder(config)) is not None:
        return named if (named / "checkpoints" / LAST).is_file() else None
    kind, options = _logger(config)
    return newest(runs_folder(kind, options), _VERSIONS[kind]) if kind in _VERSIONS else None


def _place(config: Any) -> Path:
    """Where the run of a parsed verb would be."""
    kind, options = _logger(config)
    fallback = runs_folder(kind, options) if kind in _VERSIONS else Path(config.trainer.get("default_root_dir") or ".")
    return named_folder(config) or fallback


def next_folder(config: Any) -> Path | None:
    """The folder that a parsed `fit` fills when it starts anew; `ID` stands for what W&B draws. None for a logger of
    another kind."""
    if (named := named_folder(config)) is not None:
        return named
    kind, options = _logger(config)
    if kind not in _VERSIONS:
        return None
    runs = runs_folder(kind, options)
    if kind == "WandbLogger":
        return runs / "ID"
    numbers = (path.name.removeprefix("version_") for path in runs.glob("version_*"))
    return runs / f"version_{max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1}"


def _logger(config: Any) -> tuple[str, Any]:
    """The class of the logger of a parsed `fit`, of the first of several, and its options."""
    logger = config.trainer.get("logger")
    logger = logger[0] if isinstance(logger, list) and logger else logger
    return str(getattr(logger, "class_path", "")).rsplit(".", 1)[-1], getattr(logger, "init_args", None)


def runs_folder(kind: str, options: Any) -> Path:
    """The folder in which a logger of this kind makes one folder for each run."""
    name = options.get("project") if kind == "WandbLogger" else options.get("name")
    return Path(options.get("save_dir") or ".") / (name or "")


def named_folder(config: Any) -> Path | None:
    """The run's folder where the command of a `fit` names it; None where the logger makes a new one for each start."""
    if not config.trainer.get("logger"):
        return Path(config.trainer.get("default_root_dir") or ".")
    kind, options = _logger(config)
    version = (options.get("id") or options.get("version")) if kind in _VERSIONS else None
    if version is None:
        return None
    return runs_folder(kind, options) / (f"version_{version}" if isinstance(version, int) else version)


def keep_name(config: Any, name: str | None) -> None:
    """Keeps the name that a command gives its run where YAML reads a number in it, such as `2024_01_15` or `007`; a
    plain integer stays the number of a version."""
    kind, options = _logger(config)
    numbered = kind in ("CSVLogger", "TensorBoardLogger") and isinstance(options.get("version"), int)
    if name is not None and numbered and not re.fullmatch(r"0|[1-9][0-9]*", name):
        options["version"] = f"./{name}"  # the same folder, and no number


def metrics_folder(config: Any) -> Path | None:
    """The folder that the command of a parsed verb names, where a `CSVLogger` would delete what an earlier start
    logged; None where it names none, and with other loggers."""
    if _logger(config)[0] != "CSVLogger" or config.trainer.get("fast_dev_run"):
        return None
    return named_folder(config)


def newest(runs: Path, pattern: str) -> Path | None:
    """The run whose last checkpoint was written last, of those whose folder's name matches `pattern`."""
    found = sorted(runs.glob(f"{pattern}/checkpoints/{LAST}"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1].parents[1] if found else None
