"""What differs from one iteration to the next: projections of its own, and a linear path around the recurrent
layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cells import Convolve, PaddedConv2d, convolve_now
from .config import CodecConfig, Padding, assert_never


class Projection(nn.ModuleList):
    """A convolution for each iteration of the loop.

    The recurrent layers between such projections are shared, but what they see and what is made of it follows the
    residual, whose spectrum flattens from iteration to iteration.
    """

    def forward(self, x: Tensor, t: int, convolve: Convolve = convolve_now) -> Tensor:
        conv = self[t]
        assert isinstance(conv, PaddedConv2d)
        return convolve(conv, x)


class SharedProjection(PaddedConv2d):
    """One convolution for all iterations (the paper)."""

    def forward(self, x: Tensor, t: int = 0, convolve: Convolve = convolve_now) -> Tensor:
        return super().forward(x) if convolve is convolve_now else convolve(self, x)


class Shortcut(nn.Module):
    """A matrix for each iteration, `(B, in_channels, h, w)` to `(B, out_channels, h, w)`: a way around the recurrent
    layers, which have fewer channels than a block has coefficients. It starts at zero."""

    def __init__(self, config: CodecConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.iterations, out_channels, in_channels))

    def forward(self, x: Tensor, t: int) -> Tensor:
        return F.conv2d(x, self.weight[t, :, :, None, None]).to(self.weight.dtype)


def start_at_zero(projection: nn.Module) -> None:
    """Zeroes weights and biases, which learn all the same where what comes in is not zero."""
    for parameter in projection.parameters():
        nn.init.zeros_(parameter)


def make_projection(
    config: CodecConfig,
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    stride: int = 1,
    padding: Padding = "symmetric",
) -> Projection | SharedProjection:
    """A convolution into or out of the recurrent layers: one for all iterations or one for each, as
    `config.projections` says."""
    shape = (in_channels, out_channels, kernel, stride, True, padding)
    if config.projections == "shared":
        return SharedProjection(*shape)
    if config.projections == "per_iteration":
        convs = Projection(PaddedConv2d(*shape) for _ in range(config.iterations))
        for conv in convs[1:]:
            conv.load_state_dict(convs[0].state_dict())
        return convs
    assert_never(config.projections)
