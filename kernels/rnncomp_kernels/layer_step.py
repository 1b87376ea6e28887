"""The gates of one layer's step, for a caller with an autograd node of its own around the whole layer.

Each unit has a forward that also returns what its backward needs, and a backward that takes both gradients of the
output, that of the next layer and that of the next step, and hands out one whole gradient for each convolution: nothing
is added outside a kernel, and no block of zeros is written. On a CPU the reference runs, and autograd through it.
All tensors are `(B, channels, H, W)`; without a state (None) the layer is at its first step. Nothing is validated: the
shapes are those of the ops whose names the functions have.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import reference
from ._launch import use_kernels
from .reference import LSTMUpdate

Gradient = Tensor | None


class GRUGradients(NamedTuple):
    """Gradients of the three convolutions' outputs and of the state. Before `gru_reset_backward` the blocks of r are
    not written, and that of the state is a part."""

    gates: Tensor
    hidden_gates: Gradient
    hidden_candidate: Gradient
    h: Gradient


def _op(name: str) -> Any:
    return importlib.import_module(f"rnncomp_kernels.{name}")


def lstm_forward(
    name: str, gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None
) -> tuple[LSTMUpdate, tuple[Tensor, Tensor | None]]:
    """`name` of lstm_update or associative_lstm_update, and what `lstm_backward` is to be given."""
    if not use_kernels(gates):
        total = gates if hidden_gates is None else gates + hidden_gates
        return getattr(reference, name)(total, c), (total, c)
    h, new_c, total = _op(name)._forward(gates, c, hidden_gates, True)
    return LSTMUpdate(h, new_c), (gates if hidden_gates is None else total, c)


def lstm_backward(
    name: str, kept: tuple[Tensor, Tensor | None], grad_h: Gradient, grad_out: Gradient, grad_c: Gradient
) -> tuple[Tensor, Gradient]:
    """The gradient of both convolutions' outputs, and that of the old cell."""
    gates, c = kept
    if grad_h is None:
        grad_h, grad_out = grad_out, None
    if not use_kernels(gates):
        if grad_h is not None and grad_out is not None:
            grad_h = grad_h + grad_out
        grad_gates, grad_old_c = _through(lambda *x: tuple(getattr(reference, name)(*x)), kept, (grad_h, grad_c))
        assert grad_gates is not None
        return grad_gates, grad_old_c
    grad_gates, grad_old_c = _op(name)._backward(gates, c, grad_h, grad_c, grad_out)
    return grad_gates, None if c is None else grad_old_c


def gru_update_backward(
    kept: tuple[Tensor, Gradient, Gradient, Gradient], grad_h: Gradient, grad_out: Gradient
) -> GRUGradients:
    """Of a GRU, whose output is its state. `kept`: the inputs of `gru_update`."""
    if grad_h is None:
        grad_h, grad_out = grad_out, None
    assert grad_h is not None
    first = kept[1] is None
    if not use_kernels(kept[0]):
        total = grad_h if grad_out is None else grad_h + grad_out
        return _gru_through(lambda *x: (reference.gru_update(*x),), kept, (total,))
    return _gru_gradients(_op("gru_update")._backward(grad_h, *kept, grad_out, first), first)


def residual_gru_update_backward(
    kept: tuple[Tensor, Gradient, Gradient, Gradient],
    grad_h: Gradient,
    grad_out: Gradient,
    alpha_h: float,
    alpha_x: float,
) -> GRUGradients:
    """Of the paper's residual GRU. `kept`: the inputs of `residual_gru_update`."""
    first = kept[1] is None
    if not use_kernels(kept[0]):

        def update(*x: Tensor | None) -> tuple[Tensor, Tensor]:
            return tuple(reference.residual_gru_update(*x, alpha_h=alpha_h, alpha_x=alpha_x))  # type: ignore

        return _gru_through(update, kept, (grad_h, grad_out))
    found = _op("residual_gru_update")._backward(grad_h, grad_out, *kept, alpha_h, alpha_x, first)
    return _gru_gradients(found, first)


def gru_reset_backward(gates: Tensor, hidden_gates: Tensor, h: Tensor, grad: Tensor, into: GRUGradients) -> None:
    """Completes `into` in place by what flows back through `gru_reset`, whose output has gradient `grad`."""
    assert into.hidden_gates is not None and into.h is not None
    if use_kernels(gates):
        _op("gru_reset")._backward_into(gates, hidden_gates, h, grad, into.gates, into.hidden_gates, into.h)
        return
    found = _through(lambda *x: (reference.gru_reset(*x),), (gates, hidden_gates, h), (grad,))
    for total, part in zip((into.gates, into.hidden_gates, into.h), found, strict=True):
        assert part is not None
        total += part


def _gru_gradients(found: tuple[Tensor, Tensor, Tensor, Tensor], first: bool) -> GRUGradients:
    return GRUGradients(found[0], None, None, None) if first else GRUGradients(*found)


def _gru_through(function: Callable, inputs: tuple, grads: tuple[Gradient, ...]) -> GRUGradients:
    return GRUGradients(*_through(function, inputs, grads))  # type: ignore[arg-type]


def _through(function: Callable, inputs: tuple, grads: tuple[Gradient, ...]) -> tuple[Gradient, ...]:
    """Gradients of a reference's inputs, by running it again; None of those that are None."""
    with torch.enable_grad():
        leaves = [None if x is None else x.detach().requires_grad_() for x in inputs]
        outputs = function(*leaves)
        asked = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
        found = iter(
            torch.autograd.grad(
                [output for output, _ in asked],
                [x for x in leaves if x is not None],
                [grad for _, grad in asked],
                materialize_grads=True,
            )
        )
    return tuple(None if x is None else next(found) for x in leaves)
