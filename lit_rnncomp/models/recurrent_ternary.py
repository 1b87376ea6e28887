"""The networks of ternary codes with a state that is carried over iterations, as the paper has it.

They are compared with the feed-forward ones, which ship; files know nothing of them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .cells import ConvGRU, State
from .config import assert_never
from .context_model import ContextModel, features
from .refiner import Refiner
from .rounded import RoundedConv2d, clipped

Fed = Literal["levels", "codes"]


class RecurrentContextModel(ContextModel):
    """A `ContextModel` with a convolutional GRU before its residual blocks.

    Args:
        channels: of all hidden layers and of the state.
        blocks: residual blocks between the state and the first pass.
        known_codes: see `ContextModel`.
        neighbours: see `ContextModel`.
        visual_power: see `ContextModel`.
        fed: what the GRU sees in each iteration: the `levels` before it, or the `codes` of the last one alone, so that
            the state has to remember the others (the paper's way).
    """

    def __init__(
        self,
        channels: int = 60,
        blocks: int = 0,
        known_codes: bool = True,
        neighbours: bool = True,
        visual_power: float = 1.0,
        fed: Fed = "levels",
    ) -> None:
        super().__init__(channels, blocks, known_codes, neighbours, visual_power)
        self.fed = fed
        self.cell = ConvGRU(channels, channels, kernel=3, stride=1, hidden_kernel=1)
        self.carried = RoundedConv2d(channels, channels)

    def step(
        self, level: Tensor, last: Tensor, code: Tensor, embedding: Tensor, tune: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """One iteration, in order: bits of its `code` in each pass `(B, 6)`, and the next state.

        `last`: the codes of the iteration before. All else as in `forward`; the first state is None.
        """
        if self.fed == "levels":
            seen = torch.cat(features(level), 1)
        elif self.fed == "codes":
            seen = torch.cat([last, last.abs()], 1)
        else:
            assert_never(self.fed)
        hidden = self.stemmed(seen, embedding, tune)
        out, state = self.cell(hidden, state)
        hidden = clipped(hidden + self.carried(out))
        return self.passes(self.residual(hidden), level, code), state


class RecurrentRefiner(Refiner):
    """A `Refiner` with a convolutional GRU before its residual blocks.

    Args:
        channels: of all hidden layers and of the state.
        blocks: residual blocks after it.
        visual_power: see `Refiner`.
    """

    def __init__(self, channels: int = 126, blocks: int = 1, visual_power: float = 1.0) -> None:
        super().__init__(channels, blocks, visual_power)
        self.cell = ConvGRU(channels, channels, kernel=3, stride=1, hidden_kernel=1)
        self.carried = nn.Conv2d(channels, channels, 1)

    def step(self, level: Tensor, embedding: Tensor, tune: Tensor, state: State) -> tuple[Tensor, State]:
        """One iteration, in order: what `forward` returns, and the next state. The first state is None."""
        hidden = self.stemmed(torch.cat(features(level), 1), embedding, tune)
        out, state = self.cell(hidden, state)
        return self.added(hidden + self.carried(out), level), state
