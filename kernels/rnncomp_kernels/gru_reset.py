"""GRU reset gate (paper, equation 13): `s(r) h`, what the candidate's hidden convolution reads.

r is the second block of C channels of `gates` and of `hidden_gates`. In units of C: forward reads 1 + 1 + 1, writes 1.
Backward reads 1 + 1 + 1 + 1 and writes 1 and the two gradients whole, zeros included: they are dense, as autograd adds
them to those of `gru_update`. Kept for backward: the three inputs, which `gru_update` keeps as well. In a layer's own
node (`layer_step.py`) it completes the gradients that `gru_update` left instead: reads one more, writes 1 + 1 + 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _check, reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, tl, use_kernels
from ._math import load, sigmoid, sigmoid_slope, tile


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, h, out, rows, inner,
    BLOCKS: tl.constexpr, HIDDEN_BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    r = load(gates, (row * BLOCKS + 1) * inner + column, mask) + load(
        hidden, (row * HIDDEN_BLOCKS + 1) * inner + column, mask
    )
    tl.store(out + at, sigmoid(r) * load(h, at, mask), mask)


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, h, grad, grad_gates, grad_hidden, grad_h, rows, inner,
    BLOCKS: tl.constexpr, HIDDEN_BLOCKS: tl.constexpr, INTO: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    wide = row * BLOCKS * inner + column
    wide_hidden = row * HIDDEN_BLOCKS * inner + column
    r = sigmoid(load(gates, wide + inner, mask) + load(hidden, wide_hidden + inner, mask))
    d = load(grad, at, mask)
    d_r = sigmoid_slope(d * load(h, at, mask), r)
    d_h = d * r
    if INTO:
        d_h += load(grad_h, at, mask)
    zero = tl.zeros_like(d)
    for k in tl.static_range(BLOCKS):
        if k == 1 or not INTO:
            tl.store(grad_gates + wide + k * inner, d_r if k == 1 else zero, mask)
    for k in tl.static_range(HIDDEN_BLOCKS):
        if k == 1 or not INTO:
            tl.store(grad_hidden + wide_hidden + k * inner, d_r if k == 1 else zero, mask)
    tl.store(grad_h + at, d_h, mask)


def _blocks(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> dict[str, int]:
    return {"BLOCKS": gates.shape[1] // h.shape[1], "HIDDEN_BLOCKS": hidden_gates.shape[1] // h.shape[1]}


def _launch_forward(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> Tensor:
    plane = Plane.of(h, 1)
    out = plane.empty(h, h.shape[1])
    launch(
        _forward_kernel, plane, plane.dense(gates), plane.dense(hidden_gates), plane.dense(h), out,
        **_blocks(gates, hidden_gates, h)
    )  # fmt: skip
    return out


def _gradients(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> tuple[Plane, Tensor, Tensor, Tensor]:
    plane = Plane.of(h, 1)
    return (
        plane,
        plane.empty(gates, gates.shape[1]),
        plane.empty(gates, hidden_gates.shape[1]),
        plane.empty(h, h.shape[1]),
    )


def _launch_backward(gates: Tensor, hidden_gates: Tensor, h: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    plane, grad_gates, grad_hidden, grad_h = _gradients(gates, hidden_gates, h)
    launch(
        _backward_kernel, plane, plane.dense(gates), plane.dense(hidden_gates), plane.dense(h), plane.dense(grad),
        grad_gates, grad_hidden, grad_h, **_blocks(gates, hidden_gates, h), INTO=False,
    )  # fmt: skip
    return grad_gates, grad_hidden, grad_h


def _launch_backward_into(
    gates: Tensor, hidden_gates: Tensor, h: Tensor, grad: Tensor,
    grad_gates: Tensor, grad_hidden: Tensor, grad_h: Tensor,
) -> None:  # fmt: skip
    plane = Plane.of(grad_gates, grad_gates.shape[1] // h.shape[1])
    launch(
        _backward_kernel, plane, plane.dense(gates), plane.dense(hidden_gates), plane.dense(h), plane.dense(grad),
        grad_gates, grad_hidden, grad_h, **_blocks(gates, hidden_gates, h), INTO=True,
    )  # fmt: skip


@torch.library.custom_op("rnncomp::gru_reset", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> Tensor:
    return _launch_forward(gates, hidden_gates, h)


@torch.library.custom_op("rnncomp::gru_reset_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(gates: Tensor, hidden_gates: Tensor, h: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _launch_backward(gates, hidden_gates, h, grad)


@torch.library.custom_op(
    "rnncomp::gru_reset_backward_into", mutates_args=("grad_gates", "grad_hidden", "grad_h"), device_types=DEVICE_TYPES
)
def _backward_into(
    gates: Tensor, hidden_gates: Tensor, h: Tensor, grad: Tensor,
    grad_gates: Tensor, grad_hidden: Tensor, grad_h: Tensor,
) -> None:  # fmt: skip
    _launch_backward_into(gates, hidden_gates, h, grad, grad_gates, grad_hidden, grad_h)


_backward_into.register_fake(lambda *_: None)


@_forward.register_fake
def _(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> Tensor:
    return Plane.of(h, 1).empty(h, h.shape[1])


@_backward.register_fake
def _(gates: Tensor, hidden_gates: Tensor, h: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients(gates, hidden_gates, h)[1:]


def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple:
    return _backward(*ctx.saved_tensors, grad)


_forward.register_autograd(_differentiate, setup_context=_setup)


def gru_reset(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> Tensor:
    """The state seen through the reset gate, `(B, C, H, W)`.

    `gates` and `hidden_gates`: z and r in their first `2C` channels, then whatever else the unit has; `h`: `(B, C, H,
    W)`. Raises `ValueError` when shapes, dtypes or devices do not fit.
    """
    channels = h.shape[1] if h.ndim == 4 else 0
    for name, x in (("gates", gates), ("hidden_gates", hidden_gates)):
        blocks = x.shape[1] // channels if channels and x.ndim == 4 else 0
        if blocks < 2 or x.shape[1] != blocks * channels:
            raise ValueError(
                f"gru_reset: {name} has shape {tuple(x.shape)}, expected z and r at least, each as h, {tuple(h.shape)}"
            )
        _check.matches("gru_reset", name, x, h, x.shape[1])
    if not use_kernels(gates):
        return reference.gru_reset(gates, hidden_gates, h)
    return _forward(gates, hidden_gates, h)
