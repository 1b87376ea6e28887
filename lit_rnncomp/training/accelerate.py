"""Fewer launches a training step: the networks through `torch.compile`, or the whole loss as one CUDA graph."""

from __future__ import annotations

import os
import shutil
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..models.recurrent_codec import RecurrentCodec
from .loss import StepLoss, segment_losses

Accelerate = Literal["none", "compile", "cuda_graph"]


def require(accelerate: Accelerate, device: torch.device, processes: int) -> None:
    """Raises `ValueError` with the way out where `accelerate` cannot work on `device`."""
    if accelerate == "compile" and device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
        raise ValueError("accelerate=compile needs a C++ compiler on a CPU and there is none: install g++ or name one in CXX")
    if accelerate == "cuda_graph" and device.type != "cuda":
        raise ValueError(f"accelerate=cuda_graph needs a CUDA GPU and this run is on {device.type}: leave it out, or use compile")
    if accelerate == "cuda_graph" and processes > 1:
        raise ValueError(f"accelerate=cuda_graph captures one process's step and this run has {processes}: use compile, or devices=1")


class GraphedLoss:
    """`segment_losses` of all iterations, captured forward and backward at first use for each shape and number of iterations.

    The noise of the binarizer is drawn on the device, so every replay has its own. Results are valid until the next call.
    """

    def __init__(self, codec: RecurrentCodec, share: float) -> None:
        self.codec, self.share = codec, share
        self.captured: dict[Any, Any] = {}

    def __call__(self, image: Tensor, iterations: int) -> StepLoss:
        mixed, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        key = (iterations, image.shape, image.dtype, mixed, dtype)
        # Weights cast once and cached by autocast would be stale in a replay.
        with torch.autocast("cuda", dtype, enabled=mixed, cache_enabled=False):
            if key not in self.captured:
                loss = _WholeLoss(self.codec, self.share, iterations)
                self.captured[key] = torch.cuda.make_graphed_callables(
                    loss, (torch.empty_like(image).copy_(image),), allow_unused_input=True
                )
            return StepLoss(*self.captured[key](image))


class _WholeLoss(nn.Module):
    """What is captured: one tensor in, tensors out, all weights its own."""

    def __init__(self, codec: RecurrentCodec, share: float, iterations: int) -> None:
        super().__init__()
        self.codec, self.share, self.iterations = codec, share, iterations

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        (loss,) = segment_losses(self.codec, image, self.iterations, None, self.share)
        return tuple(loss)
