"""Orders in which the positions of one iteration may be evaluated.

A position needs the codes up to three rows above and three columns to the right, so all positions with the same `x + 4 y` are
independent of each other: a front. The bits of a chunk lie in the order of `fronts`, and inside a position by channel; that order is
part of the file format. `rows` and `raster` ask for the same probabilities in other groupings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .entropy_network import MARGIN

Groups = list[NDArray[np.intp]]


def fronts(height: int, width: int) -> Groups:
    """Indices `y * width + x` grouped by `x + 4 y`; inside a front, from top to bottom."""
    y, x = np.divmod(np.arange(height * width), width)
    front = x + (MARGIN + 1) * y
    order = np.argsort(front, kind="stable")
    starts = np.flatnonzero(np.diff(front[order])) + 1
    return np.split(order, starts)


def rows(height: int, width: int) -> Groups:
    """Whole rows: what an encoder can afford, for it knows the codes."""
    return np.split(np.arange(height * width), height)


def raster(height: int, width: int) -> Groups:
    """One position at a time: the definition, and the slow end of the benchmark."""
    return np.split(np.arange(height * width), height * width)
