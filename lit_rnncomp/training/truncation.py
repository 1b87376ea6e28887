"""Truncated back-propagation in the memory of one segment, as one differentiable number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def sum_of_segments(losses: Iterator[Tensor], module: nn.Module) -> Tensor:
    """The sum of losses that share no graph, differentiable in the parameters of `module`.

    Each is differentiated as soon as it is there, so that its activations are gone when the next is asked for. The gradients wait in
    the result; its backward pass multiplies them by what comes from above and hands them to the parameters, so loss scaling, gradient
    accumulation, and the hooks of distributed training work as ever.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    return _Sum.apply(losses, parameters, *parameters)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Iterator[Tensor], wanted: list[Tensor], *parameters: Tensor) -> Tensor:
        total = torch.zeros((), device=parameters[0].device)
        gradients: list[Tensor | None] = [None] * len(wanted)
        with torch.enable_grad():
            for loss in losses:
                found = torch.autograd.grad(loss, wanted, allow_unused=True)
                gradients = [new if old is None else old if new is None else old + new for old, new in zip(gradients, found, strict=True)]
                total = total + loss.detach()
                del loss, found
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Any, ...]:
        return None, None, *(None if gradient is None else gradient * above for gradient in ctx.gradients)
