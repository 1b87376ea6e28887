"""The best checkpoints of a run as artifacts of Weights & Biases, from where `sweep best` takes them."""

from __future__ import annotations

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger


class BestArtifact(Callback):
    """With a W&B logger of `log_model: true`, uploads `best.ckpt` under the alias `best` whenever it is a new one, so
    that it is there however the run ends; `best_psnr_hvs.ckpt`, which a run may keep too, likewise.

    (Lightning uploads the checkpoint that was written last, when the run ends by itself, and calls it the best.)
    """

    def __init__(self) -> None:
        self._uploaded: dict[Path, int] = {}
        self._logger: WandbLogger | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and logger._log_model:
                self._logger, logger._log_model = logger, False

    def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        self._upload(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._upload(trainer)

    # A run that was killed after its last step does not come to the end of training again.
    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._upload(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._upload(trainer)

    def _upload(self, trainer: L.Trainer) -> None:
        logger = self._logger
        if not trainer.is_global_zero or logger is None:
            return
        for kept in trainer.checkpoint_callbacks:
            if isinstance(kept, ModelCheckpoint) and kept.monitor and kept.best_model_path:
                self._upload_best(logger, kept, Path(kept.best_model_path))

    def _upload_best(self, logger: WandbLogger, kept: ModelCheckpoint, path: Path) -> None:
        if not path.is_file() or path.stat().st_mtime_ns == self._uploaded.get(path):
            return
        import wandb

        self._uploaded[path] = path.stat().st_mtime_ns
        score = None if kept.best_model_score is None else float(kept.best_model_score)
        name = f"model-{logger.experiment.id}" + path.stem.removeprefix("best").replace("_", "-")
        artifact = wandb.Artifact(name, "model", metadata={"monitor": kept.monitor, "score": score})
        artifact.add_file(str(path), name=path.name)
        logger.experiment.log_artifact(artifact, aliases=["latest", path.stem])
