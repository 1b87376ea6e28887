"""Layers in eight-bit integers, trained through rounding.

An activation is an integer in -127..127 that stands for sixteenths, a weight an int8 over a power of two (one for each
output channel). `context_network` computes the same sums in integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from .context_network import UNIT

_FINEST = 14


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: int) -> Tensor:  # type: ignore[override]
        steps = (x * UNIT).round_()
        ctx.save_for_backward((steps >= low) & (steps <= 127))
        return steps.clamp_(low, 127).div_(UNIT)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (inside,) = ctx.saved_tensors
        return grad * inside, None


def clipped(x: Tensor) -> Tensor:
    """`x` rounded to sixteenths and clipped to 127 of them; the gradient passes through where it is not clipped."""
    return _Round.apply(x, -127)


def relu(x: Tensor) -> Tensor:
    """As `clipped`, from 0."""
    return _Round.apply(x, 0)


class RoundedConv2d(nn.Conv2d):
    """A convolution of odd kernel whose weights are rounded in the forward pass; gradients pass straight through."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, bias: bool = True, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias, groups=groups)

    def exponent(self) -> Tensor:
        """`(out,)`: the finest unit `2**-exponent` in which all weights of a channel fit int8."""
        largest = self.weight.detach().flatten(1).abs().amax(1).clamp_min(1e-6)
        return torch.floor(torch.log2(127 / largest)).clamp(0, _FINEST)

    def steps(self) -> Tensor:
        """The weights in units of `2**-exponent`, integers in the weights' own type."""
        scale = torch.exp2(self.exponent()).reshape(-1, 1, 1, 1)
        return (self.weight.detach() * scale).round().clamp(-127, 127)

    def forward(self, x: Tensor) -> Tensor:
        rounded = self.steps() / torch.exp2(self.exponent()).reshape(-1, 1, 1, 1)
        weight = self.weight + (rounded - self.weight.detach())
        return F.conv2d(x, weight, self.bias, padding=self.padding, groups=self.groups)

    def integers(self, name: str) -> dict[str, NDArray[Any]]:
        """The layer as `ContextNetwork` wants it."""
        exponent = self.exponent()
        unit = torch.exp2(exponent) * UNIT
        bias = torch.zeros_like(exponent) if self.bias is None else (self.bias.detach() * unit).round()
        # (out, in, row, column) to (row, column in, out): columns and channels side by side.
        weight = self.steps().permute(2, 3, 1, 0).flatten(1, 2)
        return {
            f"{name}.weight": weight.numpy().astype(np.int8),
            f"{name}.exponent": exponent.numpy().astype(np.int8),
            f"{name}.bias": bias.numpy().astype(np.int32),
        }
