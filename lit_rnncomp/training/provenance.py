"""Where a run came from, written into its folder: configuration, code, packages, machine, data."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info

from ..files import NO_ROOM, SOFTWARE, check_folder, write_bytes, write_json

PROVENANCE, DIFF, CONFIG = "provenance.json", "diff.patch", "config.yaml"
FILES = (PROVENANCE, DIFF, CONFIG, "checkpoints/best.ckpt", "checkpoints/last.ckpt", "rate_distortion.png", "strip.png")
LOGGED = ("metrics.csv", "hparams.yaml")
_HEAD = f"# {SOFTWARE} fit\n"


def run_folder(trainer: L.Trainer) -> Path | None:
    """The folder of this run alone: the one its checkpoints lie in a subfolder of; None when nothing is kept, as with
    `fast_dev_run`.

    (`trainer.log_dir` is the folder of all runs with some loggers, W&B's among them.)
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return None
    folder = getattr(trainer.checkpoint_callback, "dirpath", None)
    if folder is not None and Path(folder).name == "checkpoints":
        return Path(folder).parent
    folder = folder or trainer.log_dir
    return None if folder is None else Path(folder)


def check_run(folder: Path, names: Iterable[str] = FILES) -> None:
    """Refuse to train into a folder that is no run's and has a file of one of the `names`.

    A run's folder is known by the first line of its `config.yaml`, or by its provenance.

    Raises:
        OutputError: a file is in the way.
    """
    marks = {CONFIG: _HEAD.encode(), PROVENANCE: b'[\n {\n  "time": '}
    own = any(
        (folder / name).is_file() and (folder / name).read_bytes().startswith(mark) for name, mark in marks.items()
    )
    check_folder(folder, own, names)


def begin(folder: Path) -> None:
    """Makes `folder` a run's, unless it is one: before a logger writes there, or deletes what another one wrote.

    Raises `OutputError` as `check_run` does.
    """
    check_run(folder, (*FILES, *LOGGED))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG).exists():
        write_bytes(folder / CONFIG, _HEAD.encode())


class RunConfig(SaveConfigCallback):
    """Writes the whole resolved configuration to `config.yaml` in the run's folder, and to W&B when that is the logger.

    A start that goes on from a checkpoint writes it when there is something left to do, and says so when there is not.

    Raises `OutputError` when the folder is no run's and has files that the run would replace.
    """

    _began = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Nothing: the run's folder is not known yet."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.ckpt_path is None:
            self._write(trainer)

    def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        if not self._began and trainer.ckpt_path is not None:
            self._write(trainer)
        self._began = True

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._began and trainer.ckpt_path is not None:
            rank_zero_info(
                f"nothing is left to do: {trainer.ckpt_path} has all {trainer.global_step} steps of this run"
            )

    def _write(self, trainer: L.Trainer) -> None:
        folder = run_folder(trainer)
        if not trainer.is_global_zero or folder is None:
            return
        text = self.parser.dump(self.config, skip_none=False)
        check_run(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / CONFIG, os.fsencode(_HEAD + text))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(
                    {"config": json.loads(self.parser.dump(self.config, format="json", skip_none=False))}
                )


class Provenance(Callback):
    """Writes `provenance.json` (one record for each start of the run) and the uncommitted changes as `diff.patch`.

    The error of a logger that finds no room names the run's folder.
    """

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        # Not before: the step is restored after `on_fit_start`.
        folder = run_folder(trainer)
        if not trainer.is_global_zero or folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / PROVENANCE
        starts = json.loads(path.read_text()) if path.exists() else []
        commit, diff = source_state(Path(__file__).parents[1])
        name = None
        if diff:
            name = DIFF if not starts else f"diff-{len(starts)}.patch"
            write_bytes(folder / name, diff)
        starts.append(
            {
                "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "command": sys.argv,
                "seed": int(os.environ["PL_GLOBAL_SEED"]) if "PL_GLOBAL_SEED" in os.environ else None,
                "step": trainer.global_step,
                "commit": commit,
                "diff": name,
                "data": _digest(trainer),
                "processes": trainer.world_size,
                "device": device_name(trainer.strategy.root_device),
                "precision": str(trainer.precision),
                "platform": platform.platform(),
                "python": platform.python_version(),
                "packages": dict(sorted((package.name, package.version) for package in distributions())),
            }
        )
        write_json(path, starts)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, OSError) and exception.errno in NO_ROOM and not exception.filename:
            exception.filename = str(run_folder(trainer) or "")


def source_state(folder: Path) -> tuple[str | None, bytes]:
    """The git commit that `folder` is at and what differs from it, new files included; None when git does not track
    it."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, check=True, timeout=60
        ).stdout

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("rev-parse", "HEAD").decode().strip()
        diff = git("diff", "HEAD", "--binary")
        new = git("ls-files", "--others", "--exclude-standard", "-z", "--", ".").decode().split("\0")
    except (OSError, subprocess.SubprocessError):
        return None, b""
    return commit, diff + b"".join(_as_new(folder, name) for name in new if name)


def _as_new(folder: Path, name: str) -> bytes:
    # `git diff --no-index` exits with 1 because the files differ.
    return subprocess.run(
        ["git", "-C", str(folder), "diff", "--no-index", "--binary", "/dev/null", name], capture_output=True
    ).stdout


def _digest(trainer: L.Trainer) -> str | None:
    fingerprint = getattr(trainer.datamodule, "fingerprint", None)  # type: ignore[attr-defined]
    return None if fingerprint is None else fingerprint()


def device_name(device: torch.device) -> str:
    """What a device is called, of the CPU with its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"
