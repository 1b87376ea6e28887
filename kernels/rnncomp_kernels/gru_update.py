"""GRU state update (paper, equation 12): `h' = (1 - s(z)) h + s(z) tanh(n)`.

In units of C: forward reads z, n (2), their hidden halves (2) and h (1), writes 1. Backward reads those and the
gradient (6) and writes the gradients of gates (3, r's zeros included), hidden gates (2), candidate (1) and state (1).
Kept for backward: the inputs. A layer's own node (`layer_step.py`) brings a second gradient and has no zeros written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _check, reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, tl, use_kernels
from ._math import load, sigmoid, sigmoid_slope, tanh, tanh_slope, tile


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, candidate, h, out, rows, inner, STATE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    wide = row * 3 * inner + column
    z = load(gates, wide, mask)
    n = load(gates, wide + 2 * inner, mask)
    if STATE:
        z = sigmoid(z + load(hidden, row * 2 * inner + column, mask))
        old = load(h, at, mask)
        new = old + z * (tanh(n + load(candidate, at, mask)) - old)
    else:
        new = sigmoid(z) * tanh(n)
    tl.store(out + at, new, mask)


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gates, hidden, candidate, h, grad, grad_out, grad_gates, grad_hidden, grad_candidate, grad_h, rows, inner,
    STATE: tl.constexpr, GRAD_OUT: tl.constexpr, ZEROS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    wide = row * 3 * inner + column
    wide_hidden = row * 2 * inner + column
    d = load(grad, at, mask)
    if GRAD_OUT:
        d += load(grad_out, at, mask)
    z = load(gates, wide, mask)
    n = load(gates, wide + 2 * inner, mask)
    old = tl.zeros_like(d)
    if STATE:
        z += load(hidden, wide_hidden, mask)
        n += load(candidate, at, mask)
        old = load(h, at, mask)
    z = sigmoid(z)
    n = tanh(n)
    d_z = sigmoid_slope(d * (n - old), z)
    d_n = tanh_slope(d * z, n)
    zero = tl.zeros_like(d)
    tl.store(grad_gates + wide, d_z, mask)
    if ZEROS:
        tl.store(grad_gates + wide + inner, zero, mask)
    tl.store(grad_gates + wide + 2 * inner, d_n, mask)
    if STATE:
        tl.store(grad_hidden + wide_hidden, d_z, mask)
        if ZEROS:
            tl.store(grad_hidden + wide_hidden + inner, zero, mask)
        tl.store(grad_candidate + at, d_n, mask)
        tl.store(grad_h + at, d * (1.0 - z), mask)


def _output(gates: Tensor) -> tuple[Plane, Tensor]:
    plane = Plane.of(gates, 3)
    return plane, plane.empty(gates, gates.shape[1] // 3)


def _launch_forward(gates: Tensor, *state: Tensor | None) -> Tensor:
    plane, out = _output(gates)
    launch(_forward_kernel, plane, plane.dense(gates), *map(plane.dense, state), out, STATE=state[0] is not None)
    return out


def _gradients(gates: Tensor, *state: Tensor | None) -> tuple[Plane, tuple[Tensor, Tensor, Tensor, Tensor]]:
    plane = Plane.of(gates, 3)
    hidden, candidate, h = (gates.new_empty(0) if x is None else plane.empty(x, x.shape[1]) for x in state)
    return plane, (plane.empty(gates, gates.shape[1]), hidden, candidate, h)


def _launch_backward(grad: Tensor, gates: Tensor, *state: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, gradients = _gradients(gates, *state)
    _launch_backward_into(grad, None, (gates, *state), gradients, True)
    return gradients


def _launch_backward_into(
    grad: Tensor, grad_out: Tensor | None, inputs: tuple[Tensor | None, ...], gradients: tuple[Tensor | None, ...],
    zeros: bool,
) -> None:  # fmt: skip
    assert gradients[0] is not None
    plane = Plane.of(gradients[0], 3)
    launch(
        _backward_kernel, plane, *map(plane.dense, inputs), plane.dense(grad), plane.dense(grad_out), *gradients,
        STATE=inputs[1] is not None, GRAD_OUT=grad_out is not None, ZEROS=zeros,
    )  # fmt: skip


@torch.library.custom_op("rnncomp::gru_update", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(gates: Tensor, hidden_gates: Tensor | None, hidden_candidate: Tensor | None, h: Tensor | None) -> Tensor:
    return _launch_forward(gates, hidden_gates, hidden_candidate, h)


@torch.library.custom_op("rnncomp::gru_update_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(
    grad: Tensor, gates: Tensor, hidden_gates: Tensor | None, hidden_candidate: Tensor | None, h: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _launch_backward(grad, gates, hidden_gates, hidden_candidate, h)


@torch.library.custom_op(
    "rnncomp::gru_update_backward_into",
    mutates_args=("grad_gates", "grad_hidden", "grad_candidate", "grad_old_h"), device_types=DEVICE_TYPES,
)  # fmt: skip
def _backward_into(
    grad: Tensor, grad_out: Tensor | None,
    gates: Tensor, hidden_gates: Tensor | None, hidden_candidate: Tensor | None, h: Tensor | None,
    grad_gates: Tensor, grad_hidden: Tensor | None, grad_candidate: Tensor | None, grad_old_h: Tensor | None,
) -> None:  # fmt: skip
    """Without a state the blocks of r are zeros, with one they are left to `gru_reset`."""
    inputs, gradients = (
        (gates, hidden_gates, hidden_candidate, h),
        (grad_gates, grad_hidden, grad_candidate, grad_old_h),
    )
    _launch_backward_into(grad, grad_out, inputs, gradients, h is None)


_forward.register_fake(lambda gates, *others: _output(gates)[1])
_backward.register_fake(lambda grad, *inputs: _gradients(*inputs)[1])
_backward_into.register_fake(lambda *_: None)


def _setup(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple:
    gradients = _backward(grad, *ctx.saved_tensors)
    return gradients if ctx.saved_tensors[1] is not None else (gradients[0], None, None, None)


_forward.register_autograd(_differentiate, setup_context=_setup)


def gru_update(
    gates: Tensor, hidden_gates: Tensor | None = None, hidden_candidate: Tensor | None = None, h: Tensor | None = None
) -> Tensor:
    """The new state `(B, C, H, W)` of a GRU.

    `gates`: `(B, 3C, H, W)`, z, r, n of the input convolution; `hidden_gates`: `(B, 2C, H, W)`, z, r of the hidden
    convolution; `hidden_candidate`: `(B, C, H, W)`, the hidden convolution of `gru_reset`. The last three are given
    together; without them h is zero. Raises `ValueError` when shapes, dtypes or devices do not fit.
    """
    channels = _check.gates_of("gru_update", gates, 3)[1]
    _check.together("gru_update", hidden_gates=hidden_gates, hidden_candidate=hidden_candidate, h=h)
    _check.matches("gru_update", "hidden_gates", hidden_gates, gates, 2 * channels)
    _check.matches("gru_update", "hidden_candidate", hidden_candidate, gates, channels)
    _check.matches("gru_update", "h", h, gates, channels)
    if not use_kernels(gates):
        return reference.gru_update(gates, hidden_gates, hidden_candidate, h)
    return _forward(gates, hidden_gates, hidden_candidate, h)
