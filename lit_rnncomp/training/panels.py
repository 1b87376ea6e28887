"""What a Weights & Biases run shows besides its scalars: the rate-distortion curve and pictures."""

from __future__ import annotations

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from ..codec.torch_engine import to_uint8
from .compressors import Compressor


class WandbPanels(Callback):
    """After every validation, with a W&B logger: the curve as a table (`val/curve`) and a plot of each metric, and the first
    validation picture as a strip (`val/pictures`): the original, and after some iterations the reconstruction above its residual."""

    def __init__(self) -> None:
        self._strip: np.ndarray | None = None

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: object, batch: Tensor, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0 and isinstance(module, Compressor) and _logger(trainer) is not None:
            with torch.no_grad():  # here, not at the end of the epoch: a callback that averages the weights swaps them back there
                self._strip = picture_strip(batch[:1], module.codec(batch[:1]).reconstructions)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        logger = _logger(trainer)
        if logger is None or trainer.sanity_checking or not isinstance(module, Compressor):
            return
        curve = module.curve.compute()  # on every process: it adds up over them
        if not trainer.is_global_zero or self._strip is None:
            return
        import wandb

        points = list(zip(module.curve.bpp.tolist(), *(values.tolist() for values in curve.values()), strict=True))
        table = wandb.Table(columns=["bpp", *curve], data=[list(point) for point in points])
        panels: dict[str, object] = {
            f"val/curve_{metric.name}": wandb.plot.line(table, "bpp", metric.name, title=metric.title)
            for metric in module.curve.metrics
        }
        panels["val/curve"] = table
        caption = "original; then after iteration " + ", ".join(str(t + 1) for t in shown(len(points))) + ", residuals below"
        panels["val/pictures"] = wandb.Image(Image.fromarray(self._strip), caption=caption)
        logger.experiment.log({**panels, "trainer/global_step": trainer.global_step})


def shown(iterations: int, most: int = 6) -> list[int]:
    """Indices of at most `most` iterations, spread out, the first and the last among them."""
    return sorted({round(t) for t in np.linspace(0, iterations - 1, most)})


def picture_strip(image: Tensor, reconstructions: list[Tensor]) -> np.ndarray:
    """A picture `(1, 3, H, W)` in [-1, 1] and its reconstructions as one `(2H, (1 + n)W, 3)` uint8 picture.

    Above: the original, the reconstructions. Below: grey, then the residuals, grey where there is none, at half contrast.
    """
    chosen = [reconstructions[t] for t in shown(len(reconstructions))]
    above = torch.cat([image, *chosen], dim=3)
    below = torch.cat([torch.zeros_like(image), *((image - x) / 2 for x in chosen)], dim=3)
    return to_uint8(torch.cat([above, below], dim=2).cpu().float())


def _logger(trainer: L.Trainer) -> WandbLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
