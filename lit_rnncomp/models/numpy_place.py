"""`place.Place` in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = 2
"""Blocks of 8x8 a side of one of 16x16."""

PLACE = "place.table"
"""The tensor of a network for blocks of 16x16: what is added in the four places of a block of 8x8, first in one that is
whole, then in one that is split, `(2, 2, 2, channels)`."""


def add_places(
    x: NDArray[Any], table: NDArray[Any] | None, split: NDArray[np.bool_] | None, top: int, left: int = 0
) -> None:
    """In place, to `(rows, columns, channels)` of a region whose first position is in row `top` and column `left`.

    `split`: of each block of 16x16 of the picture. Without a table and a map nothing is added, as for blocks of 8x8.
    Raises `ValueError` for one without the other.
    """
    if table is None or split is None:
        if table is not split:
            raise ValueError("a table of places and a map of the split blocks go together: one of them is missing")
        return
    row, column = (np.arange(first, first + count) for first, count in zip((top, left), x.shape[:2], strict=True))
    kind = split[row[:, None] // PARTS, column // PARTS].astype(np.intp)
    x += table[kind, row[:, None] % PARTS, column % PARTS]
