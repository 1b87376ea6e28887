"""The rate-distortion curve of a validation set as a metric that adds up over pictures and processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torchmetrics
from torch import Tensor

from ..evaluation.metric_table import Metric, validated
from ..evaluation.metrics import MultiScaleTarget
from ..evaluation.rd import Array, Curve
from ..images import round_to_255
from . import sums


class PictureMeans(torchmetrics.Metric):
    """Means over pictures of named values, of which a process may have no picture.

    Args:
        names: of the values.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.add_state("total", sums.zeros(len(self.names)), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, means: dict[str, Tensor], pictures: int) -> None:
        """Adds the means over a batch of `pictures`."""
        self.total = sums.add(self.total, torch.stack([means[name] for name in self.names]) * pictures)
        self.count += pictures

    def compute(self) -> dict[str, float]:
        means = sums.value(self.total) / self.count.clamp_min(1).cpu()
        return dict(zip(self.names, means.tolist(), strict=True))


class RateDistortionCurve(torchmetrics.Metric):
    """Mean over pictures of each validated metric after each iteration, on 8-bit pictures, at nominal (un-coded) rates
    or at measured ones.

    Args:
        iterations: points of the curve.
        bpp_per_iteration: bits per pixel between two points; None: they are measured, and `bpp` is a curve of its own,
            their mean over pictures.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, iterations: int, bpp_per_iteration: float | None) -> None:
        super().__init__()
        self.measured = bpp_per_iteration is None
        self._nominal: Array = np.arange(1, iterations + 1, dtype=np.float64) * (bpp_per_iteration or 0.0)
        self.metrics = validated()
        self.names = [metric.name for metric in self.metrics] + ["bpp"] * self.measured
        self.add_state("total", sums.zeros(iterations, len(self.names)), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, image: Tensor, reconstructions: list[Tensor], bpp: Tensor | None = None) -> None:
        """Adds pictures `(B, 3, H, W)` in [-1, 1] and their reconstructions, one for each iteration; measured rates are
        `bpp`, `(iterations, B)`.

        A picture too small for five scales is measured with fewer.
        """
        truth = round_to_255(image.float())
        ms_ssim = MultiScaleTarget(truth, fewer_scales=True)  # once for all iterations
        measures: dict[str, Callable[[Tensor], Tensor]] = {
            metric.name: partial(metric.measure, truth) for metric in self.metrics
        }
        measures["ms_ssim"] = lambda decoded: ms_ssim(decoded[None])[0]
        rates = [] if bpp is None else [bpp.sum(1, keepdim=True).to(self.total)]
        points = []
        for reconstruction in reconstructions:
            decoded = round_to_255(reconstruction.float())
            points.append(torch.stack([measure(decoded).sum() for measure in measures.values()]))
        self.total = sums.add(self.total, torch.cat([torch.stack(points).to(self.total), *rates], 1))
        self.count += len(image)

    def compute(self) -> dict[str, Array]:
        """Metric name to its curve, `(iterations,)`; measured rates by the name `bpp`."""
        curve = (sums.value(self.total) / self.count.clamp_min(1).cpu()).numpy()
        return {name: curve[:, k] for k, name in enumerate(self.names)}

    def rates(self, curves: dict[str, Array]) -> Array:
        """Bits per pixel of the points of `curves`."""
        return curves.get("bpp", self._nominal)

    def summary(self, curves: dict[str, Array]) -> dict[Metric, float]:
        """Of each of `curves` the area or the mean (`Metric.summary`) from 1/8 to 2 bpp; beyond its ends a curve is
        held."""
        bpp, known = self.rates(curves), [metric for metric in self.metrics if metric.name in curves]
        return {metric: metric.summarise(metric.area(Curve(bpp, curves[metric.name]))) for metric in known}
