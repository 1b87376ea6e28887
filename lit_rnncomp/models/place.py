"""Where a block of 8x8 lies in one of the transform, for networks that see both."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .numpy_place import PARTS


class Place(nn.Module):
    """Adds a learned vector for each place.

    A block of 16x16 has its coefficients where those of four blocks of 8x8 would be (`lapped.block_basis`): each of the
    four has frequencies of its own, and a convolution cannot tell which one it sees, nor whether the block is split.

    Args:
        channels: of what it is added to.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2, PARTS, PARTS, channels))

    def forward(self, x: Tensor, split: Tensor) -> Tensor:
        """`(B, channels, h, w)`; `split`: `(B, h / 2, w / 2)`, whether each block of 16x16 is split."""
        rows, columns = split.shape[1:]
        whole, quarters = (table.permute(2, 0, 1).repeat(1, rows, columns) for table in self.table)
        return x + torch.where(spread(split)[:, None], quarters, whole)


def spread(split: Tensor) -> Tensor:
    """What is said of each block of 16x16 for each of 8x8, `(..., h / 2, w / 2)` to `(..., h, w)`."""
    return split.repeat_interleave(PARTS, -2).repeat_interleave(PARTS, -1)
