"""Mined tiles as a training set."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lit_rnncomp.data.sampling import shuffled
from lit_rnncomp.data.shards import TileShards


class ShuffledTiles(Dataset[Tensor]):
    """Tiles in random order; position `p` is a pure function of (seed, p), each run through all visits each once.

    Args:
        shards: the tiles.
        seed: of the order.
    """

    def __init__(self, shards: TileShards, seed: int = 0) -> None:
        self.shards, self.seed = shards, seed

    def __len__(self) -> int:
        """The number of tiles; positions beyond it are further runs through them."""
        return len(self.shards)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> Tensor:
        """Returns the tiles at several positions, `(B, 3, tile, tile)` uint8."""
        items = shuffled(np.asarray(positions), len(self.shards), self.seed)
        return torch.from_numpy(self.shards.read(items)).permute(0, 3, 1, 2)
