"""Which blocks of 16x16 are split, as a chunk of the file.

The payload is the words of a range coder, as of an iteration (`ternary_coder`): block by block in raster order whether
it is split. How likely that is follows from how often it was so before where the block on the left, that above and that
above on the right were as here (beyond the border they are whole): `(65536 split) // (split + whole)` of 65536. Counts
begin with 3 that were whole and 1 that was split, and are halved, rounded up, when they are 1024 together. A file
without the chunk splits none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import constriction
import numpy as np
from numpy.typing import NDArray

from .container import BitstreamError

_Bernoulli = constriction.stream.model.Bernoulli(perfect=False)
_BEFORE = 3, 1
"""How often a block was whole, and split, before the first."""
_MOST = 1024
_CONTEXTS = 8


def to_bytes(split: NDArray[np.bool_]) -> bytes:
    """The chunk's payload."""
    said, probabilities = iter(split.ravel().tolist()), []

    def decide(probability: float) -> bool:
        probabilities.append(probability)
        return bool(next(said))

    _walk(len(split), split.shape[1], decide)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(split.ravel().astype(np.int32), _Bernoulli, np.array(probabilities, np.float32))
    return bytes(encoder.get_compressed().astype("<u4").tobytes()).rstrip(b"\0")


def from_bytes(payload: bytes | None, rows: int, columns: int) -> NDArray[np.bool_]:
    """The blocks that are split, `(rows, columns)`. Raises `BitstreamError`."""
    if payload is None:
        return np.zeros((rows, columns), np.bool_)
    words = np.frombuffer(payload + bytes(-len(payload) % 4), "<u4").astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)

    def decide(probability: float) -> bool:
        return bool(decoder.decode(constriction.stream.model.Bernoulli(probability, perfect=False)))

    try:
        split = _walk(rows, columns, decide)
    except AssertionError as error:
        raise BitstreamError("the map of split blocks is not a range coder's output") from error
    if not decoder.maybe_exhausted():
        raise BitstreamError("the map of split blocks goes on after its last block")
    return split


def _walk(rows: int, columns: int, decide: Callable[[float], bool]) -> NDArray[np.bool_]:
    """What `decide` says of each block, given how likely it is to be split."""
    counts = [list(_BEFORE) for _ in range(_CONTEXTS)]
    known = [[False] * (columns + 2) for _ in range(rows + 1)]
    for above, row in itertools.pairwise(known):
        for column in range(1, columns + 1):
            seen = counts[row[column - 1] + 2 * above[column] + 4 * above[column + 1]]
            row[column] = decide((65536 * seen[True] // sum(seen)) / 65536)
            seen[row[column]] += 1
            if sum(seen) == _MOST:
                seen[:] = [(count + 1) // 2 for count in seen]
    return np.array(known, np.bool_)[1:, 1:-1]
