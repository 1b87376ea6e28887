"""Binarizer (Toderici et al., ICLR 2016, section 3.2): signs of `y = tanh(x)`, the gradient straight through to y.

Stochastic: +1 where `y > 2 u - 1`, so with probability `(1 + y) / 2`; u is Philox at the element's index in `(B, C, H,
W)` order under the key `seed`: the same on every device, in every memory format and for every tile, and recomputed
rather than stored. Forward reads 1, writes 1; backward reads x and the gradient, writes 1. Kept for backward: x.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, tl, use_kernels
from ._math import load, tanh, tanh_slope, tile


@jit
def _uniform(seed, index):  # type: ignore[no-untyped-def]
    """`reference.uniform` at `index`: word `index % 4` of Philox at counter `index // 4`, its 31 bits as a float32 in
    [0, 1)."""
    zero = tl.zeros_like(index)
    w0, w1, w2, w3 = tl.philox(seed, index // 4, zero, zero, zero)
    lane = index % 4
    word = tl.where(lane < 2, tl.where(lane == 0, w0, w1), tl.where(lane == 2, w2, w3)).to(tl.int32, bitcast=True)
    return tl.where(word < 0, -word - 1, word).to(tl.float32) * 4.6566127342e-10


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    x, seed, out, rows, inner, positions,
    STOCHASTIC: tl.constexpr, LAST: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    value = load(x, at, mask)
    threshold = tl.zeros_like(value)
    if STOCHASTIC:
        value = tanh(value)
        if LAST:  # rows are positions of all pictures, columns are channels
            index = ((row // positions) * inner + column) * positions + row % positions
        else:
            index = at
        threshold = (_uniform(tl.load(seed), index.to(tl.int32)) * 2.0 - 1.0).to(value.dtype)
        one = value > threshold
    else:
        one = value >= threshold
    tl.store(out + at, tl.where(one, 1.0, -1.0), mask)


@jit
def _backward_kernel(x, grad, out, rows, inner, ROWS: tl.constexpr, COLS: tl.constexpr):  # type: ignore[no-untyped-def]
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    tl.store(out + at, tanh_slope(load(grad, at, mask), tanh(load(x, at, mask))), mask)


def _output(x: Tensor) -> tuple[Plane, Tensor]:
    plane = Plane.of(x, 1)
    return plane, plane.empty(x, x.shape[1])


def _launch_forward(x: Tensor, seed: Tensor | None) -> Tensor:
    plane, out = _output(x)
    launch(
        _forward_kernel, plane, plane.dense(x), seed, out, positions=x.shape[2] * x.shape[3],
        STOCHASTIC=seed is not None, LAST=plane.memory_format is torch.channels_last,
    )  # fmt: skip
    return out


def _launch_backward(x: Tensor, grad: Tensor) -> Tensor:
    plane, out = _output(x)
    launch(_backward_kernel, plane, plane.dense(x), plane.dense(grad), out)
    return out


@torch.library.custom_op("rnncomp::binarize", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(x: Tensor, seed: Tensor | None) -> Tensor:
    return _launch_forward(x, seed)


@torch.library.custom_op("rnncomp::binarize_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(x: Tensor, grad: Tensor) -> Tensor:
    return _launch_backward(x, grad)


@_forward.register_fake
def _(x: Tensor, seed: Tensor | None) -> Tensor:
    return _output(x)[1]


@_backward.register_fake
def _(x: Tensor, grad: Tensor) -> Tensor:
    return _output(x)[1]


def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _differentiate(ctx: Any, grad: Tensor) -> tuple:
    return _backward(*ctx.saved_tensors, grad), None


_forward.register_autograd(_differentiate, setup_context=_setup)


def binarize(x: Tensor, stochastic: bool = False, seed: int | Tensor | None = None) -> Tensor:
    """Codes in {-1, +1}, `(B, bits, H, W)`, from pre-activations `x` of the same shape.

    Stochastic: the mean of a code is `tanh(x)`. `seed`: 64 bits, None is 0; as an int64 tensor of one element on the
    device of `x` it is read by the kernel, so a captured CUDA graph draws new noise when it is changed between replays.
    Otherwise the sign, zero giving +1. Raises `ValueError` unless `x` has four dimensions and, if stochastic, fewer
    than 2^31 elements.
    """
    if x.ndim != 4:
        raise ValueError(f"binarize: x has shape {tuple(x.shape)}, expected (B, bits, H, W)")
    if stochastic and x.numel() >= 1 << 31:
        raise ValueError(
            f"binarize: x has {x.numel()} elements; noise is numbered in 31 bits, so draw for fewer pictures at a time"
        )
    if not use_kernels(x):
        return reference.binarize(x, stochastic, seed)
    if not stochastic:
        return _forward(x, None)
    if not isinstance(seed, Tensor):
        # The same 64 bits as a signed number: int64 ends at 2^63 - 1.
        signed = ((seed or 0) + (1 << 63)) % (1 << 64) - (1 << 63)
        seed = torch.full((), signed, dtype=torch.int64, device=x.device)
    return _forward(x, seed)
