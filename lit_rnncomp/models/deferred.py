"""Weight gradients once a training step: what is left of each iteration's is made when the loop is through.

Autograd makes a weight gradient in every iteration of the loop and adds it to the others. Here an iteration's backward
pass computes only the gradient of its input, and leaves its input and the gradient of its output behind; when the last
one is through, one product over the pictures of all iterations makes the gradient of the weight.

    weight -> gather -> convolution of iteration 0, 1, ...

The gather node is the only one between a parameter and its convolutions. Autograd runs it after all of them, so that
a parameter's gradient arrives once and through autograd, as hooks and distributed training need. Under autocast it is
also where a weight is cast, once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .cells import PaddedConv2d, convolve_now


class DeferredGradients:
    """Called as `convolve(conv, x)`, `conv(x)` with the gradients of weight and bias deferred; one for each training
    step.

    Inputs and output gradients, `(B, channels, H, W)` each, are kept until the backward pass of the loop has ended.
    First derivatives only. Raises what `conv` raises.
    """

    def __init__(self) -> None:
        self._layers: dict[PaddedConv2d, _Layer] = {}

    def __call__(self, conv: PaddedConv2d, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return convolve_now(conv, x)
        kind = x.device.type
        dtype = conv.weight.dtype
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
            x = x.to(dtype)
        layer = self._layers.get(conv)
        if layer is None or layer.weight.dtype != dtype or layer.version != _version(conv):
            layer = self._layers[conv] = _Layer.of(conv, dtype)
        output: Tensor = _Convolution.apply(conv.padded(x), layer.weight, layer.bias, layer)
        return output.to(conv.weight.dtype)

    # A copied or stored module is between steps: what waits here belongs to a graph that is not copied.
    def __reduce__(self) -> tuple[type[DeferredGradients], tuple[()]]:
        return DeferredGradients, ()


class _Waiting:
    """Inputs and output gradients of one layer's iterations, by their sizes, of one backward pass."""

    def __init__(self, stride: tuple[int, ...], padding: tuple[int, ...]) -> None:
        self.stride, self.padding = stride, padding
        self._task = -1
        self._pairs: dict[tuple[torch.Size, torch.Size], list[tuple[Tensor, Tensor]]] = {}

    def add(self, x: Tensor, grad: Tensor) -> None:
        # A backward pass that asked for no gradient of a parameter never takes: what it left is dropped.
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task, self._pairs = task, {}
        self._pairs.setdefault((x.shape[1:], grad.shape[1:]), []).append((x, grad))

    def take(self, weight: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        """The gradients of weight and bias where `wanted`, in the type of the convolution; None of what no iteration
        reached."""
        pairs, self._pairs = self._pairs, {}
        if self._task != torch._C._current_graph_task_id():
            return [None, None]
        total: list[Tensor | None] = [None, None]
        for group in pairs.values():
            inputs, grads = (y[0] if len(y) == 1 else torch.cat(y) for y in zip(*group, strict=True))
            found = _gradients(grads, inputs, weight, self.stride, self.padding, [False, *wanted])[1:]
            total = [new if old is None or new is None else old + new for old, new in zip(total, found, strict=True)]
        return total


class _Layer(NamedTuple):
    """What all iterations share: weight and bias behind the gather node, and what waits for it."""

    weight: Tensor
    bias: Tensor | None
    waiting: _Waiting
    version: tuple[int, ...]

    @classmethod
    def of(cls, conv: PaddedConv2d, dtype: torch.dtype) -> _Layer:
        assert isinstance(conv.padding, tuple)
        waiting = _Waiting(conv.stride, conv.padding)
        weight, bias = _Gather.apply(conv.weight, conv.bias, dtype, waiting)
        return cls(weight, bias, waiting, _version(conv))


def _version(conv: PaddedConv2d) -> tuple[int, ...]:
    """Changes when weight or bias do, or what of them is trained: then they are gathered anew."""
    return tuple(n for p in (conv.weight, conv.bias) if p is not None for n in (id(p), p._version, p.requires_grad))


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], wanted: list[bool]
) -> list[Tensor | None]:
    """The gradients of a convolution's input, weight and bias, where `wanted`."""
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, [weight.shape[0]], stride, padding, (1, 1), False, (0, 0), 1, wanted
    )
    return [gradient if asked else None for gradient, asked in zip(found, wanted, strict=True)]


def _in_type(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Another tensor, of the same memory where the type is the same."""
    return parameter.view_as(parameter) if parameter.dtype == dtype else parameter.to(dtype)


class _Gather(torch.autograd.Function):
    """Weight and bias in the type they are used in. Its backward pass runs after those of all their uses.

    It saves no tensors, so that the segments of a truncated step can pass through it one after the other.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, waiting: _Waiting
    ) -> tuple[Tensor, Tensor | None]:
        ctx.waiting, ctx.dtype = waiting, weight.dtype
        ctx.set_materialize_grads(False)
        used = _in_type(weight, dtype)
        ctx.like = used.detach()  # for its sizes and type
        return used, None if bias is None else _in_type(bias, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        found = ctx.waiting.take(ctx.like, list(ctx.needs_input_grad[:2]))
        weight, bias = (None if gradient is None else gradient.to(ctx.dtype) for gradient in found)
        return weight, bias, None, None


class _Convolution(torch.autograd.Function):
    """A convolution that hands weight and bias no gradient, but keeps what it would be made of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: _Layer) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.waiting = layer.waiting
        ctx.set_materialize_grads(False)
        return torch.conv2d(x, weight, bias, layer.waiting.stride, layer.waiting.padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        if any(ctx.needs_input_grad[1:3]):
            ctx.waiting.add(x, grad)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        waiting = ctx.waiting
        return _gradients(grad, x, weight, waiting.stride, waiting.padding, [True, False, False])[0], None, None, None
