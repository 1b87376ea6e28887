"""A whole ConvGRU layer in two kernels (paper, equations 11-13), for inference.

The candidate's convolution reads `r h` of whole neighbourhoods, so the layer cannot be one kernel. The first does the
input convolution and the hidden one of z and r, and writes s(z), `s(r) h` and n: 3C, instead of the 3 + 2 written and 5
read again by two convolutions and `gru_reset`. The second convolves `s(r) h` and blends in its epilogue. Without a
state the first alone suffices: its epilogue is the answer. `conv_residual_gru_step` runs the same kernels.

The product `s(r) h` is the first kernel's, not part of the second's loads: s(r) would be written in its place, and the
second reads h to blend in any case. With a 1x1 kernel on the state (most layers of the networks) both ways move 9C
beside x; with a 3x3 the second would gather nine neighbours of two tensors, not of one.

Limits: those of `conv_lstm_step`. Training takes the unfused path: its backward needs the gates themselves, of which
this keeps none.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import _check
from ._convolve import BM, BN, Geometry, constants, convolve, empty_last, four_gates, last, positions
from ._launch import DEVICE_TYPES, jit, needs_grad, on_device, tl
from ._math import load, sigmoid, tanh
from .conv_lstm_step import check_convolutions, takes_layer
from .gru_reset import gru_reset
from .gru_update import gru_update


@jit
def _gates_kernel(  # type: ignore[no-untyped-def]
    x, weight, bias, h, hidden_weight, z_out, reset_out, n_out, skip_out, count, in_channels, channels, height, width,
    out_height, out_width, alpha_x,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, HIDDEN_KERNEL: tl.constexpr, BIAS: tl.constexpr, STATE: tl.constexpr,
    RESIDUAL: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    flat, picture, row, column, exists = positions(count, out_height, out_width, BM)
    lane = tl.arange(0, 4 * BN)
    channel = tl.program_id(1) * BN + lane // 4
    filters = (lane % 4) * channels + channel
    # the fourth lane of a channel is the residual unit's `W_ox x`, or stays empty; the hidden convolution has nothing
    # for the third
    filter_exists = (channel < channels) & (lane % 4 < (4 if RESIDUAL else 3))
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
            filter_exists & (lane % 4 < 2), channels, out_height, out_width, HIDDEN_KERNEL, BK, PRECISION,
        )  # fmt: skip
    z, r, n, skip = four_gates(acc, BM, BN)
    channel = tl.program_id(1) * BN + tl.arange(0, BN)
    mask = exists[:, None] & (channel < channels)[None, :]
    at = flat[:, None] * channels + channel[None, :]
    if STATE:
        tl.store(z_out + at, sigmoid(z), mask)
        tl.store(reset_out + at, sigmoid(r) * load(h, at, mask), mask)
        tl.store(n_out + at, n, mask)
        if RESIDUAL:
            tl.store(skip_out + at, alpha_x * skip, mask)
    else:
        new = sigmoid(z) * tanh(n)
        tl.store(z_out + at, new, mask)
        if RESIDUAL:
            tl.store(skip_out + at, new + alpha_x * skip, mask)


@jit
def _candidate_kernel(  # type: ignore[no-untyped-def]
    reset, candidate_weight, z, n, skip, h, hidden_weight, new_h, out, count, channels, height, width, alpha_h,
    HIDDEN_KERNEL: tl.constexpr, RESIDUAL: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    flat, picture, row, column, exists = positions(count, height, width, BM)
    channel = tl.program_id(1) * BN + tl.arange(0, BN)
    top, left = row - HIDDEN_KERNEL // 2, column - HIDDEN_KERNEL // 2
    zero = tl.zeros((BM, BN), tl.float32)
    candidate = convolve(
        zero, reset, candidate_weight, picture, top, left, exists, channel, channel < channels, channels, height,
        width, HIDDEN_KERNEL, BK, PRECISION,
    )  # fmt: skip
    mask = exists[:, None] & (channel < channels)[None, :]
    at = flat[:, None] * channels + channel[None, :]
    old = load(h, at, mask)
    new = old + load(z, at, mask) * (tanh(load(n, at, mask) + candidate) - old)
    if RESIDUAL:
        new += alpha_h * convolve(
            zero, h, hidden_weight, picture, top, left, exists, 2 * channels + channel, channel < channels, channels,
            height, width, HIDDEN_KERNEL, BK, PRECISION,
        )  # fmt: skip
        tl.store(out + at, new + load(skip, at, mask), mask)
    tl.store(new_h + at, new, mask)


def launch_layer(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
    alphas: tuple[float, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """The new state of a GRU, twice; with `alphas`, of h and of x, the new state and the output of a residual GRU."""
    g, channels = Geometry.of(x, stride), weight.shape[0] // (3 if alphas is None else 4)
    residual, (alpha_h, alpha_x) = alphas is not None, alphas or (0.0, 0.0)
    new_h = empty_last(x, channels, g)
    out = empty_last(x, channels, g) if residual else new_h
    count = g.batch * g.out_height * g.out_width
    if not count or not channels:
        return new_h, out
    h, hidden = last(h), last(hidden_weight)
    if h is None:  # what the first kernel writes is the answer
        z, reset, n, skip = new_h, new_h, new_h, out
    else:
        z, reset, n = (empty_last(x, channels, g) for _ in range(3))
        skip = empty_last(x, channels, g) if residual else z
    grid = (-(-count // BM), -(-channels // BN))
    common = {"RESIDUAL": residual, **constants(x.dtype)}
    with on_device(x):
        _gates_kernel[grid](
            last(x), last(weight), z if bias is None else bias, z if h is None else h, hidden,
            z, reset, n, skip,
            count, g.in_channels, channels, g.height, g.width, g.out_height, g.out_width, alpha_x,
            KERNEL=weight.shape[2], STRIDE=stride, HIDDEN_KERNEL=hidden_weight.shape[2],
            BIAS=bias is not None, STATE=h is not None, **common,
        )  # fmt: skip
        if h is not None:
            _candidate_kernel[grid](
                reset, last(candidate_weight), z, n, skip, h, hidden, new_h, out,
                count, channels, g.out_height, g.out_width, alpha_h,
                HIDDEN_KERNEL=candidate_weight.shape[2], **common,
            )  # fmt: skip
    return new_h, out


def _launch_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
) -> Tensor:
    return launch_layer(x, weight, bias, hidden_weight, candidate_weight, h, stride)[0]


@torch.library.custom_op("rnncomp::conv_gru_step", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
) -> Tensor:
    return _launch_forward(x, weight, bias, hidden_weight, candidate_weight, h, stride)


@_forward.register_fake
def _(x: Tensor, weight: Tensor, *others: Any) -> Tensor:
    return empty_last(x, weight.shape[0] // 3, Geometry.of(x, others[-1]))


def conv_gru_step(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None = None,
    stride: int = 1,
) -> Tensor:
    """One step of a ConvGRU layer: the new state `(B, C, ceil(H / stride), ceil(W / stride))`.

    `x`: `(B, in, H, W)`; `weight`: `(3C, in, k, k)`, odd k, filters of z, r, n; `bias`: `(3C,)` or None;
    `hidden_weight`: `(2C, C, k', k')`, filters of z, r; `candidate_weight`: `(C, C, k', k')`, on the reset state; `h`:
    the state, None is zero. Padding is `(k - 1) / 2` zeros on each side. Raises `ValueError` when shapes, dtypes or
    devices do not fit.
    """
    channels = check_layer("conv_gru_step", x, weight, bias, hidden_weight, candidate_weight, h, stride, 3, 2)
    layer = x, weight, bias, hidden_weight, candidate_weight, h
    if takes_layer(x, weight, hidden_weight, channels, stride) and not needs_grad(*layer):
        return _forward(*layer, stride)
    return gru_update(*library_layer(*layer, stride))


def library_layer(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """What a GRU's update takes, by the library's convolutions and `gru_reset`: gates, hidden gates, candidate and
    state."""
    gates = F.conv2d(x, weight, bias, stride, weight.shape[2] // 2)
    if h is None:
        return gates, None, None, None
    padding = hidden_weight.shape[2] // 2
    hidden = F.conv2d(h, hidden_weight, padding=padding)
    return gates, hidden, F.conv2d(gru_reset(gates, hidden, h), candidate_weight, padding=padding), h


def check_layer(
    op: str,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
    gates: int,
    hidden_gates: int,
) -> int:
    """The state's channels; raises `ValueError` where the tensors of a GRU's layer do not fit each other."""
    channels = check_convolutions(op, x, weight, bias, hidden_weight, gates, hidden_gates)
    shape = (channels, *hidden_weight.shape[1:])
    w = candidate_weight
    if w.shape != shape or w.dtype != x.dtype or w.device != x.device:
        found, expected = f"{w.dtype} {tuple(w.shape)} on {w.device}", f"{x.dtype} {shape} on {x.device}"
        raise ValueError(f"{op}: candidate_weight is {found}, expected {expected}")
    _check.matches(op, "h", h, x.new_empty(x.shape[0], 0, *Geometry.of(x, stride)[4:]), channels)
    return channels
