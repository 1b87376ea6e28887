"""LSTM gate update (paper, equations 4-6): `c' = s(f) c + s(i) tanh(j)`, `h = s(o) tanh(c')`.

`gates` holds f, i, o, j; `hidden_gates`, when given, is added to it. Elements moved, in units of C (the channels of the
state): inference reads 4 + 4 + 1 and writes 2; training also writes the sum of the gates (4), which is all that is kept
beside `c`, so that the two convolutions' outputs can be freed. Backward reads 4 + 1 + 2, recomputes, and writes 4 + 1:
one gradient serves both sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _check, reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, needs_grad, tl, use_kernels
from ._math import load, sigmoid, sigmoid_slope, tanh, tanh_slope, tile
from .reference import LSTMUpdate


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, c, h_out, c_out, kept, rows, inner,
    HIDDEN: tl.constexpr, STATE: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * 4 * inner + column
    f = load(gates, at, mask)
    i = load(gates, at + inner, mask)
    o = load(gates, at + 2 * inner, mask)
    j = load(gates, at + 3 * inner, mask)
    if HIDDEN:
        f += load(hidden, at, mask)
        i += load(hidden, at + inner, mask)
        o += load(hidden, at + 2 * inner, mask)
        j += load(hidden, at + 3 * inner, mask)
    if KEEP:
        tl.store(kept + at, f, mask)
        tl.store(kept + at + inner, i, mask)
        tl.store(kept + at + 2 * inner, o, mask)
        tl.store(kept + at + 3 * inner, j, mask)
    at = row * inner + column
    new_c = sigmoid(i) * tanh(j)
    if STATE:
        new_c += sigmoid(f) * load(c, at, mask)
    tl.store(c_out + at, new_c, mask)
    tl.store(h_out + at, sigmoid(o) * tanh(new_c), mask)


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gates, c, grad_h, grad_out, grad_c, grad_gates, grad_old_c, rows, inner,
    STATE: tl.constexpr, GRAD_H: tl.constexpr, GRAD_OUT: tl.constexpr, GRAD_C: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    wide = row * 4 * inner + column
    i = sigmoid(load(gates, wide + inner, mask))
    o = sigmoid(load(gates, wide + 2 * inner, mask))
    j = tanh(load(gates, wide + 3 * inner, mask))
    new_c = i * j
    if STATE:
        f = sigmoid(load(gates, wide, mask))
        old_c = load(c, at, mask)
        new_c += f * old_c
    t = tanh(new_c)
    d_c = tl.zeros_like(t)
    d_o = tl.zeros_like(t)
    if GRAD_C:
        d_c += load(grad_c, at, mask)
    if GRAD_H:
        d_h = load(grad_h, at, mask)
        if GRAD_OUT:
            d_h += load(grad_out, at, mask)
        d_o = sigmoid_slope(d_h * t, o)
        d_c += tanh_slope(d_h * o, t)
    d_f = tl.zeros_like(t)
    if STATE:
        d_f = sigmoid_slope(d_c * old_c, f)
        tl.store(grad_old_c + at, d_c * f, mask)
    tl.store(grad_gates + wide, d_f, mask)
    tl.store(grad_gates + wide + inner, sigmoid_slope(d_c * j, i), mask)
    tl.store(grad_gates + wide + 2 * inner, d_o, mask)
    tl.store(grad_gates + wide + 3 * inner, tanh_slope(d_c * i, j), mask)


def _outputs(gates: Tensor, hidden_gates: Tensor | None, keep: bool) -> tuple[Plane, Tensor, Tensor, Tensor]:
    plane = Plane.of(gates, 4)
    channels = gates.shape[1] // 4
    kept = plane.empty(gates, 4 * channels) if keep and hidden_gates is not None else gates.new_empty(0)
    return plane, plane.empty(gates, channels), plane.empty(gates, channels), kept


def _launch_forward(
    gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    plane, h, new_c, kept = _outputs(gates, hidden_gates, keep)
    launch(
        _forward_kernel, plane, plane.dense(gates), plane.dense(hidden_gates), plane.dense(c), h, new_c, kept,
        HIDDEN=hidden_gates is not None, STATE=c is not None, KEEP=kept.numel() > 0,
    )  # fmt: skip
    return h, new_c, kept


def _gradients(gates: Tensor, c: Tensor | None) -> tuple[Plane, Tensor, Tensor]:
    plane = Plane.of(gates, 4)
    return plane, plane.empty(gates, gates.shape[1]), gates.new_empty(0) if c is None else plane.empty(c, c.shape[1])


def _launch_backward(
    gates: Tensor, c: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None
) -> tuple[Tensor, Tensor]:
    _, *gradients = _gradients(gates, c)
    _launch_backward_into(gates, c, grad_h, None, grad_c, *gradients)
    return gradients[0], gradients[1]


def _launch_backward_into(
    gates: Tensor, c: Tensor | None, grad_h: Tensor | None, grad_out: Tensor | None, grad_c: Tensor | None,
    grad_gates: Tensor, grad_old_c: Tensor | None,
) -> None:  # fmt: skip
    plane = Plane.of(grad_gates, 4)
    launch(
        _backward_kernel, plane, plane.dense(gates), plane.dense(c), plane.dense(grad_h), plane.dense(grad_out),
        plane.dense(grad_c), grad_gates, grad_old_c,
        STATE=c is not None, GRAD_H=grad_h is not None, GRAD_OUT=grad_out is not None, GRAD_C=grad_c is not None,
    )  # fmt: skip


@torch.library.custom_op("rnncomp::lstm_update", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    return _launch_forward(gates, c, hidden_gates, keep)


@torch.library.custom_op("rnncomp::lstm_update_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(gates: Tensor, c: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None) -> tuple[Tensor, Tensor]:
    return _launch_backward(gates, c, grad_h, grad_c)


@torch.library.custom_op(
    "rnncomp::lstm_update_backward_into", mutates_args=("grad_gates", "grad_old_c"), device_types=DEVICE_TYPES
)
def _backward_into(
    gates: Tensor, c: Tensor | None, grad_h: Tensor | None, grad_out: Tensor | None, grad_c: Tensor | None,
    grad_gates: Tensor, grad_old_c: Tensor | None,
) -> None:  # fmt: skip
    _launch_backward_into(gates, c, grad_h, grad_out, grad_c, grad_gates, grad_old_c)


@_forward.register_fake
def _(gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(gates, hidden_gates, keep)[1:]


_backward.register_fake(lambda gates, c, *gradients: _gradients(gates, c)[1:])
_backward_into.register_fake(lambda *_: None)


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    gates, c, hidden_gates, _ = inputs
    ctx.save_for_backward(gates if hidden_gates is None else output[2], c)
    ctx.set_materialize_grads(False)
    ctx.summed = hidden_gates is not None


def _differentiate(ctx: Any, grad_h: Tensor | None, grad_c: Tensor | None, _: Tensor | None) -> tuple:
    gates, c = ctx.saved_tensors
    if grad_h is None and grad_c is None:
        return None, None, None, None
    grad_gates, grad_old_c = _backward(gates, c, grad_h, grad_c)
    return grad_gates, None if c is None else grad_old_c, grad_gates if ctx.summed else None, None


_forward.register_autograd(_differentiate, setup_context=_setup)


def lstm_update(gates: Tensor, c: Tensor | None = None, hidden_gates: Tensor | None = None) -> LSTMUpdate:
    """New hidden state and cell of an LSTM from its gates' pre-activations.

    `gates` (and `hidden_gates`, added to it): `(B, 4C, H, W)` in the order f, i, o, j. `c`: `(B, C, H, W)`; None is
    zeros. Raises `ValueError` when shapes, dtypes or devices do not fit.
    """
    channels = _check.gates_of("lstm_update", gates, 4)[1]
    _check.matches("lstm_update", "c", c, gates, channels)
    _check.matches("lstm_update", "hidden_gates", hidden_gates, gates, 4 * channels)
    if not use_kernels(gates):
        return reference.lstm_update(gates, c, hidden_gates)
    h, new_c, _ = _forward(gates, c, hidden_gates, needs_grad(gates, c, hidden_gates))
    return LSTMUpdate(h, new_c)
