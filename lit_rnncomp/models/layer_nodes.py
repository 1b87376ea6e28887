"""One autograd node for each recurrent layer and step: what a step of the loop records where gradients are deferred.

A node keeps the inputs of its convolutions. In its backward pass it makes the gradients of their outputs, each whole
and by kernels alone, and from them what goes on to the layer before and to the step before; the weights' gradients
wait (`waiting.py`). Output and state are two results, though their values may be one tensor, so that both gradients
reach the gates' kernel and nothing adds them before.

Convolutions run in the type of their weights, gates and states in that of the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnncomp_kernels import layer_step

from .cells import AssociativeConvLSTM, Cell, ConvGRU, ConvLSTM, PaddedConv2d, ResidualConvGRU, State
from .config import ALPHA
from .waiting import Gathered, Waiting

Maybe = Tensor | None


class Layer(NamedTuple):
    """What a node knows beside its tensors: its gates' type, and what waits for each convolution's gradients."""

    dtype: torch.dtype
    input: Waiting
    hidden: Waiting | None
    candidate: Waiting | None = None


def run_layer(
    gathered: Callable[[PaddedConv2d], Gathered], cell: Cell, x: Tensor, state: State
) -> tuple[Tensor, State]:
    """`cell(x, state)` as one node. `gathered`: the weights that this training step uses for a convolution."""
    dtype = cell.input_conv.weight.dtype
    first = gathered(cell.input_conv)
    x = cell.input_conv.padded(x.to(first.weight.dtype))
    hidden = None if state is None else gathered(cell.hidden_conv)
    if isinstance(cell, (ConvLSTM, AssociativeConvLSTM)):
        assert state is None or isinstance(state, tuple)
        update = "lstm_update" if isinstance(cell, ConvLSTM) else "associative_lstm_update"
        layer = Layer(dtype, first.waiting, hidden and hidden.waiting)
        out, h, c = _LSTMStep.apply(
            update, layer, x, *(state or (None, None)), first.weight, first.bias, hidden and hidden.weight
        )
        return out, (h, c)
    assert isinstance(cell, (ConvGRU, ResidualConvGRU))
    candidate = None if state is None else gathered(cell.candidate_conv)
    layer = Layer(dtype, first.waiting, hidden and hidden.waiting, candidate and candidate.waiting)
    out, h = _GRUStep.apply(
        isinstance(cell, ResidualConvGRU), layer, x, state,
        first.weight, first.bias, hidden and hidden.weight, candidate and candidate.weight,
    )  # fmt: skip
    return out, h


class _LSTMStep(torch.autograd.Function):
    """`(out, h, c)`, out and h of one value, of an LSTM or associative LSTM."""

    @staticmethod
    def forward(
        ctx: Any, update: str, layer: Layer, x: Tensor, h: Maybe, c: Maybe,
        weight: Tensor, bias: Maybe, hidden_weight: Maybe,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        ctx.set_materialize_grads(False)
        gates = layer.input.convolved(x, weight, bias).to(layer.dtype)
        hidden_gates = None
        if h is not None:
            assert layer.hidden is not None and hidden_weight is not None
            h = h.to(weight.dtype)
            hidden_gates = layer.hidden.convolved(h, hidden_weight, None).to(layer.dtype)
        new, kept = layer_step.lstm_forward(update, gates, c, hidden_gates)
        ctx.update, ctx.layer = update, layer
        ctx.save_for_backward(x, h, weight, hidden_weight, *kept)
        return new.h, new.h.detach(), new.c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Maybe, grad_h: Maybe, grad_c: Maybe) -> tuple[Maybe, ...]:
        if grad_out is None and grad_h is None and grad_c is None:
            return (None,) * 8
        x, h, weight, hidden_weight, *kept = ctx.saved_tensors
        layer, needs = ctx.layer, ctx.needs_input_grad
        grad_gates = layer.input.room(kept[0], weight)
        grad_c = layer_step.lstm_backward(ctx.update, tuple(kept), grad_h, grad_out, grad_c, grad_gates)
        grad_x = _back(layer.input, x, weight, grad_gates, needs[2], any(needs[5:7]))
        grad_h = None
        if h is not None:
            grad_h = _back(layer.hidden, h, hidden_weight, grad_gates, needs[3], needs[7])
            grad_h = None if grad_h is None else grad_h.to(layer.dtype)
        return None, None, grad_x, grad_h, grad_c, None, None, None


class _GRUStep(torch.autograd.Function):
    """`(out, h)` of a GRU, where both are one value, or of a residual GRU."""

    @staticmethod
    def forward(
        ctx: Any, residual: bool, layer: Layer, x: Tensor, h: Maybe,
        weight: Tensor, bias: Maybe, hidden_weight: Maybe, candidate_weight: Maybe,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.set_materialize_grads(False)
        gates = layer.input.convolved(x, weight, bias).to(layer.dtype)
        hidden_gates = candidate = narrow = reset = None
        kept_reset: tuple[Maybe, ...] = ()
        if h is not None:
            assert layer.hidden is not None and layer.candidate is not None
            assert hidden_weight is not None and candidate_weight is not None
            narrow = h.to(weight.dtype)
            hidden_gates = layer.hidden.convolved(narrow, hidden_weight, None).to(layer.dtype)
            reset, kept_reset = layer_step.gru_reset_forward(gates, hidden_gates, h)
            reset = reset.to(weight.dtype)
            candidate = layer.candidate.convolved(reset, candidate_weight, None).to(layer.dtype)
        ctx.alphas, ctx.layer = (ALPHA, ALPHA) if residual else None, layer
        new, kept = layer_step.gru_update_forward(ctx.alphas, gates, hidden_gates, candidate, h)
        ctx.save_for_backward(x, narrow, reset, weight, hidden_weight, candidate_weight, *kept, *kept_reset)
        return (new.out, new.h) if residual else (new.out, new.h.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Maybe, grad_h: Maybe) -> tuple[Maybe, ...]:
        if grad_out is None and grad_h is None:
            return (None,) * 8
        x, narrow, reset, weight, hidden_weight, candidate_weight, *kept = ctx.saved_tensors
        layer, needs = ctx.layer, ctx.needs_input_grad
        into = layer.input.room(kept[0], weight), None, None
        if narrow is not None:
            into = into[0], layer.hidden.room(kept[0], hidden_weight), layer.candidate.room(kept[0], candidate_weight)
        found = layer_step.gru_update_backward(ctx.alphas, tuple(kept[:4]), grad_h, grad_out, into)
        grad_h = None
        if narrow is not None:
            assert found.hidden_gates is not None and found.hidden_candidate is not None and found.h is not None
            grad_reset = _back(layer.candidate, reset, candidate_weight, found.hidden_candidate, True, needs[7])
            assert grad_reset is not None
            layer_step.gru_reset_backward(tuple(kept[4:]), grad_reset.to(layer.dtype), found)
            through = _back(layer.hidden, narrow, hidden_weight, found.hidden_gates, needs[3], needs[6])
            grad_h = None if through is None else found.h.add_(through)
        grad_x = _back(layer.input, x, weight, found.gates, needs[2], any(needs[4:6]))
        return None, None, grad_x, grad_h, None, None, None, None


def _back(waiting: Waiting, x: Tensor, weight: Tensor, grad: Tensor, passed: bool, wanted: bool) -> Maybe:
    """The gradient of a convolution's input, where `passed`; what the weights' is made of waits, where `wanted`."""
    if wanted:
        waiting.add(x, grad)
    return waiting.passed(x, weight, grad) if passed else None
