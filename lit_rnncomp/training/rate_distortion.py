"""The rate-distortion curve of a validation set as a metric that adds up over pictures and processes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from ..evaluation.metrics import MultiScaleTarget, psnr, psnr_hvs
from ..evaluation.rd import auc_file
from ..images import round_to_255

METRICS = ("ms_ssim", "psnr", "psnr_hvs")


class RateDistortionCurve(Metric):
    """Mean over pictures of each metric after each iteration, on 8-bit pictures, at nominal (un-coded) rates.

    Args:
        iterations: points of the curve.
        bpp_per_iteration: bits per pixel between two points.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, iterations: int, bpp_per_iteration: float) -> None:
        super().__init__()
        self.bpp = np.arange(1, iterations + 1) * bpp_per_iteration
        self.add_state("total", torch.zeros(iterations, len(METRICS), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, image: Tensor, reconstructions: list[Tensor]) -> None:
        """Add pictures `(B, 3, H, W)` in [-1, 1] and their reconstructions, one for each iteration.

        A picture too small for five scales is measured with fewer.
        """
        truth = round_to_255(image.float())
        ms_ssim = MultiScaleTarget(truth, fewer_scales=True)
        for t, reconstruction in enumerate(reconstructions):
            decoded = round_to_255(reconstruction.float())
            values = (ms_ssim(decoded[None])[0], psnr(truth, decoded), psnr_hvs(truth, decoded))
            self.total[t] += torch.stack([value.double().sum() for value in values]).to(self.total)
        self.count += len(image)

    def compute(self) -> dict[str, np.ndarray]:
        """Metric name to its curve, `(iterations,)`."""
        curve = (self.total / self.count.clamp_min(1)).cpu().numpy()
        return {name: curve[:, k] for k, name in enumerate(METRICS)}

    def auc(self) -> dict[str, float]:
        """Metric name to the area under its curve on the paper's grid of 1/8 to 2 bpp; beyond its ends the curve is held."""
        return {name: auc_file(self.bpp, values) for name, values in self.compute().items()}
