"""What decisions cost, from a table: another library's logarithm, or another order of sums, changes no choice."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_UNIT = 2.0**20
"""Parts of a bit. Sums of such parts are exact in float64 up to 2**33 bits, and no logarithm of the table is so close
to the middle of two parts that its last digits decide."""


@cache
def costs() -> NDArray[np.float64]:
    """Bits of what has a probability of k / 65536, `(65537,)`; infinite for 0."""
    with np.errstate(divide="ignore"):
        return np.rint((16 - np.log2(np.arange(65537))) * _UNIT) / _UNIT


def more(probability: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Bits that a decision costs more when it is 1 than when it is 0, from the probability of 1 in 65536ths."""
    return (costs()[probability] - costs()[65536 - probability.astype(np.int32)]).astype(np.float32)
