"""Weight gradients once a training step: what is left of each iteration's is made when the loop is through.

Autograd makes a weight gradient in every iteration of the loop and adds it to the others. Here an iteration's backward
pass computes only the gradient of its input, and leaves its input and the gradient of its output behind
(`waiting.py`); when the last one is through, one product over the pictures of all iterations makes the gradient of the
weight. A recurrent layer is one node a step (`layer_nodes.py`), any other convolution one by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cells import Cell, Convolve, PaddedConv2d, State
from .layer_nodes import run_layer
from .waiting import Gathered, Waiting, version


class DeferredGradients(Convolve):
    """Runs convolutions and layers with the gradients of weights and biases deferred; one for each training step.

    Inputs and output gradients, `(B, channels, H, W)` each, are kept until the backward pass of the loop has ended.
    First derivatives only. Raises what `conv` and `cell` raise.
    """

    def __init__(self) -> None:
        self._gathered: dict[PaddedConv2d, Gathered] = {}

    def __call__(self, conv: PaddedConv2d, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return conv(x)
        used = self.gathered(conv)
        x = conv.padded(x.to(used.weight.dtype))
        output: Tensor = _Convolution.apply(x, used.weight, used.bias, used.waiting)
        return output.to(conv.weight.dtype)

    def layer(self, cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
        return run_layer(self.gathered, cell, x, state) if torch.is_grad_enabled() else cell.step(x, state)

    def gathered(self, conv: PaddedConv2d) -> Gathered:
        """The weights of a convolution as this step uses them, in the type that autocast wants."""
        kind, dtype = conv.weight.device.type, conv.weight.dtype
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
        used = self._gathered.get(conv)
        if used is None or used.weight.dtype != dtype or used.version != version(conv):
            used = self._gathered[conv] = Gathered.of(conv, dtype)
        return used

    # A copied or stored module is between steps: what waits here belongs to a graph that is not copied.
    def __reduce__(self) -> tuple[type[DeferredGradients], tuple[()]]:
        return DeferredGradients, ()


class _Convolution(torch.autograd.Function):
    """A convolution that hands weight and bias no gradient, but keeps what it would be made of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, waiting: Waiting) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.waiting = waiting
        ctx.set_materialize_grads(False)
        return waiting.convolved(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        if any(ctx.needs_input_grad[1:3]):
            ctx.waiting.add(x, grad)
        return ctx.waiting.passed(x, weight, grad) if ctx.needs_input_grad[0] else None, None, None, None
