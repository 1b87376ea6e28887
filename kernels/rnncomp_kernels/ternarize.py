"""Ternary codes: the sign of x where |x| >= 1 and 0 where not, the gradient straight through to x.

Forward reads 1, writes 1; backward hands on the gradient as it is and moves nothing. Kept for backward: nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, tl, use_kernels
from ._math import load, tile


@jit
def _forward_kernel(x, out, rows, inner, ROWS: tl.constexpr, COLS: tl.constexpr):  # type: ignore[no-untyped-def]
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    value = load(x, at, mask)
    tl.store(out + at, tl.where(value >= 1.0, 1.0, tl.where(value <= -1.0, -1.0, 0.0)), mask)


def _output(x: Tensor) -> tuple[Plane, Tensor]:
    plane = Plane.of(x, 1)
    return plane, plane.empty(x, x.shape[1])


def _launch_forward(x: Tensor) -> Tensor:
    plane, out = _output(x)
    launch(_forward_kernel, plane, plane.dense(x), out)
    return out


@torch.library.custom_op("rnncomp::ternarize", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(x: Tensor) -> Tensor:
    return _launch_forward(x)


@_forward.register_fake
def _(x: Tensor) -> Tensor:
    return _output(x)[1]


def _differentiate(ctx: Any, grad: Tensor) -> Tensor:
    return grad


_forward.register_autograd(_differentiate)


def ternarize(x: Tensor) -> Tensor:
    """Codes in {-1, 0, +1}, `(B, C, H, W)`, from pre-activations `x` of the same shape; NaN gives 0.

    Raises `ValueError` unless `x` has four dimensions.
    """
    if x.ndim != 4:
        raise ValueError(f"ternarize: x has shape {tuple(x.shape)}, expected (B, C, H, W)")
    return _forward(x) if use_kernels(x) else reference.ternarize(x)
