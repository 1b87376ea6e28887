"""`post_filter.PostFilter` in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .lapped import BLOCK, Floats
from .numpy_residual import NumpyResidual, Region, wider, within

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
    ) -> Iterator[tuple[Region, Floats]]:
        """Rows and columns of a decoded picture, and what becomes of them.

        `picture`: `(H, W, 3)` on the 0..255 scale, not clipped, sides multiples of 8; `steps`: of each block `(H / 8, W
        / 8)`, or of all `(1, 1)`.
        """
        rows, columns = picture.shape[0] // SIDE, picture.shape[1] // SIDE
        steps = steps.astype(self.dtype)[..., None]

        def steps_of(region: Region) -> Floats:
            if steps.size == 1:
                return steps
            down, across = (np.arange(part.start, part.stop) * SIDE // BLOCK for part in region)
            return steps[down[:, None], across]

        def see(region: Region) -> Floats:
            return np.arcsinh(_differences(picture, region) / (steps_of(region) * np.asarray(FINE, self.dtype)))

        for region, added in self.run(see, rows, columns, t, tune, scale):
            added *= np.asarray(FINE, self.dtype)
            added = added.clip(-LIMIT, LIMIT) * steps_of(region)
            pixels = _pixels(region)
            planes = added.reshape(*added.shape[:2], 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
            yield pixels, picture[pixels] + planes.reshape(SIDE * added.shape[0], SIDE * added.shape[1], 3)


def _pixels(region: Region) -> Region:
    rows, columns = region
    return slice(SIDE * rows.start, SIDE * rows.stop), slice(SIDE * columns.start, SIDE * columns.stop)


def _differences(picture: Floats, region: Region) -> Floats:
    """Samples of cells less the mean of their colour in the cell and its neighbours, `(rows, columns, 3 SIDE**2)`."""
    outer = wider(region, 1, picture.shape[0] // SIDE, picture.shape[1] // SIDE)
    down, across = within(region, outer)
    rows, columns = (part.stop - part.start for part in outer)
    cells = picture[_pixels(outer)].reshape(rows, SIDE, columns, SIDE, 3)
    means = cells.mean((1, 3))
    around = _sums(means) / _sums(np.ones_like(means[..., :1]))
    differences = (cells[down, :, across] - around[down, None, across, None]).transpose(0, 2, 4, 1, 3)
    return differences.reshape(*differences.shape[:2], CELL)


def _sums(x: Floats) -> Floats:
    """Of each position and its eight neighbours."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    across = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    out: Floats = across[:-2] + across[1:-1] + across[2:]
    return out
