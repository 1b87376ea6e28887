"""The metrics, one row each: what is measured, tabulated, plotted, reported, compared and validated is read from this
table.

A new metric is a function in `metrics.py` and a row here. Nothing in this module imports torch before something is
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from . import rd

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value", float, rd.Array)


@dataclass(frozen=True)
class Metric:
    """One row.

    Args:
        name: of the function in `metrics.py`, and the metric's name in files and options.
        title: how tables, plots and the report call it.
        unit: `dB`; or empty for a similarity of at most 1, whose curves are drawn in dB.
        decimals: of a value where a person reads it.
        shown: in tables, plots and the report; a metric that is not shown is still in the files of `evaluate`.
        validated: measured at every validation of a training run.
        target: the value at which codecs' rates are compared, beside their BD-rate; None where rates are not compared.
        more_is_better: False for a distance.
    """

    name: str
    title: str
    unit: str = ""
    decimals: int = 4
    shown: bool = True
    validated: bool = False
    target: float | None = None
    more_is_better: bool = True

    def measure(self, a: Tensor, b: Tensor) -> Tensor:
        """`(B,)` values of two `(B, 3, H, W)` tensors on the 0..255 scale. Raises `PictureTooSmall`."""
        from . import metrics

        values: Tensor = getattr(metrics, self.name)(a, b)
        return values

    def on_axis(self, values: rd.Array) -> rd.Array:
        """Values as curves show them: similarities in decibels, all others as they are."""
        return values if self.unit else rd.decibel(values)

    def as_quality(self, values: rd.Array) -> rd.Array:
        """Values on the axis of the curves, turned round for a distance, since `rd` takes more for better."""
        return self.on_axis(values) if self.more_is_better else -self.on_axis(values)

    def area(self, curve: rd.Curve) -> float:
        """`rd.auc_file` of a picture's values; a codec with a single setting has a flat curve."""
        if len(curve.bpp) == 1:
            return float(curve.quality[0]) * rd.WIDTH
        sign = 1 if self.more_is_better else -1
        return sign * rd.auc_file(curve.bpp, sign * curve.quality)

    @property
    def summary(self) -> Literal["auc", "mean"]:
        """What a person reads of a curve: of a similarity the area, as in the paper; of others the mean."""
        return "mean" if self.unit else "auc"

    def summarise(self, area: Value) -> Value:
        """The `summary` of an area from 1/8 to 2 bits per pixel, or of an array of them."""
        return area / rd.WIDTH if self.unit else area

    @property
    def axis_unit(self) -> str:
        """The unit of `on_axis`."""
        return self.unit or "dB"

    @property
    def head(self) -> str:
        """Two lines above a column of summaries."""
        return f"{self.title}\n{self.unit or 'area'}"

    def show(self, value: float | None) -> str:
        """A value as text without its unit; a dash for None."""
        return "-" if value is None or np.isnan(value) else f"{value:.{self.decimals}f}"


_ROWS = (
    Metric("ms_ssim", "MS-SSIM", validated=True, target=0.96),
    Metric("psnr", "PSNR", "dB", 2, validated=True, target=30.0),
    Metric("psnr_hvs", "PSNR-HVS", "dB", 2, validated=True),
    Metric("psnr_hvs_m", "PSNR-HVS-M", "dB", 2, shown=False),
    Metric("psnr_ycbcr", "PSNR of YCbCr", "dB", 2, shown=False),
    Metric("ssim", "SSIM"),
)
METRICS = {row.name: row for row in _ROWS}
METRICS_VERSION = "1"
"""Rises when a metric's values change, so that no cached value outlives its definition."""

if TYPE_CHECKING:
    MetricName = str
else:
    MetricName = Literal[tuple(METRICS)]
    """An option that names a metric: `--help` lists them."""


def shown() -> list[Metric]:
    """The metrics of tables, plots and the report."""
    return [metric for metric in METRICS.values() if metric.shown]


def validated() -> list[Metric]:
    """The metrics of a training run's validations."""
    return [metric for metric in METRICS.values() if metric.validated]


def compared() -> list[tuple[Metric, float]]:
    """The metrics by which rates are compared, each with its target."""
    return [(metric, metric.target) for metric in METRICS.values() if metric.target is not None]
