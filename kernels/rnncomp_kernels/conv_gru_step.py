"""A whole ConvGRU layer in two kernels (paper, equations 11-13), for inference.

The candidate's convolution reads `r h` of whole neighbourhoods, so the layer cannot be one kernel. The first does the
input convolution and the hidden one of z and r, and writes s(z), `s(r) h` and n: 3C, instead of the 3 + 2 written and 5
read again by two convolutions and `gru_reset`. The second convolves `s(r) h` and blends in its epilogue. Without a
state the first alone suffices: its epilogue is the answer.

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
from ._launch import DEVICE_TYPES, jit, needs_grad, on_device, tl, use_kernels
from ._math import load, sigmoid, tanh
from .conv_lstm_step import check_convolutions, fuses
from .gru_reset import gru_reset
from .gru_update import gru_update


@jit
def _gates_kernel(  # type: ignore[no-untyped-def]
    x, weight, bias, h, hidden_weight, z_out, reset_out, n_out, count, in_channels, channels, height, width,
    out_height, out_width,
    KERNEL: tl.constexpr, STRIDE: tl.constexpr, HIDDEN_KERNEL: tl.constexpr, BIAS: tl.constexpr, STATE: tl.constexpr,
    PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    flat, picture, row, column, exists = positions(count, out_height, out_width, BM)
    lane = tl.arange(0, 4 * BN)
    channel = tl.program_id(1) * BN + lane // 4
    filters = (lane % 4) * channels + channel
    # the fourth lane of a channel stays empty; the hidden convolution has nothing for the third
    filter_exists = (channel < channels) & (lane % 4 < 3)
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
    z, r, n, _ = four_gates(acc, BM, BN)
    channel = tl.program_id(1) * BN + tl.arange(0, BN)
    mask = exists[:, None] & (channel < channels)[None, :]
    at = flat[:, None] * channels + channel[None, :]
    if STATE:
        tl.store(z_out + at, sigmoid(z), mask)
        tl.store(reset_out + at, sigmoid(r) * load(h, at, mask), mask)
        tl.store(n_out + at, n, mask)
    else:
        tl.store(z_out + at, sigmoid(z) * tanh(n), mask)


@jit
def _candidate_kernel(  # type: ignore[no-untyped-def]
    reset, candidate_weight, z, n, h, out, count, channels, height, width,
    HIDDEN_KERNEL: tl.constexpr, PRECISION: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    flat, picture, row, column, exists = positions(count, height, width, BM)
    channel = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = convolve(
        tl.zeros((BM, BN), tl.float32), reset, candidate_weight, picture, row - HIDDEN_KERNEL // 2,
        column - HIDDEN_KERNEL // 2, exists,
        channel, channel < channels, channels, height, width, HIDDEN_KERNEL, BK, PRECISION,
    )  # fmt: skip
    mask = exists[:, None] & (channel < channels)[None, :]
    at = flat[:, None] * channels + channel[None, :]
    old = load(h, at, mask)
    new = old + load(z, at, mask) * (tanh(load(n, at, mask) + acc) - old)
    tl.store(out + at, new, mask)


def _launch_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
) -> Tensor:
    g, channels = Geometry.of(x, stride), weight.shape[0] // 3
    out, z = empty_last(x, channels, g), empty_last(x, channels, g)
    count = g.batch * g.out_height * g.out_width
    if not count or not channels:
        return out
    grid = (-(-count // BM), -(-channels // BN))
    common = constants(x.dtype)
    h = last(h)
    first, reset, n = (out, out, out) if h is None else (z, empty_last(x, channels, g), empty_last(x, channels, g))
    with on_device(x):
        _gates_kernel[grid](
            last(x), last(weight), out if bias is None else bias, out if h is None else h, last(hidden_weight), first,
            reset, n,
            count, g.in_channels, channels, g.height, g.width, g.out_height, g.out_width,
            KERNEL=weight.shape[2], STRIDE=stride, HIDDEN_KERNEL=hidden_weight.shape[2],
            BIAS=bias is not None, STATE=h is not None, **common,
        )  # fmt: skip
        if h is not None:
            _candidate_kernel[grid](
                reset, last(candidate_weight), z, n, h, out, count, channels, g.out_height, g.out_width,
                HIDDEN_KERNEL=candidate_weight.shape[2], **common,
            )  # fmt: skip
    return out


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
    channels = check_convolutions("conv_gru_step", x, weight, bias, hidden_weight, 3, 2)
    if candidate_weight.shape != (channels, *hidden_weight.shape[1:]) or candidate_weight.dtype != x.dtype:
        found = f"{candidate_weight.dtype} {tuple(candidate_weight.shape)}"
        raise ValueError(
            f"conv_gru_step: candidate_weight is {found}, expected {x.dtype} {(channels, *hidden_weight.shape[1:])}"
        )
    _check.matches("conv_gru_step", "h", h, x.new_empty(x.shape[0], 0, *Geometry.of(x, stride)[4:]), channels)
    fused = use_kernels(x) and fuses(channels, weight.shape[2], hidden_weight.shape[2], stride, x.dtype)
    if fused and Geometry.of(x, stride).fits() and not needs_grad(x, weight, bias, hidden_weight, candidate_weight, h):
        return _forward(x, weight, bias, hidden_weight, candidate_weight, h, stride)
    gates = F.conv2d(x, weight, bias, stride, weight.shape[2] // 2)
    if h is None:
        return gru_update(gates)
    padding = hidden_weight.shape[2] // 2
    hidden = F.conv2d(h, hidden_weight, padding=padding)
    return gru_update(gates, hidden, F.conv2d(gru_reset(gates, hidden, h), candidate_weight, padding=padding), h)
