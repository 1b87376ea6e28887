"""Long sums on devices without float64, which Apple's GPUs are: two float32 numbers for one, what is summed and what
rounding left out of that (Knuth, TAOCP 2, 4.2.2)."""

import torch
from torch import Tensor


def zeros(*shape: int) -> Tensor:
    """A sum of nothing, `(2, *shape)` float32; sums of several processes add up."""
    return torch.zeros(2, *shape)


def add(sums: Tensor, values: Tensor) -> Tensor:
    """`sums` with `values` `(*shape)` added to it, exact to about 48 bits."""
    high, values = sums[0], values.to(sums)
    total = high + values
    part = total - high
    return torch.stack([total, sums[1] + (high - (total - part)) + (values - part)])


def value(sums: Tensor) -> Tensor:
    """What was summed, `(*shape)` float64 on the CPU."""
    high, low = sums.cpu().double()
    return high + low
