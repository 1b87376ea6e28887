"""What takes the traces of coding out of a decoded picture: a network over its pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .numpy_post_filter import CELL, FINE, LIMIT, SIDE, reaches
from .residual_network import ResidualNetwork


class PostFilter(ResidualNetwork):
    """Residual 3x3 layers over cells of 2x2 pixels.

    The error of a coefficient spreads over its lapped block, to both sides of the edge that it is of. The decoder's
    other network, at an eighth of the resolution, can hardly say where; this one sees the edge. (Video codecs have
    such filters in their loops; JPEG's decoders after them.) It decides no code either.

    Args:
        channels: of all hidden layers.
        blocks: residual blocks, of `reaches`.
    """

    def __init__(self, channels: int = 32, blocks: int = 6) -> None:
        super().__init__(CELL, channels, CELL, reaches(blocks))

    def forward(self, picture: Tensor, step: Tensor, embedding: Tensor, tune: Tensor) -> Tensor:
        """The picture without them, `(B, 3, H, W)` on the 0..255 scale, not clipped; sides are multiples of 8.

        `step`: the threshold that a file's last iteration had before coefficients were weighted, `T_t / 2**(scale /
        256)`, `(B, 1, 1, 1)`; `embedding` and `tune` as of the `Refiner`.
        """
        # The mean of a cell and its eight neighbours, so that only differences are seen.
        around = F.avg_pool2d(picture, 3 * SIDE, SIDE, SIDE, count_include_pad=False)
        differences = F.pixel_unshuffle(picture, SIDE) - around.repeat_interleave(SIDE**2, 1)
        seen = torch.asinh(differences / (FINE * step))
        added = self.head(self.residual(self.stemmed(seen, embedding, tune))) * FINE
        return picture + F.pixel_shuffle(added.clamp(-LIMIT, LIMIT) * step, SIDE)
