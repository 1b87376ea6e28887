"""`place.Place` in NumPy."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

PLACE = "place.table"
"""The tensor of a network for blocks of 16x16: what is added in the four places of a block of 8x8, `(2, 2,
channels)`."""


def add_places(x: NDArray[Any], table: NDArray[Any], top: int, left: int = 0) -> None:
    """In place, to `(rows, columns, channels)` of a region whose first position is in row `top` and column `left`, what
    a table `(parts, parts, channels)` says of each position's place in a block of the transform."""
    parts = len(table)
    for row in range(parts):
        for column in range(parts):
            x[(row - top) % parts :: parts, (column - left) % parts :: parts] += table[row, column]
