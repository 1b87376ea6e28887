"""Associative LSTM update (paper, equations 7-10), K complex units.

`gates` `(B, 9K, H, W)`: f, i, o (K channels each), then the complex j, r_i, r_o as re | im (2K each); `c` and `h` `(B,
2K, H, W)`. With `bnd(z) = z / max(1, |z|)`: `c' = s(f) c + bnd(r_i) s(i) bnd(j)`, `h = s(o) bnd(bnd(r_o) c')`; a gate
multiplies re and im alike. In units of K: inference reads 9 + 9 + 2, writes 4; training also writes the sum of the
gates (9), all that is kept beside `c`. Backward reads 9 + 2 + 4, recomputes, writes 9 + 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _check, reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, needs_grad, tl, use_kernels
from ._math import load, sigmoid, sigmoid_slope, tile
from .reference import LSTMUpdate


@jit
def _scale(re, im):  # type: ignore[no-untyped-def]
    """`1 / max(1, |z|)`."""
    return 1.0 / tl.sqrt(tl.maximum(re * re + im * im, 1.0))


@jit
def _bound_slope(re, im, d_re, d_im):  # type: ignore[no-untyped-def]
    """Gradient before `bnd(z)`: unchanged inside the circle; outside, its tangential part over `|z|`."""
    s = _scale(re, im)
    u_re = re * s
    u_im = im * s
    radial = tl.where(re * re + im * im >= 1.0, u_re * d_re + u_im * d_im, 0.0)
    return s * (d_re - radial * u_re), s * (d_im - radial * u_im)


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, c, h_out, c_out, kept, rows, inner,
    HIDDEN: tl.constexpr, STATE: tl.constexpr, KEEP: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    wide = row * 9 * inner + column
    f = load(gates, wide, mask)
    i = load(gates, wide + inner, mask)
    o = load(gates, wide + 2 * inner, mask)
    j_re = load(gates, wide + 3 * inner, mask)
    j_im = load(gates, wide + 4 * inner, mask)
    a_re = load(gates, wide + 5 * inner, mask)
    a_im = load(gates, wide + 6 * inner, mask)
    q_re = load(gates, wide + 7 * inner, mask)
    q_im = load(gates, wide + 8 * inner, mask)
    if HIDDEN:
        f += load(hidden, wide, mask)
        i += load(hidden, wide + inner, mask)
        o += load(hidden, wide + 2 * inner, mask)
        j_re += load(hidden, wide + 3 * inner, mask)
        j_im += load(hidden, wide + 4 * inner, mask)
        a_re += load(hidden, wide + 5 * inner, mask)
        a_im += load(hidden, wide + 6 * inner, mask)
        q_re += load(hidden, wide + 7 * inner, mask)
        q_im += load(hidden, wide + 8 * inner, mask)
    if KEEP:
        tl.store(kept + wide, f, mask)
        tl.store(kept + wide + inner, i, mask)
        tl.store(kept + wide + 2 * inner, o, mask)
        tl.store(kept + wide + 3 * inner, j_re, mask)
        tl.store(kept + wide + 4 * inner, j_im, mask)
        tl.store(kept + wide + 5 * inner, a_re, mask)
        tl.store(kept + wide + 6 * inner, a_im, mask)
        tl.store(kept + wide + 7 * inner, q_re, mask)
        tl.store(kept + wide + 8 * inner, q_im, mask)
    at = row * 2 * inner + column
    write = sigmoid(i) * _scale(j_re, j_im) * _scale(a_re, a_im)
    c_re = write * (a_re * j_re - a_im * j_im)
    c_im = write * (a_re * j_im + a_im * j_re)
    if STATE:
        keep = sigmoid(f)
        c_re += keep * load(c, at, mask)
        c_im += keep * load(c, at + inner, mask)
    tl.store(c_out + at, c_re, mask)
    tl.store(c_out + at + inner, c_im, mask)
    s = _scale(q_re, q_im)
    m_re = s * (q_re * c_re - q_im * c_im)
    m_im = s * (q_re * c_im + q_im * c_re)
    read = sigmoid(o) * _scale(m_re, m_im)
    tl.store(h_out + at, read * m_re, mask)
    tl.store(h_out + at + inner, read * m_im, mask)


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gates, c, grad_h, grad_out, grad_c, grad_gates, grad_old_c, rows, inner,
    STATE: tl.constexpr, GRAD_H: tl.constexpr, GRAD_OUT: tl.constexpr, GRAD_C: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * 2 * inner + column
    wide = row * 9 * inner + column
    # bnd(r_i) bnd(j), the new cell c'
    i = sigmoid(load(gates, wide + inner, mask))
    j_re = load(gates, wide + 3 * inner, mask)
    j_im = load(gates, wide + 4 * inner, mask)
    a_re = load(gates, wide + 5 * inner, mask)
    a_im = load(gates, wide + 6 * inner, mask)
    s_j = _scale(j_re, j_im)
    s_a = _scale(a_re, a_im)
    p_re = s_a * s_j * (a_re * j_re - a_im * j_im)
    p_im = s_a * s_j * (a_re * j_im + a_im * j_re)
    c_re = i * p_re
    c_im = i * p_im
    zero = tl.zeros_like(c_re)
    if STATE:
        f = sigmoid(load(gates, wide, mask))
        old_re = load(c, at, mask)
        old_im = load(c, at + inner, mask)
        c_re += f * old_re
        c_im += f * old_im
    d_re = zero
    d_im = zero
    if GRAD_C:
        d_re += load(grad_c, at, mask)
        d_im += load(grad_c, at + inner, mask)
    d_o = zero
    dq_re = zero
    dq_im = zero
    if GRAD_H:
        o = sigmoid(load(gates, wide + 2 * inner, mask))
        q_re = load(gates, wide + 7 * inner, mask)
        q_im = load(gates, wide + 8 * inner, mask)
        s = _scale(q_re, q_im)
        m_re = s * (q_re * c_re - q_im * c_im)
        m_im = s * (q_re * c_im + q_im * c_re)
        h_re = load(grad_h, at, mask)
        h_im = load(grad_h, at + inner, mask)
        if GRAD_OUT:
            h_re += load(grad_out, at, mask)
            h_im += load(grad_out, at + inner, mask)
        d_o = sigmoid_slope(_scale(m_re, m_im) * (h_re * m_re + h_im * m_im), o)
        dm_re, dm_im = _bound_slope(m_re, m_im, o * h_re, o * h_im)
        dq_re, dq_im = _bound_slope(q_re, q_im, dm_re * c_re + dm_im * c_im, dm_im * c_re - dm_re * c_im)
        d_re += s * (dm_re * q_re + dm_im * q_im)
        d_im += s * (dm_im * q_re - dm_re * q_im)
    d_f = zero
    if STATE:
        d_f = sigmoid_slope(d_re * old_re + d_im * old_im, f)
        tl.store(grad_old_c + at, f * d_re, mask)
        tl.store(grad_old_c + at + inner, f * d_im, mask)
    tl.store(grad_gates + wide, d_f, mask)
    tl.store(grad_gates + wide + inner, sigmoid_slope(d_re * p_re + d_im * p_im, i), mask)
    tl.store(grad_gates + wide + 2 * inner, d_o, mask)
    d_re *= i
    d_im *= i
    dj_re, dj_im = _bound_slope(j_re, j_im, s_a * (d_re * a_re + d_im * a_im), s_a * (d_im * a_re - d_re * a_im))
    tl.store(grad_gates + wide + 3 * inner, dj_re, mask)
    tl.store(grad_gates + wide + 4 * inner, dj_im, mask)
    da_re, da_im = _bound_slope(a_re, a_im, s_j * (d_re * j_re + d_im * j_im), s_j * (d_im * j_re - d_re * j_im))
    tl.store(grad_gates + wide + 5 * inner, da_re, mask)
    tl.store(grad_gates + wide + 6 * inner, da_im, mask)
    tl.store(grad_gates + wide + 7 * inner, dq_re, mask)
    tl.store(grad_gates + wide + 8 * inner, dq_im, mask)


def _outputs(gates: Tensor, hidden_gates: Tensor | None, keep: bool) -> tuple[Plane, Tensor, Tensor, Tensor]:
    plane = Plane.of(gates, 9)
    units = gates.shape[1] // 9
    kept = plane.empty(gates, 9 * units) if keep and hidden_gates is not None else gates.new_empty(0)
    return plane, plane.empty(gates, 2 * units), plane.empty(gates, 2 * units), kept


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
    plane = Plane.of(gates, 9)
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
    plane = Plane.of(grad_gates, 9)
    launch(
        _backward_kernel, plane, plane.dense(gates), plane.dense(c), plane.dense(grad_h), plane.dense(grad_out),
        plane.dense(grad_c), grad_gates, grad_old_c,
        STATE=c is not None, GRAD_H=grad_h is not None, GRAD_OUT=grad_out is not None, GRAD_C=grad_c is not None,
    )  # fmt: skip


@torch.library.custom_op("rnncomp::associative_lstm_update", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    return _launch_forward(gates, c, hidden_gates, keep)


@torch.library.custom_op("rnncomp::associative_lstm_update_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(gates: Tensor, c: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None) -> tuple[Tensor, Tensor]:
    return _launch_backward(gates, c, grad_h, grad_c)


@torch.library.custom_op(
    "rnncomp::associative_lstm_update_backward_into",
    mutates_args=("grad_gates", "grad_old_c"),
    device_types=DEVICE_TYPES,
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


def associative_lstm_update(gates: Tensor, c: Tensor | None = None, hidden_gates: Tensor | None = None) -> LSTMUpdate:
    """New hidden state and cell, both `(B, 2K, H, W)` as re | im, of an associative LSTM with one copy.

    `gates` (and `hidden_gates`, added to it): `(B, 9K, H, W)`: f, i, o, then j, r_i, r_o as re | im. `c`: `(B, 2K, H,
    W)`; None is zeros. Raises `ValueError` when shapes, dtypes or devices do not fit.
    """
    units = _check.gates_of("associative_lstm_update", gates, 9)[1]
    _check.matches("associative_lstm_update", "c", c, gates, 2 * units)
    _check.matches("associative_lstm_update", "hidden_gates", hidden_gates, gates, 9 * units)
    if not use_kernels(gates):
        return reference.associative_lstm_update(gates, c, hidden_gates)
    h, new_c, _ = _forward(gates, c, hidden_gates, needs_grad(gates, c, hidden_gates))
    return LSTMUpdate(h, new_c)
