"""Mined tiles as a training set."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .sampling import shuffled
from .shards import TileShards

_BLOCK, _KEPT = 4096, 16  # positions shuffled at once: a batch alone would cost as much; blocks remembered


class ShuffledTiles(Dataset[Tensor]):
    """Tiles in random order; position `p` is a pure function of (seed, p), each run through all visits each once.

    Args:
        shards: the tiles.
        seed: of the order.
    """

    def __init__(self, shards: TileShards, seed: int = 0) -> None:
        self.shards, self.seed = shards, seed
        self._blocks: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """The number of tiles; positions beyond it are further runs through them."""
        return len(self.shards)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> Tensor:
        """Returns the tiles at several positions, `(B, 3, tile, tile)` uint8."""
        return torch.from_numpy(self.shards.read(self.items(np.asarray(positions)))).permute(0, 3, 1, 2)

    def items(self, positions: np.ndarray) -> np.ndarray:
        """The tiles that lie at positions: `shuffled`, a block of positions at a time."""
        blocks, places = np.divmod(positions, _BLOCK)
        if (blocks == blocks[0]).all():
            return self._block(int(blocks[0]))[places]
        wanted, rows = np.unique(blocks, return_inverse=True)
        return np.stack([self._block(block) for block in wanted.tolist()])[rows, places]

    def _block(self, block: int) -> np.ndarray:
        if block not in self._blocks:
            if len(self._blocks) == _KEPT:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[block] = shuffled(np.arange(block * _BLOCK, (block + 1) * _BLOCK), len(self.shards), self.seed)
        return self._blocks[block]
