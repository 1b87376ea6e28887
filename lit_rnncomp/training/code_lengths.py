"""What ternary codes cost: as many bits as an adaptive arithmetic coder writes that has tables for each coefficient of
each iteration.

There are two tables: for coefficients that were 0 before, and for all others, whose codes count in the direction of
their estimate. A table holds how often each symbol came so far, beginning with `_PRIOR`; so the length follows from the
counts of a whole picture, and is what its decoder can read.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..models.lapped import BLOCK
from ..models.loop import Iteration

# Of 0, 1 and -1, in each of the two tables: a coefficient that stays 0 all over a picture costs next to nothing.
_PRIOR = ((1.0, 1 / 16, 1 / 16), (1.0, 1.0, 1 / 16))


def lengths(step: Iteration) -> Tensor:
    """Bits of an iteration's ternary codes for each picture, `(B,)` float64 on the CPU."""
    bits = torch.zeros(len(step.codes), dtype=torch.float64)
    for table, prior in zip(_tables(step), _PRIOR, strict=True):
        begun = torch.tensor(prior, dtype=torch.float64)
        seen = torch.stack([symbol.sum((2, 3)) for symbol in table], -1).cpu().double() + begun
        bits += (_log_arrangements(seen) - _log_arrangements(begun)).sum(1)
    return bits / math.log(2)


def priced(step: Iteration) -> Tensor:
    """Bits per pixel of an iteration's ternary codes by the frequencies in their own batch, differentiable in the
    codes."""
    turned = _turned(step)
    bits = torch.zeros((), device=turned.device)
    for table, prior in zip(_tables(step), _PRIOR, strict=True):
        seen = [symbol.sum((0, 2, 3)) + begun for symbol, begun in zip(table, prior, strict=True)]
        zero, plus, minus = ((sum(seen) / count).log2().reshape(-1, 1, 1) for count in seen)
        # Linear between two symbols; a code that is 0 has no direction in which it would get cheaper.
        cost = zero + turned.relu() * (plus - zero) + (-turned).relu() * (minus - zero)
        bits = bits + (cost * sum(table)).sum()
    return bits / (turned[:, 0].numel() * BLOCK**2)


def _turned(step: Iteration) -> Tensor:
    """Codes that count in the direction of the estimate before them, where that is not 0."""
    direction = _before(step).sign()
    return step.codes * (direction + (direction == 0))


def _before(step: Iteration) -> Tensor:
    """The estimate before an iteration, which is a number before the first."""
    previous = step.estimate.previous
    return previous.detach() if isinstance(previous, Tensor) else torch.zeros_like(step.codes)


def _tables(step: Iteration) -> list[list[Tensor]]:
    """For each table where it is used for a 0, a 1 and a -1: three times `(B, 192, h, w)`, 0 or 1."""
    turned = _turned(step).detach()
    fresh = _before(step) == 0
    symbols = turned == 0, turned > 0, turned < 0
    return [[(symbol & used).to(turned) for symbol in symbols] for used in (fresh, ~fresh)]


def _log_arrangements(seen: Tensor) -> Tensor:
    """Of the last axis: minus the logarithm of the product of all probabilities, but for what it began with."""
    return seen.sum(-1).lgamma() - seen.lgamma().sum(-1)
