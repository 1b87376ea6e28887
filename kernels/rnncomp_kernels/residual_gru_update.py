"""Residual GRU update (paper, equations 14-15), new state and layer output in one pass.

`h' = (1 - s(z)) h + s(z) tanh(n) + alpha_h W_h h`, `out = h' + alpha_x W_ox x`. In units of C: forward reads z, n and
`W_ox x` (3), their hidden halves and `W_h h` (3) and h (1), writes 2. Backward reads z, n, their hidden halves, h and
two gradients (7) and writes the gradients of gates (4, r's zeros included), hidden gates (3), candidate (1) and state
(1). Kept for backward: the inputs. A layer's own node (`layer_step.py`) has no zeros written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _check, reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, tl, use_kernels
from ._math import load, sigmoid, sigmoid_slope, tanh, tanh_slope, tile
from .reference import ResidualGRUUpdate


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, candidate, h, new_h, out, rows, inner, alpha_h, alpha_x,
    STATE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    wide = row * 4 * inner + column
    wide_hidden = row * 3 * inner + column
    z = load(gates, wide, mask)
    n = load(gates, wide + 2 * inner, mask)
    if STATE:
        z = sigmoid(z + load(hidden, wide_hidden, mask))
        old = load(h, at, mask)
        new = (
            old
            + z * (tanh(n + load(candidate, at, mask)) - old)
            + alpha_h * load(hidden, wide_hidden + 2 * inner, mask)
        )
    else:
        new = sigmoid(z) * tanh(n)
    tl.store(new_h + at, new, mask)
    tl.store(out + at, new + alpha_x * load(gates, wide + 3 * inner, mask), mask)


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, candidate, h, grad_new_h, grad_out, grad_gates, grad_hidden, grad_candidate, grad_h, rows, inner,
    alpha_h, alpha_x,
    STATE: tl.constexpr, GRAD_H: tl.constexpr, GRAD_OUT: tl.constexpr, ZEROS: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    wide = row * 4 * inner + column
    wide_hidden = row * 3 * inner + column
    z = load(gates, wide, mask)
    n = load(gates, wide + 2 * inner, mask)
    zero = tl.zeros_like(z)
    old = zero
    if STATE:
        z += load(hidden, wide_hidden, mask)
        n += load(candidate, at, mask)
        old = load(h, at, mask)
    z = sigmoid(z)
    n = tanh(n)
    d = zero
    d_out = zero
    if GRAD_OUT:
        d_out = load(grad_out, at, mask)
        d += d_out
    if GRAD_H:
        d += load(grad_new_h, at, mask)
    d_z = sigmoid_slope(d * (n - old), z)
    d_n = tanh_slope(d * z, n)
    tl.store(grad_gates + wide, d_z, mask)
    if ZEROS:
        tl.store(grad_gates + wide + inner, zero, mask)
    tl.store(grad_gates + wide + 2 * inner, d_n, mask)
    tl.store(grad_gates + wide + 3 * inner, alpha_x * d_out, mask)
    if STATE:
        tl.store(grad_hidden + wide_hidden, d_z, mask)
        if ZEROS:
            tl.store(grad_hidden + wide_hidden + inner, zero, mask)
        tl.store(grad_hidden + wide_hidden + 2 * inner, alpha_h * d, mask)
        tl.store(grad_candidate + at, d_n, mask)
        tl.store(grad_h + at, d * (1.0 - z), mask)


def _outputs(gates: Tensor) -> tuple[Plane, Tensor, Tensor]:
    plane = Plane.of(gates, 4)
    channels = gates.shape[1] // 4
    return plane, plane.empty(gates, channels), plane.empty(gates, channels)


def _launch_forward(alpha_h: float, alpha_x: float, gates: Tensor, *state: Tensor | None) -> tuple[Tensor, Tensor]:
    plane, new_h, out = _outputs(gates)
    launch(
        _forward_kernel, plane, plane.dense(gates), *map(plane.dense, state), new_h, out,
        alpha_h=alpha_h, alpha_x=alpha_x, STATE=state[0] is not None,
    )  # fmt: skip
    return new_h, out


def _gradients(gates: Tensor, *state: Tensor | None) -> tuple[Plane, tuple[Tensor, Tensor, Tensor, Tensor]]:
    plane = Plane.of(gates, 4)
    hidden, candidate, h = (gates.new_empty(0) if x is None else plane.empty(x, x.shape[1]) for x in state)
    return plane, (plane.empty(gates, gates.shape[1]), hidden, candidate, h)


def _launch_backward(
    grad_h: Tensor | None, grad_out: Tensor | None, alpha_h: float, alpha_x: float, gates: Tensor, *state: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    _, gradients = _gradients(gates, *state)
    _launch_backward_into(grad_h, grad_out, alpha_h, alpha_x, (gates, *state), gradients, True)
    return gradients


def _launch_backward_into(
    grad_h: Tensor | None, grad_out: Tensor | None, alpha_h: float, alpha_x: float,
    inputs: tuple[Tensor | None, ...], gradients: tuple[Tensor | None, ...], zeros: bool,
) -> None:  # fmt: skip
    assert gradients[0] is not None
    plane = Plane.of(gradients[0], 4)
    launch(
        _backward_kernel, plane, *map(plane.dense, inputs), plane.dense(grad_h), plane.dense(grad_out), *gradients,
        alpha_h=alpha_h, alpha_x=alpha_x, STATE=inputs[1] is not None, GRAD_H=grad_h is not None,
        GRAD_OUT=grad_out is not None, ZEROS=zeros,
    )  # fmt: skip


@torch.library.custom_op("rnncomp::residual_gru_update", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(
    gates: Tensor,
    hidden_gates: Tensor | None,
    hidden_candidate: Tensor | None,
    h: Tensor | None,
    alpha_h: float,
    alpha_x: float,
) -> tuple[Tensor, Tensor]:
    return _launch_forward(alpha_h, alpha_x, gates, hidden_gates, hidden_candidate, h)


@torch.library.custom_op("rnncomp::residual_gru_update_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(
    grad_h: Tensor | None, grad_out: Tensor | None, gates: Tensor,
    hidden_gates: Tensor | None, hidden_candidate: Tensor | None, h: Tensor | None, alpha_h: float, alpha_x: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return _launch_backward(grad_h, grad_out, alpha_h, alpha_x, gates, hidden_gates, hidden_candidate, h)


@torch.library.custom_op(
    "rnncomp::residual_gru_update_backward_into",
    mutates_args=("grad_gates", "grad_hidden", "grad_candidate", "grad_old_h"), device_types=DEVICE_TYPES,
)  # fmt: skip
def _backward_into(
    grad_h: Tensor | None, grad_out: Tensor | None, alpha_h: float, alpha_x: float,
    gates: Tensor, hidden_gates: Tensor | None, hidden_candidate: Tensor | None, h: Tensor | None,
    grad_gates: Tensor, grad_hidden: Tensor | None, grad_candidate: Tensor | None, grad_old_h: Tensor | None,
) -> None:  # fmt: skip
    """Without a state the blocks of r are zeros, with one they are left to `gru_reset`."""
    inputs, gradients = (
        (gates, hidden_gates, hidden_candidate, h),
        (grad_gates, grad_hidden, grad_candidate, grad_old_h),
    )
    _launch_backward_into(grad_h, grad_out, alpha_h, alpha_x, inputs, gradients, h is None)


_forward.register_fake(lambda gates, *others: _outputs(gates)[1:])
_backward.register_fake(lambda grad_h, grad_out, *inputs: _gradients(*inputs[:4])[1])


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.set_materialize_grads(False)
    ctx.alphas = inputs[4:]


def _differentiate(ctx: Any, grad_h: Tensor | None, grad_out: Tensor | None) -> tuple:
    if grad_h is None and grad_out is None:
        return (None,) * 6
    gradients = _backward(grad_h, grad_out, *ctx.saved_tensors, *ctx.alphas)
    if ctx.saved_tensors[1] is None:
        return gradients[0], None, None, None, None, None
    return *gradients, None, None


_forward.register_autograd(_differentiate, setup_context=_setup)


def residual_gru_update(
    gates: Tensor,
    hidden_gates: Tensor | None = None,
    hidden_candidate: Tensor | None = None,
    h: Tensor | None = None,
    alpha_h: float = 0.1,
    alpha_x: float = 0.1,
) -> ResidualGRUUpdate:
    """New state and layer output, both `(B, C, H, W)`, of the paper's residual GRU.

    `gates`: `(B, 4C, H, W)`, z, r, n and `W_ox x` of the input convolution; `hidden_gates`: `(B, 3C, H, W)`, z, r and
    `W_h h` of the hidden convolution; `hidden_candidate`: `(B, C, H, W)`, the hidden convolution of `gru_reset`. The
    last three are given together; without them h is zero. Raises `ValueError` when shapes, dtypes or devices do not
    fit.
    """
    channels = _check.gates_of("residual_gru_update", gates, 4)[1]
    _check.together("residual_gru_update", hidden_gates=hidden_gates, hidden_candidate=hidden_candidate, h=h)
    _check.matches("residual_gru_update", "hidden_gates", hidden_gates, gates, 3 * channels)
    _check.matches("residual_gru_update", "hidden_candidate", hidden_candidate, gates, channels)
    _check.matches("residual_gru_update", "h", h, gates, channels)
    if not use_kernels(gates):
        return reference.residual_gru_update(gates, hidden_gates, hidden_candidate, h, alpha_h, alpha_x)
    return ResidualGRUUpdate(*_forward(gates, hidden_gates, hidden_candidate, h, alpha_h, alpha_x))
