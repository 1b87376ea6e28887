"""A whole ConvLSTM layer in one kernel: both convolutions and the gate update (paper, equations 4-6).

`gates = W * x + U * h + b`, then `lstm_update`. In inference the `4C` gates never reach memory: per output element the
kernel writes h and c, 2 instead of the 4 + 4 written and 8 read again by two convolutions and an update. In training
the gates' sum is written once (4) and is all that is kept beside the inputs; backward is `lstm_update`'s, then the
library's convolution gradients.

Limits: kernels 1x1 and 3x3, strides 1 and 2, symmetric zero padding, float32, bfloat16, float16 (float32 accumulation).
`fuses` says where the fused kernel is chosen; elsewhere the public function runs the two convolutions and
`lstm_update`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _check
from ._convolve import BM, BN, Geometry, constants, convolve, empty_last, four_gates, last, positions
from ._launch import DEVICE_TYPES, jit, needs_grad, on_device, tl, use_kernels
from ._math import load, sigmoid, tanh
from .lstm_update import _backward as _gate_gradients
from .lstm_update import lstm_update
from .reference import LSTMUpdate

# The most channels of the state for which one fused kernel is preferred, by (kernel, hidden kernel). The fewer the
# channels, the more of a layer's time goes to gates in memory and to launches; the more, the more a library's tuned
# GEMM is worth. From the ratio of bytes to operations, not from a measurement: before changing this, see on a GPU what
# `kernels/benchmarks/run.py --only layers` says, which times every layer both ways whatever stands here.
FUSED_CHANNELS = {(1, 1): 128, (3, 1): 96, (3, 3): 64}


def takes_layer(x: Tensor, weight: Tensor, hidden_weight: Tensor, channels: int, stride: int) -> bool:
    """Whether a fused kernel takes this layer: kernels run on `x`, `fuses` chooses them, and they can number it."""
    chosen = fuses(channels, weight.shape[2], hidden_weight.shape[2], stride, x.dtype)
    return use_kernels(x) and chosen and Geometry.of(x, stride).fits()


def fuses(channels: int, kernel: int, hidden_kernel: int, stride: int, dtype: torch.dtype) -> bool:
    """Whether the fused kernel is chosen for a layer of `channels` channels; all whole layers ask here."""
    supported = stride in (1, 2) and dtype in (torch.float32, torch.bfloat16, torch.float16)
    return supported and channels <= FUSED_CHANNELS.get((kernel, hidden_kernel), 0)


@jit
def _step_kernel(  # type: ignore[no-untyped-def]
    x, weight, bias, h, hidden_weight, c, h_out, c_out, kept, count, in_channels, channels, height, width, out_height,
    out_width,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, HIDDEN_KERNEL: tl.constexpr, BIAS: tl.constexpr, STATE: tl.constexpr,
    KEEP: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    flat, picture, row, column, exists = positions(count, out_height, out_width, BM)
    lane = tl.arange(0, 4 * BN)
    channel = tl.program_id(1) * BN + lane // 4
    filters = (lane % 4) * channels + channel
    filter_exists = channel < channels
    acc = tl.zeros((BM, 4 * BN), tl.float32)
    if BIAS:
        acc += load(bias, filters, filter_exists)[None, :]
    acc = convolve(
        acc, x, weight, picture, row * STRIDE - KERNEL // 2, column * STRIDE - KERNEL // 2, exists, filters,
        filter_exists,
        in_channels, height, width, KERNEL, BK, PRECISION,
    )  # fmt: skip
    if STATE:
        acc = convolve(
            acc, h, hidden_weight, picture, row - HIDDEN_KERNEL // 2, column - HIDDEN_KERNEL // 2, exists, filters,
            filter_exists,
            channels, out_height, out_width, HIDDEN_KERNEL, BK, PRECISION,
        )  # fmt: skip
    f, i, o, j = four_gates(acc, BM, BN)
    channel = tl.program_id(1) * BN + tl.arange(0, BN)
    mask = exists[:, None] & (channel < channels)[None, :]
    if KEEP:
        wide = flat[:, None] * (4 * channels) + channel[None, :]
        tl.store(kept + wide, f, mask)
        tl.store(kept + wide + channels, i, mask)
        tl.store(kept + wide + 2 * channels, o, mask)
        tl.store(kept + wide + 3 * channels, j, mask)
    at = flat[:, None] * channels + channel[None, :]
    new_c = sigmoid(i) * tanh(j)
    if STATE:
        new_c += sigmoid(f) * load(c, at, mask)
    tl.store(c_out + at, new_c, mask)
    tl.store(h_out + at, sigmoid(o) * tanh(new_c), mask)


def _outputs(x: Tensor, weight: Tensor, stride: int, keep: bool) -> tuple[Geometry, Tensor, Tensor, Tensor]:
    g, channels = Geometry.of(x, stride), weight.shape[0] // 4
    kept = empty_last(x, 4 * channels, g) if keep else x.new_empty(0)
    return g, empty_last(x, channels, g), empty_last(x, channels, g), kept


def _launch_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h: Tensor | None,
    hidden_weight: Tensor,
    c: Tensor | None,
    stride: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    g, new_h, new_c, kept = _outputs(x, weight, stride, keep)
    count, channels = g.batch * g.out_height * g.out_width, weight.shape[0] // 4
    if count and channels:
        tensors = (last(x), last(weight), bias, last(h), last(hidden_weight), last(c), new_h, new_c, kept)
        with on_device(x):
            _step_kernel[(-(-count // BM), -(-channels // BN))](
                *(new_h if t is None else t for t in tensors), count, g.in_channels, channels, g.height, g.width,
                g.out_height, g.out_width,
                KERNEL=weight.shape[2], STRIDE=stride, HIDDEN_KERNEL=hidden_weight.shape[2],
                BIAS=bias is not None, STATE=h is not None, KEEP=keep, **constants(x.dtype),
            )  # fmt: skip
    return new_h, new_c, kept


@torch.library.custom_op("rnncomp::conv_lstm_step", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    h: Tensor | None,
    hidden_weight: Tensor,
    c: Tensor | None,
    stride: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _launch_forward(x, weight, bias, h, hidden_weight, c, stride, keep)


@_forward.register_fake
def _(x: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(x, weight, *others[-2:])[1:]


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, weight, bias, h, hidden_weight, c, ctx.stride, _ = inputs
    ctx.save_for_backward(x, weight, h, hidden_weight, c, output[2])
    ctx.set_materialize_grads(False)
    ctx.bias = bias is not None


def convolution_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, bias: bool, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight and bias of a symmetric convolution, by the library; None where not `wanted`."""
    padding = weight.shape[2] // 2
    sizes = [weight.shape[0]] if bias else None
    return torch.ops.aten.convolution_backward(
        grad, x, weight, sizes, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [*wanted[:2], bias and wanted[2]]
    )


def _differentiate(ctx: Any, grad_h: Tensor | None, grad_c: Tensor | None, _: Tensor | None) -> tuple:
    if grad_h is None and grad_c is None:
        return (None,) * 8
    x, weight, h, hidden_weight, c, gates = ctx.saved_tensors
    grad_gates, grad_old_c = _gate_gradients(gates, c, grad_h, grad_c)
    need = ctx.needs_input_grad
    d_x, d_weight, d_bias = convolution_gradients(grad_gates, x, weight, ctx.stride, ctx.bias, need[:3])
    d_h = d_hidden = None
    if h is not None:
        d_h, d_hidden, _ = convolution_gradients(grad_gates, h, hidden_weight, 1, False, (need[3], need[4], False))
    return d_x, d_weight, d_bias, d_h, d_hidden, None if c is None else grad_old_c, None, None


_forward.register_autograd(_differentiate, setup_context=_setup)


def conv_lstm_step(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    h: Tensor | None = None,
    c: Tensor | None = None,
    stride: int = 1,
) -> LSTMUpdate:
    """One step of a ConvLSTM layer: new hidden state and cell, `(B, C, ceil(H / stride), ceil(W / stride))`.

    `x`: `(B, in, H, W)`; `weight`: `(4C, in, k, k)`, odd k, filters of f, i, o, j; `bias`: `(4C,)` or None;
    `hidden_weight`: `(4C, C, k', k')`; `h` and `c`: the state, given together; without them it is zero. Padding is `(k
    - 1) / 2` zeros on each side. Raises `ValueError` when shapes, dtypes or devices do not fit.
    """
    channels = check_convolutions("conv_lstm_step", x, weight, bias, hidden_weight, 4, 4)
    _check.together("conv_lstm_step", h=h, c=c)
    size = x.new_empty(x.shape[0], 0, *Geometry.of(x, stride)[4:])
    _check.matches("conv_lstm_step", "h", h, size, channels)
    _check.matches("conv_lstm_step", "c", c, size, channels)
    if takes_layer(x, weight, hidden_weight, channels, stride):
        keep = needs_grad(x, weight, bias, h, hidden_weight, c)
        return LSTMUpdate(*_forward(x, weight, bias, h, hidden_weight, c, stride, keep)[:2])
    gates = F.conv2d(x, weight, bias, stride, weight.shape[2] // 2)
    return lstm_update(gates, c, None if h is None else F.conv2d(h, hidden_weight, padding=hidden_weight.shape[2] // 2))


def check_convolutions(
    op: str, x: Tensor, weight: Tensor, bias: Tensor | None, hidden_weight: Tensor, gates: int, hidden_gates: int
) -> int:
    """The state's channels; raises `ValueError` where weights do not fit `x` or each other."""
    if (
        x.ndim != 4
        or weight.ndim != 4
        or weight.shape[1] != x.shape[1]
        or weight.shape[0] % gates
        or weight.shape[2] % 2 == 0
    ):
        shapes = f"x {tuple(x.shape)}, weight {tuple(weight.shape)}"
        raise ValueError(f"{op}: {shapes}: expected (B, in, H, W) and ({gates} * C, in, k, k), k odd")
    channels = weight.shape[0] // gates
    square = (hidden_gates * channels, channels)
    if hidden_weight.ndim != 4 or tuple(hidden_weight.shape[:2]) != square or hidden_weight.shape[2] % 2 == 0:
        raise ValueError(
            f"{op}: hidden_weight has shape {tuple(hidden_weight.shape)}, expected ({square[0]}, {channels}, k, "
            f"k), k odd"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"{op}: bias has shape {tuple(bias.shape)}, expected ({weight.shape[0]},)")
    for name, w in (("weight", weight), ("bias", bias), ("hidden_weight", hidden_weight)):
        if w is not None and (w.dtype != x.dtype or w.device != x.device):
            raise ValueError(f"{op}: {name} is {w.dtype} on {w.device}, expected {x.dtype} on {x.device}, as x")
    return channels
