"""Weights whose gradients are made once a training step: what each iteration leaves for them, and when it is taken.

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

from .cells import PaddedConv2d


class Waiting:
    """A convolution's sizes, and the inputs and output gradients of its iterations, of one backward pass."""

    def __init__(self, stride: tuple[int, ...], padding: tuple[int, ...]) -> None:
        self.stride, self.padding = stride, padding
        self._task = -1
        self._pairs: dict[tuple[torch.Size, torch.Size], list[tuple[Tensor, Tensor]]] = {}
        self._uses = 0
        self._room: list[Tensor] = []

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution itself."""
        self._uses += 1
        return torch.conv2d(x, weight, bias, self.stride, self.padding)

    def room(self, like: Tensor, weight: Tensor) -> Tensor:
        """Where an iteration's backward pass may write the gradient of this convolution's output, in the type of
        `weight`, with the pictures, the size and the memory format of `like`.

        All iterations write into one tensor, one behind the other, so that nothing has to be joined later.
        """
        self._begin()
        size = (len(like), len(weight), *like.shape[2:])
        if not self._room or self._room[-1].shape != size or self._room[-1].dtype != weight.dtype:
            last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
            whole = torch.empty(
                (max(self._uses, 1) * size[0], *size[1:]), dtype=weight.dtype, device=like.device,
                memory_format=torch.channels_last if last else torch.contiguous_format,
            )  # fmt: skip
            self._uses, self._room = 0, list(whole.split(size[0]))[::-1]
        return self._room.pop()

    def passed(self, x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
        """The gradient of `x`, from that of the output; all of one type."""
        found = self._gradients(grad, x, weight, [True, False, False])[0]
        assert found is not None
        return found

    def add(self, x: Tensor, grad: Tensor) -> None:
        """Leaves an iteration's input and output gradient behind."""
        self._begin()
        self._pairs.setdefault((x.shape[1:], grad.shape[1:]), []).append((x, grad))

    def take(self, weight: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        """The gradients of weight and bias where `wanted`, in the type of the convolution; None of what no iteration
        reached."""
        pairs, self._pairs, self._uses, self._room = self._pairs, {}, 0, []
        if self._task != torch._C._current_graph_task_id():
            return [None, None]
        total: list[Tensor | None] = [None, None]
        for group in pairs.values():
            inputs, grads = (_joined(y) for y in zip(*group, strict=True))
            found = self._gradients(grads, inputs, weight, [False, *wanted])[1:]
            total = [new if old is None or new is None else old + new for old, new in zip(total, found, strict=True)]
        return total

    def _begin(self) -> None:
        """Drops what is left of a backward pass that asked for no gradient of a parameter, and so never took it."""
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task, self._pairs, self._room = task, {}, []

    def _gradients(self, grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> list[Tensor | None]:
        """The gradients of input, weight and bias, where `wanted`."""
        found = torch.ops.aten.convolution_backward(
            grad, x, weight, [weight.shape[0]], self.stride, self.padding, (1, 1), False, (0, 0), 1, wanted
        )
        return [gradient if asked else None for gradient, asked in zip(found, wanted, strict=True)]


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    """All of them as one batch: without a copy where each begins where the one before ends."""
    first = parts[0]
    pictures = sum(map(len, parts))
    adjacent = all(
        part.untyped_storage()._cdata == first.untyped_storage()._cdata
        and (part.stride(), part.dtype) == (first.stride(), first.dtype)
        and part.storage_offset() == first.storage_offset() + i * first.numel()
        for i, part in enumerate(parts)
    )
    if adjacent and first.numel() == len(first) * first.stride(0):
        return first.as_strided((pictures, *first.shape[1:]), first.stride(), first.storage_offset())
    return torch.cat(parts)


class Gathered(NamedTuple):
    """What all iterations of a convolution share: weight and bias behind the gather node, and what waits for it."""

    weight: Tensor
    bias: Tensor | None
    waiting: Waiting
    version: tuple[int, ...]

    @classmethod
    def of(cls, conv: PaddedConv2d, dtype: torch.dtype) -> Gathered:
        assert isinstance(conv.padding, tuple)
        waiting = Waiting(conv.stride, conv.padding)
        weight, bias = _Gather.apply(conv.weight, conv.bias, dtype, waiting)
        return cls(weight, bias, waiting, version(conv))


def version(conv: PaddedConv2d) -> tuple[int, ...]:
    """Changes when weight or bias do, or what of them is trained: then they are gathered anew."""
    return tuple(n for p in (conv.weight, conv.bias) if p is not None for n in (id(p), p._version, p.requires_grad))


def _in_type(parameter: Tensor, dtype: torch.dtype) -> Tensor:
    """Another tensor, of the same memory where the type is the same."""
    return parameter.view_as(parameter) if parameter.dtype == dtype else parameter.to(dtype)


class _Gather(torch.autograd.Function):
    """Weight and bias in the type they are used in. Its backward pass runs after those of all their uses.

    It saves no tensors, so that the segments of a truncated step can pass through it one after the other.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, waiting: Waiting
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
