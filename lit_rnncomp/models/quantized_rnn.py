"""Layers of the entropy models, and the integer arithmetic they are trained for.

An arithmetic decoder that meets one other probability than its encoder loses the rest of the stream, so nothing that
reaches the coder may depend on a machine's rounding. Here every quantity is an integer times a power of two:

==============  ==========================  =====================================================================
quantity        integer                     value
==============  ==========================  =====================================================================
code            -1, +1; 0 outside picture   itself
weight          int8, -127..127             `w * 2**e`, one exponent `e` for each output channel
accumulator     below 2**24                 sum of products plus bias; exact in float32, whatever the order
table index     0..2047 (logits 0..4095)    pre-activation in steps of 1/128, zero in the middle, clipped
gate            0..256                      `g / 256`, table `sigmoid`
candidate       -2032..2032                 `t / 2048`, table `tanh` (it serves the cell's tanh as well)
activation      int8, -127..127             `a / 128`, table `activation`
cell            int16                       `c / 2048`
probability     1..65535                    `p / 65536` that the bit is +1, table `probability`
==============  ==========================  =====================================================================

All rounding is `floor(x + 1/2)`. While `quantized` is set the layers compute exactly those values in floating point and
pass the gradient of the smooth function straight through; otherwise they are ordinary float layers.
`lit_rnncomp.codec.entropy_network` is the same arithmetic without gradients.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INDEX_BITS = 7
ACTIVATION_BITS = 7
GATE_BITS = 8
CELL_BITS = 11
TABLE_SIZE = 2048
LOGIT_TABLE_SIZE = 4096
MIN_EXPONENT, MAX_EXPONENT = -10, 0


def tables() -> dict[str, Tensor]:
    """The four integer tables: int16, and int32 for the probabilities.

    They travel with the weights: no decoder ever evaluates a transcendental function.
    """
    x = (torch.arange(TABLE_SIZE, dtype=torch.float64) - TABLE_SIZE // 2) / 2**INDEX_BITS
    logits = (torch.arange(LOGIT_TABLE_SIZE, dtype=torch.float64) - LOGIT_TABLE_SIZE // 2) / 2**INDEX_BITS
    return {
        "sigmoid": (256 * torch.sigmoid(x)).round().short(),
        "tanh": (2032 * torch.tanh(x)).round().short(),
        "activation": (127 * torch.tanh(x)).round().short(),
        "probability": (65536 * torch.sigmoid(logits)).round().clamp(1, 65535).int(),
    }


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, smooth: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor]:  # type: ignore[no-untyped-def, override]
        return None, grad


def straight_through(value: Tensor, smooth: Tensor) -> Tensor:
    """`value`, to the bit, in the forward pass; the gradient goes to `smooth` of the same shape."""
    return _StraightThrough.apply(value.detach(), smooth)


def on_grid(x: Tensor, bits: int, limit: int) -> Tensor:
    """`x` rounded to multiples of `2**-bits` and clipped to `limit` of them; the gradient passes straight through."""
    return straight_through(torch.floor(x.detach() * 2**bits + 0.5).clamp(-limit, limit) / 2**bits, x)


def look_up(table: Tensor, bits: int, x: Tensor, smooth: Tensor) -> Tensor:
    """`table[index of x] / 2**bits` in the forward pass, the gradient of `smooth` in the backward pass."""
    index = torch.floor(x.detach() * 2**INDEX_BITS + 0.5) + table.numel() // 2
    value = table[index.clamp(0, table.numel() - 1).long()].to(x.dtype) / 2**bits
    return straight_through(value, smooth)


def row_exponent(*weights: Tensor) -> Tensor:
    """The smallest exponent `(G, O)` with which every weight of an output channel fits int8; `weights` are `(G, O,
    ...)`."""
    largest = torch.stack([w.detach().abs().flatten(2).amax(2) for w in weights]).amax(0).double().clamp_min(1e-12)
    return torch.ceil(torch.log2(largest / 127)).clamp(MIN_EXPONENT, MAX_EXPONENT)


def round_weight(weight: Tensor, exponent: Tensor) -> Tensor:
    """`weight` on the int8 grid of its output channel, as integers (in the weight's own dtype)."""
    scale = torch.exp2(exponent).to(weight.dtype)
    return torch.floor(weight / scale.reshape(scale.shape + (1,) * (weight.ndim - 2)) + 0.5).clamp(-127, 127)


class RasterConv2d(nn.Module):
    """A convolution over all iterations that keeps the first `taps` positions of its kernel in raster order.

    Dropping the last positions makes it causal. The weight is one for all iterations (`shared`) or one for each; the
    bias is always one for each. `x`: `(B, T, C, H, W)` with `T` at most `iterations`, a code (`input_bits=0`) or an
    activation (`input_bits=7`); returns the pre-activation `(B, T, O, H, W)`. Pixels outside the picture are zero.
    """

    def __init__(
        self,
        iterations: int,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, int],
        *,
        shared: bool,
        taps: int | None = None,
        input_bits: int = ACTIVATION_BITS,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.taps = kernel[0] * kernel[1] if taps is None else taps
        self.input_bits = input_bits
        self.quantized = False
        self.weight = nn.Parameter(torch.empty(1 if shared else iterations, out_channels, in_channels, self.taps))
        self.bias = nn.Parameter(torch.zeros(iterations, out_channels)) if bias else None
        deviation = 1 / math.sqrt(self.taps * in_channels)
        nn.init.trunc_normal_(self.weight, std=deviation, a=-2 * deviation, b=2 * deviation)

    def exponent(self) -> Tensor:
        return row_exponent(self.weight)

    def dense_weight(self, exponent: Tensor | None = None) -> Tensor:
        """The kernel `(G, O, C, kh, kw)` as used, rounded when quantised; dropped positions are zero."""
        weight: Tensor = self.weight
        if self.quantized:
            exponent = self.exponent() if exponent is None else exponent
            weight = straight_through(
                round_weight(weight, exponent) * torch.exp2(exponent).to(weight)[..., None, None], weight
            )
        return F.pad(weight, (0, math.prod(self.kernel) - self.taps)).unflatten(-1, self.kernel)

    def rounded_bias(self, exponent: Tensor) -> Tensor:
        """The bias `(T, O)` in units of the accumulator, `2**(exponent - input_bits)`, as integers."""
        assert self.bias is not None
        return torch.floor(self.bias / torch.exp2(exponent - self.input_bits).to(self.bias) + 0.5)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        padding = (self.kernel[0] // 2, self.kernel[1] // 2)
        if weight.shape[0] == 1:
            return F.conv2d(x.flatten(0, 1), weight[0], padding=padding).unflatten(0, x.shape[:2])
        count = x.shape[1]
        y = F.conv2d(x.flatten(1, 2), weight[:count].flatten(0, 1), padding=padding, groups=count)
        return y.unflatten(1, (count, -1))

    def forward(self, x: Tensor, exponent: Tensor | None = None) -> Tensor:
        if self.quantized and exponent is None:
            exponent = self.exponent()
        y = self.convolve(x, self.dense_weight(exponent))
        if self.bias is None:
            return y
        bias: Tensor = self.bias
        if exponent is not None:
            step = torch.exp2(exponent - self.input_bits).to(bias)
            bias = straight_through(self.rounded_bias(exponent) * step, bias)
        return y + bias[: x.shape[1], :, None, None]


class Tables(nn.Module):
    """The non-linearities: smooth functions, or integer tables with a straight-through gradient while `quantized`."""

    sigmoid: Tensor
    tanh: Tensor
    activation: Tensor
    probability: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.quantized = False
        for name, table in tables().items():
            self.register_buffer(name, table, persistent=False)

    def activate(self, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        return look_up(self.activation, ACTIVATION_BITS, x, y) if self.quantized else y

    def logits(self, x: Tensor) -> Tensor:
        return on_grid(x, INDEX_BITS, LOGIT_TABLE_SIZE // 2 - 1) if self.quantized else x

    def lstm(self, gates: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor]:
        """One LSTM update; `gates` `(B, T, 4C, H, W)` in the order f, i, o, j; returns the output and the cell."""
        channels = gates.shape[2] // 4
        smooth = torch.sigmoid(gates[:, :, : 3 * channels])
        candidate = torch.tanh(gates[:, :, 3 * channels :])
        if self.quantized:
            smooth = look_up(self.sigmoid, GATE_BITS, gates[:, :, : 3 * channels], smooth)
            candidate = look_up(self.tanh, CELL_BITS, gates[:, :, 3 * channels :], candidate)
        f, i, o = smooth.split(channels, dim=2)
        new = i * candidate if cell is None else f * cell + i * candidate
        if not self.quantized:
            return o * torch.tanh(new), new
        new = on_grid(new, CELL_BITS, 32767)
        squashed = look_up(self.tanh, CELL_BITS, new, torch.tanh(new))
        return on_grid(o * squashed, ACTIVATION_BITS, 127), new
