"""From levels to the picture's coefficients: what the decoder's network adds to the middle of each interval."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import ternary
from .context_model import features
from .lapped import BLOCK, COEFFICIENTS, parts_of
from .post_filter import PostFilter
from .residual_network import ResidualNetwork


class Refiner(ResidualNetwork):
    """Residual 3x3 layers over the levels after an iteration.

    It draws the picture and decides no code, so its floating point never has to agree between two machines.

    Args:
        channels: of all hidden layers.
        blocks: residual blocks; each lets a block of the picture see one block further.
        visual_power: of the `lapped.coefficient_weights` that it is for, as the next two.
        visual_ac: see above.
        visual_chroma: see above.
        stages: of the transform that it is for: with 2, levels of DC coefficients are what is known of them, rounded.
        filter_channels: of a `PostFilter` of the decoded picture, `filter`; 0: none.
        filter_blocks: of it.
        size: pixels a side of the transform's blocks, 8 or 16.
    """

    def __init__(
        self,
        channels: int = 128,
        blocks: int = 4,
        visual_power: float = 1.0,
        visual_ac: float = 1.0,
        visual_chroma: float = 1.0,
        stages: int = 1,
        filter_channels: int = 0,
        filter_blocks: int = 6,
        size: int = BLOCK,
    ) -> None:
        super().__init__(2 * COEFFICIENTS, channels, COEFFICIENTS, [1] * blocks, parts_of(size) > 1)
        self.stages, self.size = stages, size
        self.visual_power, self.visual_ac, self.visual_chroma = visual_power, visual_ac, visual_chroma
        self.own = nn.Conv2d(2 * COEFFICIENTS, COEFFICIENTS, 1, groups=COEFFICIENTS, bias=False)
        nn.init.zeros_(self.own.weight)
        self.filter = PostFilter(filter_channels, filter_blocks) if filter_channels else None

    def forward(self, level: Tensor, embedding: Tensor, tune: Tensor, split: Tensor | None = None) -> Tensor:
        """What to add to the middle of each level's interval, in units of the threshold. `(B, 192, h, w)`.

        `level`: `(B, 192, h, w)` after iteration t; `embedding`: `(B,)`, `ternary.embedding` of t; `tune`: `(B,)`;
        `split`: of each block of 16x16, `(B, h / 2, w / 2)`. `limited`, but not in training, where what is beyond the
        limits has to learn.
        """
        added = self.added(self.stemmed(torch.cat(features(level), 1), embedding, tune, split), level)
        return added if self.training else self.limited(added, level)

    def limited(self, added: Tensor, level: Tensor) -> Tensor:
        """What may be added: in a block where the network would put a coefficient further from its interval than
        `ternary.REACH` says, all of it is scaled until it does not. (It does so in pictures unlike all that it has
        learned from, and all of the block is worth nothing there.) What is known of DC coefficients with two stages has
        no interval: they are clipped."""
        given = torch.from_numpy(ternary.bands(self.stages).given)
        share = added.abs() / torch.where(level == 0, ternary.REACH_AT_ZERO, ternary.REACH)
        share[:, given] = 1
        added = added / share.amax(1, keepdim=True).clamp_min(1)
        added[:, given] = added[:, given].clamp(-ternary.REACH_AT_ZERO, ternary.REACH_AT_ZERO)
        return added

    def added(self, hidden: Tensor, level: Tensor) -> Tensor:
        """What the layers after the first make of it."""
        signed, _ = features(level)
        return self.head(self.residual(hidden)) + self.own(torch.stack([torch.sign(level), signed], 2).flatten(1, 2))
