"""The loss of a training step: mean absolute residual (equation 3), mixed with MS-SSIM; in less memory, or in fewer
launches.

Of ternary codes the residual counts in thresholds, which halve from iteration to iteration as residuals about do, and
bits have a price: without one, codes that are not 0 would cost nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..evaluation.metrics import MultiScaleTarget
from ..images import to_255
from ..models import ternary
from ..models.loop import Iteration
from ..models.recurrent_codec import RecurrentCodec
from .code_lengths import priced

Accelerate = Literal["none", "compile", "cuda_graph"]


class StepLoss(NamedTuple):
    """A segment's part of the mean over iterations: the differentiable `loss`, and what it is mixed from, detached.

    `dissimilarity` is `1 - MS-SSIM` where that has a share of the loss, else 0; `bpp`, bits per pixel of an iteration,
    are those of ternary codes, else 0.
    """

    loss: Tensor
    l1: Tensor
    dissimilarity: Tensor
    bpp: Tensor


def segment_losses(
    codec: RecurrentCodec,
    image: Tensor,
    iterations: int,
    length: int | None,
    share: float,
    bit_price: float = 0.0,
) -> Iterator[StepLoss]:
    """The loss of `length` iterations after the other (None: all at once), lazily; gradients are cut between segments.

    `image`: `(B, 3, H, W)` in [-1, 1]. `share`: of `1 - MS-SSIM`, 0 to 1; the rest is the absolute residual.
    `bit_price`: of ternary codes, what a bit per pixel adds.
    """
    target = MultiScaleTarget(to_255(image.float()), fewer_scales=True) if share else None
    steps = codec.encode(image, iterations, truncate=length)
    is_ternary = codec.config.codes == "ternary"
    while segment := list(islice(steps, length)):
        # All pictures of a segment at once: fewer and larger operations.
        drawn = torch.cat([step.estimate.drawn for step in segment])
        pictures = codec.frontend.synthesis(drawn).unflatten(0, (len(segment), len(image)))
        part = len(segment) / iterations
        residual = (image - pictures).abs()
        loss = l1 = (_in_thresholds(residual, segment) if is_ternary else residual).mean() * part
        dissimilarity, bpp = torch.zeros_like(l1), torch.zeros_like(l1)
        if target:
            dissimilarity = (1 - target(to_255(pictures.float()))).mean() * part
            loss = torch.lerp(l1, dissimilarity, share)
        if is_ternary:
            bpp = torch.stack([priced(step) for step in segment]).sum() / iterations
            loss = loss + bit_price * bpp
        yield StepLoss(loss, l1.detach(), dissimilarity.detach(), bpp.detach())


def _in_thresholds(residual: Tensor, segment: list[Iteration]) -> Tensor:
    """`(iterations, ...)` in [-1, 1] over the threshold of each, on the 0..255 scale."""
    steps = torch.arange(segment[0].estimate.t - 1, segment[-1].estimate.t, device=residual.device)
    return residual * (127.5 / ternary.FIRST * torch.exp2(steps)).reshape(-1, *[1] * (residual.ndim - 1))


def sum_of_segments(losses: Iterator[Tensor], module: nn.Module) -> Tensor:
    """The sum of losses that share no graph, in the memory of one of them, differentiable in the parameters of
    `module`.

    Each is differentiated as soon as it is there, so that its activations are gone when the next is asked for. The
    gradients wait in the result; its backward pass multiplies them by what comes from above and hands them to the
    parameters, so loss scaling, gradient accumulation, and the hooks of distributed training work as ever.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    return _Sum.apply(losses, parameters, *parameters)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Iterator[Tensor], wanted: list[Tensor], *parameters: Tensor) -> Tensor:
        total = torch.zeros((), device=parameters[0].device)
        gradients: list[Tensor | None] = [None] * len(wanted)
        with torch.enable_grad():
            for loss in losses:
                found = torch.autograd.grad(loss, wanted, allow_unused=True)
                gradients = [
                    new if old is None else old if new is None else old + new
                    for old, new in zip(gradients, found, strict=True)
                ]
                total = total + loss.detach()
                del loss, found
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Any, ...]:
        return None, None, *(None if gradient is None else gradient * above for gradient in ctx.gradients)


def require(accelerate: Accelerate, device: torch.device, processes: int, accumulated: int = 1) -> None:
    """Raises `ValueError` with the way out where `accelerate` cannot work on `device`."""
    if accelerate == "compile" and device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise ValueError(
            "accelerate=compile needs a C++ compiler on a CPU and there is none: install g++ or name one in CXX"
        )
    if accelerate == "cuda_graph" and device.type != "cuda":
        raise ValueError(
            f"accelerate=cuda_graph needs a CUDA GPU and this run is on {device.type}: leave it out, or use compile"
        )
    if accelerate == "cuda_graph" and accumulated > 1:
        # A replay writes its gradients where those of the one before lie.
        raise ValueError(
            f"accelerate=cuda_graph cannot add up the gradients of {accumulated} batches: leave out "
            "accumulate_grad_batches and raise data.batch_size, or use compile"
        )
    if accelerate == "cuda_graph" and processes > 1:
        raise ValueError(
            f"accelerate=cuda_graph captures one process's step and this run has {processes}: use compile, or devices=1"
        )


class GraphedLoss:
    """`segment_losses` of all iterations, captured forward and backward at first use for each shape and number of
    iterations.

    The noise of the binarizer is drawn on the device, so every replay has its own. Results are valid until the next
    call.
    """

    def __init__(self, codec: RecurrentCodec, share: float, bit_price: float = 0.0) -> None:
        self.codec, self.share, self.bit_price = codec, share, bit_price
        self.captured: dict[Any, Any] = {}

    def __call__(self, image: Tensor, iterations: int) -> StepLoss:
        mixed, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        key = (iterations, image.shape, image.dtype, mixed, dtype)
        # Weights cast once and cached by autocast would be stale in a replay.
        with torch.autocast("cuda", dtype, enabled=mixed, cache_enabled=False):
            if key not in self.captured:
                loss = _WholeLoss(self.codec, self.share, self.bit_price, iterations)
                self.captured[key] = torch.cuda.make_graphed_callables(
                    loss, (torch.empty_like(image).copy_(image),), allow_unused_input=True
                )
            return StepLoss(*self.captured[key](image))


class _WholeLoss(nn.Module):
    """What is captured: one tensor in, tensors out, all weights its own."""

    def __init__(self, codec: RecurrentCodec, share: float, bit_price: float, iterations: int) -> None:
        super().__init__()
        self.codec, self.share, self.bit_price, self.iterations = codec, share, bit_price, iterations

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        (loss,) = segment_losses(self.codec, image, self.iterations, None, self.share, self.bit_price)
        return tuple(loss)
