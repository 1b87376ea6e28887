"""Which blocks of 16x16 an encoder splits into four of 8x8: where that costs less.

What is smooth, or alike over more than 8 pixels, is told by fewer coefficients of a large block; an edge beside
something flat disturbs less in a small one. A coefficient costs the squared error that is left of it, and a price of
its bits: below a knee its own square, in squared knees, above it 1 and as much more as its code is longer. Costs are
integers, so that every machine chooses alike.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .numpy_place import PARTS
from .ternary import magnitudes

KNEE = 0.7
"""In last thresholds: measured, MS-SSIM, PSNR and PSNR-HVS at equal bits are all higher than with 1."""

FINENESS = 16
"""Sizes that are told apart below the knee."""

PRICE = 256
"""How much more a split block must save: in 256ths of a squared knee."""

_OCTAVE = 7 * 8


@cache
def costs() -> NDArray[np.int32]:
    """Of a coefficient by its size in sixteenths of the knee, in 256ths of the knee's square."""
    m = magnitudes().astype(np.int32)
    size = np.arange(len(m))
    return np.where(size < FINENESS, size**2, FINENESS**2 + _OCTAVE // 8 * (m - m[FINENESS - 1])).astype(np.int32)


def chosen(whole: NDArray[Any], quarters: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """Of coefficients `(rows, columns, 192)`, weighted, of blocks of 16x16 and of these split, with the last threshold
    of their file. `(rows / 2, columns / 2)`."""
    return _cost(quarters, threshold) + PRICE < _cost(whole, threshold)


def _cost(x: NDArray[Any], threshold: float) -> NDArray[np.int64]:
    """Of each block of 16x16."""
    table, (rows, columns, _) = costs(), x.shape
    cost = np.empty((rows, columns), np.int64)
    for row, values in enumerate(x):  # a row at a time: as large as the picture would be only the result
        size = np.minimum(np.abs(values) * x.dtype.type(FINENESS / (KNEE * threshold)), len(table) - 1)
        cost[row] = table[size.astype(np.int16)].sum(-1)
    total: NDArray[np.int64] = cost.reshape(rows // PARTS, PARTS, columns // PARTS, PARTS).sum((1, 3))
    return total
