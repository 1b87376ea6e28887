"""Folders of tiles: `.npy` shards of uint8 tiles behind one `index.json`, read by memory map.

index.json          {"format": 1, "tile": 32, "keep": "hardest 100", "tiles": N, "shards": [{"file", "tiles", ...}]}
tiles-00000.npy     (n, tile, tile, 3) uint8
jobs/00000.json     what the first shard was made of; exists once that shard is whole
"""

import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
INDEX = "index.json"


def _most_maps() -> int:
    """How many maps to keep: each holds one of the files that a process may have open."""
    try:
        import resource
    except ImportError:  # Windows
        return 128
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 4096 if files == resource.RLIM_INFINITY else max(16, min(4096, files // 4))


class ShardError(ValueError):
    """A folder of tiles cannot be read or continued; the message names it on one line."""


class TileShards:
    """The tiles of a folder as one long array, of which only what is read is loaded.

    Another process to which it is sent opens the files again.

    Args:
        folder: what `lit-rnncomp data mine` wrote.

    Raises:
        ShardError: the folder has no index, one of another format, or a shard is missing or not what the index says.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / INDEX).read_text())
        except FileNotFoundError:
            raise ShardError(
                f"{folder} holds no {INDEX}: not a folder of tiles, or its mining has not finished"
            ) from None
        except ValueError as error:
            raise ShardError(f"{self.folder / INDEX} is not JSON: {error}") from None
        if index.get("format") != FORMAT:
            raise ShardError(f"{self.folder / INDEX} has format {index.get('format')}; this version reads {FORMAT}")
        self.index: dict[str, Any] = index
        self.tile = int(index["tile"])
        for shard in index["shards"]:
            self._open(shard)
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        self._most = _most_maps()
        self._ends = np.cumsum([shard["tiles"] for shard in index["shards"]])
        self._starts = np.concatenate([[0], self._ends[:-1]])

    def __reduce__(self) -> tuple[Any, ...]:
        """A memory map would be sent to another process as all its bytes."""
        return TileShards, (self.folder,)

    @staticmethod
    def at(folder: str | os.PathLike[str]) -> bool:
        """Whether a folder is one of tiles."""
        return (Path(folder) / INDEX).is_file()

    def __len__(self) -> int:
        """The number of tiles."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, items: np.ndarray) -> np.ndarray:
        """Copies the tiles at `items`, `(B,)` integers in [0, len), to `(B, tile, tile, 3)` uint8, in that order.

        Raises:
            IndexError: an item is outside that range.
        """
        items = np.asarray(items)
        if items.size and not 0 <= items.min() <= items.max() < len(self):
            raise IndexError(f"tiles {items.min()} to {items.max()} asked for, of {len(self)} in {self.folder}")
        where = np.searchsorted(self._ends, items, side="right")
        offsets = items - self._starts[where]
        tiles = np.empty((len(items), self.tile, self.tile, 3), np.uint8)
        # One copy a tile: with more shards than tiles in a batch, gathering shard by shard takes three times as long.
        for row, (shard, offset) in enumerate(zip(where.tolist(), offsets.tolist(), strict=True)):
            tiles[row] = self._shard(shard)[offset]
        return tiles

    def _shard(self, number: int) -> np.ndarray:
        """The map of a shard, of which those used last are kept: there may be thousands."""
        if number in self._maps:
            self._maps.move_to_end(number)
        else:
            if len(self._maps) == self._most:
                self._maps.popitem(last=False)
            self._maps[number] = self._open(self.index["shards"][number])
        return self._maps[number]

    def _open(self, shard: dict[str, Any]) -> np.ndarray:
        path = self.folder / shard["file"]
        try:
            data = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ShardError(f"cannot read {path}: {error}; mine again to restore it") from None
        expected = (shard["tiles"], self.tile, self.tile, 3)
        if data.shape != expected or data.dtype != np.uint8:
            raise ShardError(f"{path} holds {data.dtype} {data.shape} where {INDEX} says uint8 {expected}")
        plain: np.ndarray = data.view(np.ndarray)  # the same map without np.memmap's slow indexing
        return plain
