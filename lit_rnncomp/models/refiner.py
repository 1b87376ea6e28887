"""From levels to the picture's coefficients: what the decoder's network adds to the middle of each interval."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import ternary
from .context_model import features
from .lapped import COEFFICIENTS, TUNES
from .ternary import EMBEDDINGS, ITERATIONS


class Refiner(nn.Module):
    """Residual 3x3 layers over the levels after an iteration.

    It draws the picture and decides no code, so its floating point never has to agree between two machines.

    Args:
        channels: of all hidden layers.
        blocks: residual blocks; each lets a block of the picture see one block further.
        visual_power: of the `lapped.coefficient_weights` that it is for, as the next two.
        visual_ac: see above.
        visual_chroma: see above.
        stages: of the transform that it is for: with 2, levels of DC coefficients are what is known of them, rounded.
    """

    def __init__(
        self,
        channels: int = 128,
        blocks: int = 4,
        visual_power: float = 1.0,
        visual_ac: float = 1.0,
        visual_chroma: float = 1.0,
        stages: int = 1,
    ) -> None:
        super().__init__()
        self.stages = stages
        self.visual_power, self.visual_ac, self.visual_chroma = visual_power, visual_ac, visual_chroma
        self.embedding = nn.Parameter(torch.zeros(len(TUNES), (ITERATIONS + 1) * EMBEDDINGS, channels))
        self.stem = nn.Conv2d(2 * COEFFICIENTS, channels, 1)
        self.wide = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks))
        self.back = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(blocks))
        self.head = nn.Conv2d(channels, COEFFICIENTS, 1)
        self.own = nn.Conv2d(2 * COEFFICIENTS, COEFFICIENTS, 1, groups=COEFFICIENTS, bias=False)
        for parameter in (self.head.weight, self.head.bias, self.own.weight):
            nn.init.zeros_(parameter)  # type: ignore[arg-type]
        with torch.no_grad():
            for block in range(blocks):
                self.get_parameter(f"back.{block}.weight").mul_(0.3)

    def forward(self, level: Tensor, embedding: Tensor, tune: Tensor) -> Tensor:
        """What to add to the middle of each level's interval, in units of the threshold. `(B, 192, h, w)`.

        `level`: `(B, 192, h, w)` after iteration t; `embedding`: `(B,)`, `ternary.embedding` of t; `tune`: `(B,)`.
        `limited`, but not in training, where what is beyond the limits has to learn.
        """
        added = self.added(self.stemmed(level, embedding, tune), level)
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

    def stemmed(self, level: Tensor, embedding: Tensor, tune: Tensor) -> Tensor:
        """The first layer."""
        seen = torch.cat(features(level), 1)
        return F.silu(self.stem(seen) + self.embedding[tune, embedding][:, :, None, None])

    def added(self, hidden: Tensor, level: Tensor) -> Tensor:
        """What the layers after it make of it."""
        for wide, back in zip(self.wide, self.back, strict=True):
            hidden = hidden + back(F.silu(wide(hidden)))
        signed, _ = features(level)
        return self.head(hidden) + self.own(torch.stack([torch.sign(level), signed], 2).flatten(1, 2))
