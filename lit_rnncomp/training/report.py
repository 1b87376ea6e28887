"""What a person sees of a run: its curve, a strip of pictures against JPEG, and the area before and after."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..codec.api import Codec
from ..codec.torch_engine import to_uint8
from ..data.photographs import to_signal
from ..evaluation.rd import Array
from ..evaluation.strip import Panel, baseline_panel, draw_strip, numbers, save
from .compressors import Compressor
from .provenance import run_folder
from .rate_distortion import RateDistortionCurve


class RunReport(Callback):
    """Keeps the rate-distortion curve from before training; when the run ends, prints the areas and writes two pictures.

    `rate_distortion.png` has the curves before and after; `strip.png` a validation picture through a file of half a bit per pixel
    (or of all iterations, if that is less), beside JPEG at the same bytes.

    The curves are those of the validation pictures at nominal rates; `lit-rnncomp evaluate` measures files.
    """

    def __init__(self) -> None:
        self.before: dict[str, Array] = {}

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking and isinstance(module, Compressor) and not self.before:
            self.before = module.curve.compute()

    def state_dict(self) -> dict[str, Any]:
        return {"curve": {name: values.tolist() for name, values in self.before.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.before = {name: np.array(values) for name, values in state["curve"].items()}

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not isinstance(module, Compressor) or not module.curve.count:
            return
        after = module.curve.compute()
        before_area, after_area = module.curve.summary(self.before), module.curve.summary(after)
        table = Table("from 0.125 to 2 bpp", "before", "after")
        for metric, value in after_area.items():
            table.add_row(metric.head.replace("\n", ", "), metric.show(before_area.get(metric)), metric.show(value))
        console = Console()
        console.print(table)
        folder = run_folder(trainer)
        if folder is not None:
            path = folder / "rate_distortion.png"
            _plot(path, module.curve, self.before, after)
            console.print(f"curve: {path}", highlight=False, soft_wrap=True)
            strip = path.with_name("strip.png")
            image = next(iter(trainer.datamodule.val_dataloader()))  # type: ignore[attr-defined]
            _strip(strip, Codec(copy.deepcopy(module.codec), "this run"), to_signal(image) if image.dtype == torch.uint8 else image)
            console.print(f"pictures: {strip}", highlight=False, soft_wrap=True)


def _strip(path: Path, codec: Codec, image: Tensor) -> None:
    original = Image.fromarray(to_uint8(image[:1].cpu()))
    config = codec.network.config
    data = codec.encode(original, iterations=max(1, min(config.iterations, int(0.5 / config.bpp_per_iteration))))
    decoded = codec.decode(data)
    panels = [
        Panel(original, "original", f"{original.width}x{original.height}"),
        Panel(decoded, "this run", numbers(original, decoded, len(data))),
        baseline_panel(original, "jpeg420", len(data)),
    ]
    save(draw_strip(panels), path)


def _plot(
    path: Path, curve: RateDistortionCurve, before: dict[str, Array], after: dict[str, Array]
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, len(curve.metrics)), curve.metrics, strict=True):
        if before:
            axes.plot(curve.bpp, before[metric.name], ":", color="0.6", label="before training")
        axes.plot(curve.bpp, after[metric.name], "o-", markersize=3, label="after training")
        axes.set(title=metric.title, ylabel=metric.unit, xlabel="bits per pixel (nominal)")
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)
