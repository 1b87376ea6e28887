"""Where a block of 8x8 lies in one of the transform, for networks that see both."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Place(nn.Module):
    """Adds a learned vector for each place.

    A block of 16x16 has its coefficients where those of four blocks of 8x8 would be (`lapped.block_basis`): each of the
    four has frequencies of its own, and a convolution cannot tell which one it sees.

    Args:
        parts: places a side.
        channels: of what it is added to.
    """

    def __init__(self, parts: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(parts, parts, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, channels, h, w)`."""
        parts, (rows, columns) = len(self.table), x.shape[2:]
        tiled = self.table.permute(2, 0, 1).repeat(1, -(-rows // parts), -(-columns // parts))
        return x + tiled[:, :rows, :columns]
