"""`--ckpt_path last` goes on with the newest run of its folder, in that run's own folder; with none there, it starts one.

(Lightning looks in the folder of the run that is about to start. Its loggers give each start a new one, so it finds nothing there.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

LAST = "last.ckpt"
# How a logger's class names the folder of a run, where its options do not.
_VERSIONS = {"CSVLogger": "version_*", "TensorBoardLogger": "version_*", "WandbLogger": "*"}


def go_on(config: Any) -> None:
    """Points the logger of a parsed `fit` with `--ckpt_path last` at the run that was written last, or at the one it names.

    Args:
        config: of `fit`: its `ckpt_path` becomes null when there is nothing to go on from; the `version` of a logger that would number
            or name a new run becomes that of the old one. A logger of another kind is left as it is.
    """
    if config.get("ckpt_path") != "last":
        return
    logger = config.trainer.get("logger")
    logger = logger[0] if isinstance(logger, list) and logger else logger
    kind = str(getattr(logger, "class_path", "")).rsplit(".", 1)[-1]
    if kind not in _VERSIONS:
        return
    options = logger.init_args
    version, runs = options.get("id") or options.get("version"), runs_folder(kind, options)
    found = newest(runs, _VERSIONS[kind] if version is None else f"version_{version}" if isinstance(version, int) else version)
    if found is None:
        config["ckpt_path"] = None
        rank_zero_info(f"no run to go on with in {runs / (version or '')}: this is the first start")
        return
    options["version"] = found.name
    if kind == "CSVLogger":
        _keep_metrics(found)


def runs_folder(kind: str, options: Any) -> Path:
    """The folder in which a logger of this kind makes one folder for each run."""
    name = options.get("project") if kind == "WandbLogger" else options.get("name")
    return Path(options.get("save_dir") or ".") / (name or "")


def named_folder(config: Any) -> Path | None:
    """The run's folder where the command of a `fit` names it; None where the logger makes a new one for each start."""
    logger = config.trainer.get("logger")
    logger = logger[0] if isinstance(logger, list) and logger else logger
    if not logger:
        return Path(config.trainer.get("default_root_dir") or ".")
    kind = str(getattr(logger, "class_path", "")).rsplit(".", 1)[-1]
    version = (logger.init_args.get("id") or logger.init_args.get("version")) if kind in _VERSIONS else None
    if version is None:
        return None
    return runs_folder(kind, logger.init_args) / (f"version_{version}" if isinstance(version, int) else version)


def newest(runs: Path, pattern: str) -> Path | None:
    """The run whose last checkpoint was written last."""
    found = sorted(runs.glob(f"{pattern}/checkpoints/{LAST}"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1].parents[1] if found else None


@rank_zero_only
def _keep_metrics(folder: Path) -> None:
    """Renames the metrics of the last start to `metrics-001.csv` and so on: a new CSVLogger would delete them."""
    if (folder / "metrics.csv").exists():
        (folder / "metrics.csv").rename(folder / f"metrics-{len(list(folder.glob('metrics-*.csv'))) + 1:03}.csv")


class TimeOfThisStart(Callback):
    """Makes `max_time` the time from each start, not from the first: a job that ran into its limit can be started again."""

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["callbacks"].pop("Timer", None)
