"""What `lit-rnncomp predict` leaves behind: pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image
from torch import Tensor

from ..evaluation.strip import save
from ..files import Output
from ..images import tensor_to_uint8
from .provenance import run_folder


class PredictedPictures(BasePredictionWriter):
    """Writes the reconstruction of every picture after every iteration: `predictions/NAME/iteration_01.png` in the run's folder.

    Pictures are whole or cropped to multiples of `data.multiple`, and nothing is written to `.rnnc` files: `encode` does that.
    """

    def __init__(self) -> None:
        super().__init__("batch")

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "predict":
            trainer.predict_loop.return_predictions = False  # sixteen float pictures for each picture would stay in memory

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        folder = run_folder(trainer)
        if folder is None or not isinstance(prediction, Tensor) or not batch_indices:
            return
        data = trainer.predict_dataloaders.dataset  # type: ignore[union-attr]
        for place, index in enumerate(batch_indices):
            there = folder / "predictions" / Path(data.paths[index]).stem
            there.mkdir(parents=True, exist_ok=True)
            for t, pictures in enumerate(prediction, 1):
                picture = Image.fromarray(tensor_to_uint8(pictures[place : place + 1]))
                save(picture, Output(there / f"iteration_{t:02d}.png", own=True))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = run_folder(trainer)
        if folder is not None:
            rank_zero_info(f"pictures: {folder / 'predictions'}")
