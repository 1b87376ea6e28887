"""`post_filter.PostFilter` in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .lapped import BLOCK, Floats
from .numpy_residual import NumpyResidual, bands

SIDE = 2
"""Pixels a side of a cell: the network's positions."""
CELL = 3 * SIDE**2
FINE = 0.1
"""Differences of pixels are seen, and what is added to them is given, in tenths of a step."""
LIMIT = 0.5
"""So many steps at most are added to a sample."""


_REACHES = (1, 2, 4, 8, 4, 2)


def reaches(blocks: int) -> list[int]:
    """How many cells further each residual block sees."""
    return [_REACHES[block % len(_REACHES)] for block in range(blocks)]


class NumpyPostFilter(NumpyResidual):
    """`tensors`: weights by the names of `PostFilter.state_dict`. Raises `ValueError` for a tensor that is missing or
    misshapen."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32) -> None:
        super().__init__(tensors, CELL, CELL, dtype, "the decoder's filter", reaches)

    def __call__(
        self, picture: Floats, steps: NDArray[np.floating[Any]], t: int, tune: int, scale: int
    ) -> Iterator[tuple[slice, Floats]]:
        """Rows of a decoded picture, and what becomes of them, a band at a time.

        `picture`: `(H, W, 3)` on the 0..255 scale, not clipped, sides multiples of 8; `steps`: of each block `(H / 8, W
        / 8)`, or of all `(1, 1)`.
        """
        rows, columns = picture.shape[0] // SIDE, picture.shape[1] // SIDE
        steps = steps.astype(self.dtype)

        def steps_of(band: slice) -> Floats:
            if steps.size == 1:
                return steps[..., None]
            blocks = np.arange(band.start, band.stop) * SIDE // BLOCK
            return np.repeat(steps[blocks], BLOCK // SIDE, 1)[..., None]

        def seen(band: slice) -> Floats:
            return np.arcsinh(_differences(picture, band) / (steps_of(band) * np.asarray(FINE, self.dtype)))

        hidden = self.hidden(seen, rows, columns, t, tune, scale)
        for band in bands(rows, columns):
            added = self.head(hidden[band]).reshape(-1, columns, CELL)
            added *= np.asarray(FINE, self.dtype)
            added = added.clip(-LIMIT, LIMIT) * steps_of(band)
            pixels = slice(SIDE * band.start, SIDE * band.stop)
            shape = len(added), columns, 3, SIDE, SIDE
            yield (
                pixels,
                picture[pixels] + added.reshape(shape).transpose(0, 3, 1, 4, 2).reshape(-1, *picture.shape[1:]),
            )


def _differences(picture: Floats, band: slice) -> Floats:
    """Samples of cells less the mean of their colour in the cell and its neighbours, `(rows, columns, 3 SIDE**2)`."""
    columns = picture.shape[1] // SIDE
    first, last = max(band.start - 1, 0), min(band.stop + 1, len(picture) // SIDE)
    cells = picture[SIDE * first : SIDE * last].reshape(last - first, SIDE, columns, SIDE, 3)
    means = cells.mean((1, 3))
    around = _sums(means) / _sums(np.ones_like(means[..., :1]))
    own = slice(band.start - first, band.stop - first)
    differences = cells[own] - around[own, None, :, None]
    return differences.transpose(0, 2, 4, 1, 3).reshape(-1, columns, CELL)


def _sums(x: Floats) -> Floats:
    """Of each position and its eight neighbours."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    across = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    out: Floats = across[:-2] + across[1:-1] + across[2:]
    return out
