"""Orders in which the positions of one iteration may be evaluated.

A position needs the codes up to three rows above and three columns to the right, so all positions with the same `x + 4
y` are independent of each other: a front. The bits of a chunk lie in the order of `fronts`, and inside a position by
channel; that order is part of the file format. `rows` and `raster` ask for the same probabilities in other groups. A
group is a slice of the flattened planes of `entropy_network.Context`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .entropy_network import MARGIN

SLOPE = MARGIN + 1


def _group(x: int, y: int, count: int, step: int, width: int) -> slice:
    start = (y + MARGIN) * (width + 2 * MARGIN) + x + MARGIN
    return slice(start, start + (count - 1) * step + 1, step)


def fronts(height: int, width: int) -> Iterator[slice]:
    """Positions of equal `x + 4 y`, from the top left; inside a front, from top to bottom."""
    step = width + 2 * MARGIN - SLOPE
    for front in range(width + SLOPE * (height - 1)):
        top = max(0, -((width - 1 - front) // SLOPE))
        bottom = min(height - 1, front // SLOPE)
        if top <= bottom:
            yield _group(front - SLOPE * top, top, bottom - top + 1, step, width)


def rows(height: int, width: int) -> Iterator[slice]:
    """Whole rows: what an encoder can afford, for it knows the codes."""
    return (_group(0, y, width, 1, width) for y in range(height))


def raster(height: int, width: int) -> Iterator[slice]:
    """One position at a time: the definition, and the slow end of the benchmark."""
    return (_group(x, y, 1, 1, width) for y in range(height) for x in range(width))


def order(height: int, width: int) -> NDArray[np.intp]:
    """`(height * width,)`: the raster indices `y * width + x` in the order of `fronts`."""
    plane = np.zeros((height + MARGIN + 1, width + 2 * MARGIN), np.intp)
    plane[MARGIN:-1, MARGIN:-MARGIN] = np.arange(height * width).reshape(height, width)
    flat = plane.reshape(-1)
    return np.concatenate([flat[front] for front in fronts(height, width)])
