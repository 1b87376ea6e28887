"""The gates of one layer's step, for a caller with an autograd node of its own around the whole layer.

Each unit has a forward that also returns what its backward needs, and a backward that takes both gradients of the
output, that of the next layer and that of the next step, and writes one whole gradient for each convolution where it is
told to, in the type that it finds there: nothing is added outside a kernel, and no block of zeros is written. On a CPU
it is `_plain_step.py`; of the associative LSTM it is the reference, and autograd through it. All tensors are `(B,
channels, H, W)`; without a state (None) the layer is at its first step. Nothing is validated: the shapes are those of
the ops whose names the functions have.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _plain_step, reference
from ._launch import use_kernels
from ._plain_step import Alphas, Gradient, Kept
from .gru_reset import gru_reset
from .gru_update import gru_update
from .reference import LSTMUpdate, ResidualGRUUpdate
from .residual_gru_update import residual_gru_update


class GRUGradients(NamedTuple):
    """Gradients of the three convolutions' outputs and of the state. Before `gru_reset_backward` the blocks of r are
    not written, and that of the state is a part."""

    gates: Tensor
    hidden_gates: Gradient
    hidden_candidate: Gradient
    h: Gradient


def _op(name: str) -> Any:
    return importlib.import_module(f"rnncomp_kernels.{name}")


def lstm_forward(name: str, gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None) -> tuple[LSTMUpdate, Kept]:
    """`name` of lstm_update or associative_lstm_update, and what `lstm_backward` is to be given."""
    if use_kernels(gates):
        h, new_c, total = _op(name)._forward(gates, c, hidden_gates, True)
        return LSTMUpdate(h, new_c), (gates if hidden_gates is None else total, c)
    if name == "lstm_update":
        return _plain_step.lstm_forward(gates, c, hidden_gates)
    total = gates if hidden_gates is None else gates + hidden_gates
    return reference.associative_lstm_update(total, c), (total, c)


def lstm_backward(
    name: str, kept: Kept, grad_h: Gradient, grad_out: Gradient, grad_c: Gradient, into: Tensor
) -> Gradient:
    """Writes the gradient of both convolutions' outputs; returns that of the old cell."""
    if grad_h is None:
        grad_h, grad_out = grad_out, None
    gates, c = kept[0], kept[-1]
    assert gates is not None
    if use_kernels(gates):
        grad_old_c = None if c is None else torch.empty_like(c)
        _op(name)._backward_into(gates, c, grad_h, grad_out, grad_c, into, grad_old_c)
        return grad_old_c
    if grad_h is not None and grad_out is not None:
        grad_h = grad_h + grad_out
    if name == "lstm_update":
        return _plain_step.lstm_backward(kept, grad_h, grad_c, into)
    return _associative_through(gates, c, grad_h, grad_c, into)


def gru_reset_forward(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> tuple[Tensor, Kept]:
    """What the candidate's convolution reads, and what `gru_reset_backward` is to be given."""
    if use_kernels(gates):
        return gru_reset(gates, hidden_gates, h), (gates, hidden_gates, h)
    return _plain_step.gru_reset_forward(gates, hidden_gates, h)


def gru_update_forward(
    alphas: Alphas, gates: Tensor, hidden_gates: Tensor | None, candidate: Tensor | None, h: Tensor | None
) -> tuple[ResidualGRUUpdate, Kept]:
    """Of a residual GRU with its `alphas`, or with None of a GRU, whose output is its state; and what
    `gru_update_backward` is to be given."""
    inputs = gates, hidden_gates, candidate, h
    if not use_kernels(gates):
        return _plain_step.gru_update_forward(alphas, *inputs)
    if alphas:
        return residual_gru_update(*inputs, *alphas), inputs
    new = gru_update(*inputs)
    return ResidualGRUUpdate(new, new), inputs


def gru_update_backward(
    alphas: Alphas, kept: Kept, grad_h: Gradient, grad_out: Gradient, into: tuple[Tensor, Gradient, Gradient]
) -> GRUGradients:
    """Both gradients of the output through the update alone, written where those of the three convolutions' outputs
    belong."""
    if not use_kernels(into[0]):
        return GRUGradients(*into, _plain_step.gru_update_backward(alphas, kept, grad_h, grad_out, *into))
    found = GRUGradients(*into, None if kept[3] is None else torch.empty_like(kept[3]))
    if alphas:
        _op("residual_gru_update")._backward_into(grad_h, grad_out, *alphas, *kept, *found)
    else:
        if grad_h is None:
            grad_h, grad_out = grad_out, None
        _op("gru_update")._backward_into(grad_h, grad_out, *kept, *found)
    return found


def gru_reset_backward(kept: Kept, grad: Tensor, into: GRUGradients) -> None:
    """Completes `into` in place by what flows back through `gru_reset`, whose output has gradient `grad`."""
    targets = into.gates, _there(into.hidden_gates), _there(into.h)
    if use_kernels(grad):
        _op("gru_reset")._backward_into(*kept, grad, *targets)
    else:
        _plain_step.gru_reset_backward(kept, grad, *targets)


def _there(x: Tensor | None) -> Tensor:
    assert x is not None
    return x


def _associative_through(total: Tensor, c: Tensor | None, grad_h: Gradient, grad_c: Gradient, into: Tensor) -> Gradient:
    """Gradients of the gates' sum and of the old cell, by running the reference again."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in (total, c) if x is not None]
        outputs = reference.associative_lstm_update(*leaves)
        asked = [(output, grad) for output, grad in zip(outputs, (grad_h, grad_c), strict=True) if grad is not None]
        wanted, above = zip(*asked, strict=True)
        found = torch.autograd.grad(wanted, leaves, above, materialize_grads=True)
    into.copy_(found[0])
    return found[1] if len(found) > 1 else None
