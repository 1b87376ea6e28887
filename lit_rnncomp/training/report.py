"""What a person sees of a run: curve and pictures when it ends, W&B panels while it runs, the pictures that `predict`
leaves."""

from __future__ import annotations

import copy
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter, Callback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..codec.binary_codec import BinaryCodec
from ..evaluation.rd import Array
from ..evaluation.strip import Panel, baseline_panel, draw_strip, numbers, save
from ..files import SOFTWARE, Output, write_figure
from ..images import tensor_to_uint8, to_signal
from ..models.recurrent_codec import RecurrentCodec
from .code_lengths import lengths
from .compressors import Compressor
from .provenance import run_folder
from .rate_distortion import RateDistortionCurve


class RunReport(Callback):
    """Keeps the rate-distortion curve from before training and that of the last validation; when the run ends, prints
    the areas and writes two pictures, also in a start that finds nothing left to do: the one before it may have been
    killed before it drew.

    `rate_distortion.png` has the curves before and after; `strip.png` a validation picture through a file of half a bit
    per pixel (or of all iterations, if that is less), beside JPEG at the same bytes.

    The curves are those of the validation pictures at nominal rates; `lit-rnncomp evaluate` measures files. Ternary
    codes have the lengths of their codes in the place of both.
    """

    def __init__(self) -> None:
        self.before: dict[str, Array] = {}
        self.after: dict[str, Array] = {}

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not isinstance(module, Compressor):
            return
        if not trainer.sanity_checking:
            self.after = module.curve.compute()
        elif not self.before:
            self.before = module.curve.compute()

    def state_dict(self) -> dict[str, Any]:
        return {"curve": _as_lists(self.before), "after": _as_lists(self.after)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.before, self.after = _as_arrays(state["curve"]), _as_arrays(state.get("after", {}))

    @rank_zero_only
    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not isinstance(module, Compressor) or not self.after:
            return
        before_area, after_area = module.curve.summary(self.before), module.curve.summary(self.after)
        table = Table("from 0.125 to 2 bpp", "before", "after")
        for metric, value in after_area.items():
            table.add_row(metric.head.replace("\n", ", "), metric.show(before_area.get(metric)), metric.show(value))
        console = Console(markup=False, emoji=False)
        console.print(table)
        folder = run_folder(trainer)
        if folder is not None:
            path = folder / "rate_distortion.png"
            _plot(path, module.curve, self.before, self.after)
            console.print(f"curve: {path}", highlight=False, soft_wrap=True)
            strip = path.with_name("strip.png")
            image = next(iter(trainer.datamodule.val_dataloader()))  # type: ignore[attr-defined]
            _strip(strip, copy.deepcopy(module.codec), to_signal(image) if image.dtype == torch.uint8 else image)
            console.print(f"pictures: {strip}", highlight=False, soft_wrap=True)


def _as_lists(curves: dict[str, Array]) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in curves.items()}


def _as_arrays(curves: dict[str, list[float]]) -> dict[str, Array]:
    return {name: np.array(values) for name, values in curves.items()}


def _strip(path: Path, network: RecurrentCodec, image: Tensor) -> None:
    original = Image.fromarray(tensor_to_uint8(image[:1].cpu()))
    draw = _of_code_lengths if network.config.codes == "ternary" else _of_a_file
    decoded, size = draw(network.cpu().eval(), original)
    panels = [
        Panel(original, "original", f"{original.width}x{original.height}"),
        Panel(decoded, "this run", numbers(original, decoded, size)),
        baseline_panel(original, "jpeg420", size),
    ]
    save(draw_strip(panels), Output(path, own=True))


def _of_a_file(network: RecurrentCodec, original: Image.Image) -> tuple[Image.Image, int]:
    codec, config = BinaryCodec(network, "this run"), network.config
    data = codec.encode(original, iterations=max(1, min(config.iterations, int(0.5 / config.bpp_per_iteration))))
    return codec.decode(data), len(data)


@torch.no_grad()
def _of_code_lengths(network: RecurrentCodec, original: Image.Image) -> tuple[Image.Image, int]:
    """Of ternary codes, which make no file: the picture after the last iteration up to half a bit per pixel, or the
    first, and the bytes that its codes are long."""
    image = to_signal(torch.from_numpy(np.array(original)).permute(2, 0, 1)[None])
    drawn, bits = original, 0.0
    for step in network.encode(image):
        spent = bits + lengths(step).item()
        if step.estimate.t > 1 and spent > original.width * original.height / 2:
            break
        drawn, bits = Image.fromarray(tensor_to_uint8(network.picture(step.estimate))), spent
    return drawn, math.ceil(bits / 8)


def _plot(path: Path, curve: RateDistortionCurve, before: dict[str, Array], after: dict[str, Array]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rates = "lengths of codes" if curve.measured else "nominal"
    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, len(curve.metrics)), curve.metrics, strict=True):
        if before:
            axes.plot(curve.rates(before), before[metric.name], ":", color="0.6", label="before training")
        axes.plot(curve.rates(after), after[metric.name], "o-", markersize=3, label="after training")
        axes.set(title=metric.title, ylabel=metric.unit, xlabel=f"bits per pixel ({rates})")
        axes.grid(alpha=0.3)
    axes.legend()
    write_figure(Output(path, own=True), figure, dpi=100, metadata={"Software": SOFTWARE})


class WandbPanels(Callback):
    """After every validation, with a W&B logger: the curve as a table (`val/curve`) and a plot of each metric, and the
    first validation picture as a strip (`val/pictures`): the original, and after some iterations the reconstruction
    above its residual."""

    def __init__(self) -> None:
        self._strip: np.ndarray | None = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: object,
        batch: Tensor,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        shows = trainer.is_global_zero and _logger(trainer) is not None
        if batch_idx == 0 and shows and isinstance(module, Compressor):
            with (
                torch.no_grad()
            ):  # here, not at the end of the epoch: a callback that averages the weights swaps them back there
                self._strip = picture_strip(batch[:1], module.codec(batch[:1]).reconstructions)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        logger = _logger(trainer)
        if logger is None or trainer.sanity_checking or not isinstance(module, Compressor):
            return
        curve = module.curve.compute()  # on every process: it adds up over them
        if not trainer.is_global_zero or self._strip is None:
            return
        import wandb

        columns = {"bpp": module.curve.rates(curve), **curve}
        points = list(zip(*(values.tolist() for values in columns.values()), strict=True))
        table = wandb.Table(columns=list(columns), data=[list(point) for point in points])
        panels: dict[str, object] = {
            f"val/curve_{metric.name}": wandb.plot.line(table, "bpp", metric.name, title=metric.title)
            for metric in module.curve.metrics
        }
        panels["val/curve"] = table
        caption = (
            "original; then after iteration " + ", ".join(str(t + 1) for t in shown(len(points))) + ", residuals below"
        )
        panels["val/pictures"] = wandb.Image(Image.fromarray(self._strip), caption=caption)
        logger.experiment.log({**panels, "trainer/global_step": trainer.global_step})


def shown(iterations: int, most: int = 6) -> list[int]:
    """Indices of at most `most` iterations, spread out, the first and the last among them."""
    return sorted({round(t) for t in np.linspace(0, iterations - 1, most)})


def picture_strip(image: Tensor, reconstructions: list[Tensor]) -> np.ndarray:
    """A picture `(1, 3, H, W)` in [-1, 1] and its reconstructions as one `(2H, (1 + n)W, 3)` uint8 picture.

    Above: the original, the reconstructions. Below: grey, then the residuals, grey where there is none, at half
    contrast.
    """
    chosen = [reconstructions[t] for t in shown(len(reconstructions))]
    above = torch.cat([image, *chosen], dim=3)
    below = torch.cat([torch.zeros_like(image), *((image - x) / 2 for x in chosen)], dim=3)
    return tensor_to_uint8(torch.cat([above, below], dim=2).cpu().float())


def _logger(trainer: L.Trainer) -> WandbLogger | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)


def picture_names(paths: Sequence[Path]) -> dict[Path, Path]:
    """What tells pictures apart: their paths below the folder that all are in, without endings where that is enough."""
    within = os.path.commonpath([path.parent.absolute() for path in paths])
    whole = {path: path.absolute().relative_to(within) for path in paths}
    alike = Counter(name.with_suffix("") for name in {path.absolute(): name for path, name in whole.items()}.values())
    return {path: name if alike[name.with_suffix("")] > 1 else name.with_suffix("") for path, name in whole.items()}


class PredictedPictures(BasePredictionWriter):
    """Writes the reconstruction of every picture after every iteration: `predictions/NAME/iteration_01.png` in the
    run's folder, see `picture_names`.

    Pictures are whole or cropped to multiples of `data.multiple`, and nothing is written to `.rnnc` files: `encode`
    does that.
    """

    def __init__(self) -> None:
        super().__init__("batch")

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "predict":
            trainer.predict_loop.return_predictions = (
                False  # sixteen float pictures for each picture would stay in memory
            )

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
        if folder is None or not isinstance(prediction, Tensor) or not batch_indices or not len(batch):
            return
        paths = trainer.predict_dataloaders.dataset.paths  # type: ignore[union-attr]
        names = picture_names(paths)
        for place, index in enumerate(batch_indices):
            there = folder / "predictions" / names[paths[index]]
            there.mkdir(parents=True, exist_ok=True)
            for t, pictures in enumerate(prediction, 1):
                picture = Image.fromarray(tensor_to_uint8(pictures[place : place + 1]))
                save(picture, Output(there / f"iteration_{t:02d}.png", own=True))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        folder = run_folder(trainer)
        if folder is not None:
            rank_zero_info(f"pictures: {folder / 'predictions'}")
