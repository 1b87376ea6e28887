"""The loss of a training step: mean absolute residual (equation 3), mixed with MS-SSIM."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from ..evaluation.metrics import MultiScaleTarget
from ..images import to_255
from ..models.recurrent_codec import RecurrentCodec


class StepLoss(NamedTuple):
    """A segment's part of the mean over iterations: the differentiable `loss`, and what it is mixed from, detached.

    `dissimilarity` is `1 - MS-SSIM` where that has a share of the loss, else 0.
    """

    loss: Tensor
    l1: Tensor
    dissimilarity: Tensor


def segment_losses(codec: RecurrentCodec, image: Tensor, iterations: int, length: int | None, share: float) -> Iterator[StepLoss]:
    """The loss of `length` iterations after the other (None: all at once), lazily; gradients are cut between segments.

    `image`: `(B, 3, H, W)` in [-1, 1]. `share`: of `1 - MS-SSIM`, 0 to 1; the rest is the absolute residual.
    """
    target = MultiScaleTarget(to_255(image.float()), fewer_scales=True) if share else None
    steps = codec.encode(image, iterations, truncate=length)
    while segment := [step.estimate.value for step in islice(steps, length)]:
        # All pictures of a segment at once: fewer and larger operations.
        pictures = codec.frontend.synthesis(torch.cat(segment)).unflatten(0, (len(segment), len(image)))
        part = len(segment) / iterations
        loss = l1 = (image - pictures).abs().mean() * part
        dissimilarity = torch.zeros_like(l1)
        if target:
            dissimilarity = (1 - target(to_255(pictures.float()))).mean() * part
            loss = torch.lerp(l1, dissimilarity, share)
        yield StepLoss(loss, l1.detach(), dissimilarity.detach())
