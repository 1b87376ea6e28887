"""Data order as a function of (seed, position), and loaders that resume in the middle of an epoch.

A training position is a plain integer that counts samples over the whole run and over all processes. Data sets map a
position to content; samplers only hand out positions. So no order has to be stored, and nothing is repeated or dropped.
"""

import signal
from collections.abc import Iterator, Sized
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

_GOLDEN = 0x9E3779B97F4A7C15
NOTHING = -1


def shuffled(positions: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Maps positions to items so that every `size` successive positions visit each of `size` items once, in random
    order.

    Position `p` belongs to pass `p // size`; each pass has its own permutation. A Feistel network over a grid of
    about sqrt(size) x sqrt(size) cells computes it element by element, so 600 million tiles need no table
    (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002, section 5).

    Args:
        positions: `(N,)` integers >= 0.
        size: the number of items, at least 1.
        seed: any integer; another seed gives other permutations.

    Returns:
        `(N,)` int64 in [0, size).
    """
    rows = isqrt(size - 1) + 1
    columns = -(-size // rows)
    passes, cells = np.divmod(np.asarray(positions, dtype=np.uint64), np.uint64(size))
    keys = mix(passes ^ mix(np.full(1, seed % 2**64, dtype=np.uint64)))
    cells = _permute(cells, keys, rows, columns)
    # The grid may hold a few cells more than there are items: walk on from those until an item is hit.
    while (outside := cells >= size).any():
        cells[outside] = _permute(cells[outside], keys[outside], rows, columns)
    return cells.astype(np.int64)


def _permute(cells: np.ndarray, keys: np.ndarray, rows: int, columns: int) -> np.ndarray:
    row, column = np.divmod(cells, np.uint64(columns))
    for turn in range(4 if rows > 256 else 8):  # four rounds leave small grids visibly uneven
        key = keys + np.uint64(turn * _GOLDEN % 2**64)  # far apart: rows and columns are small numbers
        if turn % 2:
            row = (row + mix(column ^ key) % np.uint64(rows)) % np.uint64(rows)
        else:
            column = (column + mix(row ^ key) % np.uint64(columns)) % np.uint64(columns)
    return row * np.uint64(columns) + column


def mix(words: np.ndarray) -> np.ndarray:
    """The splitmix64 step (Steele, Lea and Flood 2014): uint64 to well-mixed uint64; array products wrap by design."""
    words = words + np.uint64(_GOLDEN)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = words ^ (words >> np.uint64(31))
    return mixed


def as_is(batch: Tensor) -> Tensor:
    """The `collate_fn` of data sets that return whole batches: nothing is left to collate."""
    return batch


def leave_signals(worker: int) -> None:
    """The `worker_init_fn` of training: Ctrl-C, and SIGTERM of a cluster, reach the workers too, and the step that is
    to be finished needs them. They end with the process that they work for."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) outside `torch.distributed`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def one_by_one(items: list[Tensor]) -> Tensor:
    """The `collate_fn` of whole pictures, one a batch; that of `NOTHING` is an empty batch already."""
    return items[0][None] if items[0].numel() else items[0]


class EpochSampler(DistributedSampler[int]):
    """Hands out training positions: with W processes, process r gets r, r + W, r + 2W, ... of each epoch's window.

    So the union of one batch over W processes equals one batch W times as large in one process. Rank and world size are
    read when iteration starts. It is a `DistributedSampler` only so that Lightning leaves it in place.

    Args:
        samples: samples an epoch and process.
    """

    def __init__(self, samples: int) -> None:
        super().__init__(range(samples), num_replicas=1, rank=0)  # type: ignore[arg-type]  # only its length is used
        self.samples = samples
        self.skip = 0

    def __iter__(self) -> Iterator[int]:
        rank, world = rank_and_world()
        first = self.window * self.samples * world + rank
        return iter(range(first + self.skip * world, first + self.samples * world, world))

    def __len__(self) -> int:
        return self.samples

    @property
    def window(self) -> int:
        """Which window this epoch has."""
        return self.epoch


class RepeatedSampler(EpochSampler, SequentialSampler):
    """Hands out the first window in every epoch, as Lightning's `overfit_batches` wants it: a sampler that is not
    sequential would be replaced by one that is not resumed."""

    @property
    def window(self) -> int:
        return 0


class RankSampler(DistributedSampler[int]):
    """Deals a finite data set out to the processes without padding: each item is seen by exactly one of them.

    (Torch's own sampler repeats items to even the shares out, which counts some pictures twice in a validation mean.)
    A process without an item gets `NOTHING`, for which the data set has an empty batch: Lightning would leave out its
    validation, and the others would wait for it.
    """

    def __init__(self, data: Sized) -> None:
        super().__init__(data, num_replicas=1, rank=0)  # type: ignore[arg-type]  # Dataset, where Sized is meant
        self.size = len(data)

    def __iter__(self) -> Iterator[int]:
        rank, world = rank_and_world()
        return iter(range(rank, self.size, world) or [NOTHING])

    def __len__(self) -> int:
        rank, world = rank_and_world()
        return max(1, len(range(rank, self.size, world)))


class ResumableLoader(DataLoader[Tensor]):
    """A loader whose checkpoint is two integers: the epoch, and the batches of it already handed out.

    After `load_state_dict` the next iteration of that epoch starts behind those batches; a later epoch starts at its
    beginning. Batches that workers had prepared but not delivered are prepared again, not lost.

    Args:
        dataset: maps positions to samples; may offer `__getitems__(positions)` for whole batches.
        samples: samples an epoch and process, a multiple of `batch_size`.
        batch_size: samples a batch and process.
        repeated: whether every epoch has the batches of the first.
        options: further arguments of `torch.utils.data.DataLoader`.
    """

    def __init__(
        self, dataset: Dataset[Tensor], samples: int, batch_size: int, repeated: bool = False, **options: Any
    ) -> None:
        if samples < batch_size or samples % batch_size:
            raise ValueError(f"an epoch of {samples} samples is not a whole number of batches of {batch_size}")
        # A generator of its own: drawing the workers' seeds must not move the global one, which model noise comes from.
        options.setdefault("generator", torch.Generator())
        sampler = (RepeatedSampler if repeated else EpochSampler)(samples)
        super().__init__(dataset, batch_size=batch_size, sampler=sampler, **options)
        self._place = (0, 0)
        self._resuming = False

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]
        # A generator: the epoch is read when the first batch is asked for, which is after Lightning has set it.
        sampler = self.epoch_sampler
        resuming, self._resuming = self._resuming, False
        epoch = sampler.epoch
        start = self._place[1] if resuming and self._place[0] == epoch else 0
        sampler.skip = start * (self.batch_size or 1)
        self._place = (epoch, start)
        for count, batch in enumerate(super().__iter__(), start + 1):
            self._place = (epoch, count)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The place in the data: the `epoch`, and the `batches` of it that this process was given."""
        return {"epoch": self._place[0], "batches": self._place[1]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes to the place that `state_dict` named; the number of processes must be the same."""
        self._place = (state["epoch"], state["batches"])
        self._resuming = True
        self.epoch_sampler.set_epoch(state["epoch"])

    @property
    def epoch_sampler(self) -> EpochSampler:
        assert isinstance(self.sampler, EpochSampler)
        return self.sampler
