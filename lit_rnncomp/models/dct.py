"""The 8x8 DCT of decorrelated colours, as matrices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
COEFFICIENTS = 3 * BLOCK * BLOCK

# Deviation of each plane's coefficients over photographs in [-1, 1]: the mean's, then `a * (u^2 + v^2) ** -c`. The law
# fits the measured deviations within 20 % on average; it only has to bring the network's inputs to similar sizes.
_DEVIATIONS = ((7.1, 1.20, 0.68), (3.1, 0.42, 0.76), (1.3, 0.18, 0.67))
_FLOOR = 0.02


def block_basis() -> NDArray[np.float64]:
    """Rows are the 192 orthonormal functions of a block, columns its samples `64 colour + 8 row + column`. `(192,
    192)`.

    Row `64 p + 8 u + v` is colour plane `p` (luma, blue-red, green-magenta), vertical frequency `u`, horizontal
    frequency `v`.
    """
    colour = np.array([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    colour /= np.linalg.norm(colour, axis=1, keepdims=True)
    position = np.arange(BLOCK)
    dct = np.cos(math.pi / BLOCK * position[:, None] * (position[None] + 0.5)) * math.sqrt(2 / BLOCK)
    dct[0] /= math.sqrt(2)
    return np.kron(colour, np.kron(dct, dct))


def coefficient_deviations() -> NDArray[np.float64]:
    """The typical size of each of the 192 coefficients, for pictures in [-1, 1]; what `BlockDCT` divides by.
    `(192,)`."""
    position = np.arange(BLOCK)
    squared = (position[:, None] ** 2 + position[None] ** 2).ravel()[1:].astype(np.float64)
    return np.concatenate([[mean, *(a * squared**-c)] for mean, a, c in _DEVIATIONS]) + _FLOOR
