"""The shape of both networks that draw a picture from ternary codes: residual 3x3 layers between two 1x1 layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lapped import TUNES
from .place import Place
from .ternary import EMBEDDINGS, ITERATIONS


class ResidualNetwork(nn.Module):
    """Knows the iteration, the scale and the tune by an embedding. Its last layer starts as nothing.

    Args:
        inputs: channels that it sees.
        channels: of all hidden layers.
        outputs: channels that it gives.
        reaches: of each residual block: how many positions further it sees.
        places: whether it tells apart where in one of 16x16 a block of 8x8 lies.
    """

    def __init__(self, inputs: int, channels: int, outputs: int, reaches: Sequence[int], places: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(len(TUNES), (ITERATIONS + 1) * EMBEDDINGS, channels))
        self.place = Place(channels) if places else None
        self.stem = nn.Conv2d(inputs, channels, 1)
        self.wide = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=reach, dilation=reach) for reach in reaches)
        self.back = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in reaches)
        self.head = nn.Conv2d(channels, outputs, 1)
        with torch.no_grad():
            for parameter in self.head.parameters():
                parameter.zero_()
            for block in range(len(reaches)):
                self.get_parameter(f"back.{block}.weight").mul_(0.3)

    def stemmed(self, seen: Tensor, embedding: Tensor, tune: Tensor, split: Tensor | None = None) -> Tensor:
        """The first layer, of `(B, inputs, h, w)`; `embedding`: `(B,)`, `ternary.embedding`; `tune`: `(B,)`; `split`:
        of each block of 16x16, `(B, h / 2, w / 2)`."""
        hidden = self.stem(seen) + self.embedding[tune, embedding][:, :, None, None]
        return F.silu(hidden if self.place is None else self.place(hidden, split))

    def residual(self, hidden: Tensor) -> Tensor:
        """The blocks after it."""
        for wide, back in zip(self.wide, self.back, strict=True):
            hidden = hidden + back(F.silu(wide(hidden)))
        return hidden
