"""The second stage of the lapped transform: DC coefficients of 4x4 blocks are transformed once more.

DC coefficients of neighbours are much alike, so coding each by itself is dear where little is spent: of the codec with
one stage they take half of all bits at 0.15 bits per pixel. As in JPEG XR (ITU-T T.832) they are a small picture
that goes through a lapped transform of its own: a butterfly of four across each border of two blocks of blocks, and a
4x4 DCT-II, both orthonormal. What is smooth over 32 pixels is one coefficient and not sixteen.

Everything is exact in float64, in any order of sums, since its results are what the entropy model sees: matrices are
whole multiples of 2**-16, and values below 2**15 are rounded to whole multiples of 2**-12 after each step.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lapped import COEFFICIENTS, PLANE, block_dct, butterfly

SIDE = 4
COARSE = 3 * SIDE**2
"""Coefficients of a block of blocks: `16 plane + 4 u + v`."""
DC = np.arange(0, COEFFICIENTS, PLANE)
"""Where a block's DC coefficients are among all its own."""

_MATRIX_GRID, _GRID = 2.0**16, 2.0**12


def shape(rows: int, columns: int) -> tuple[int, int]:
    """Of the coarse coefficients of so many blocks."""
    return -(-rows // SIDE), -(-columns // SIDE)


def analysis(dc: NDArray[Any]) -> NDArray[np.float64]:
    """DC coefficients `(rows, columns, 3)`, repeated beyond the picture's border, to `(rows / 4, columns / 4, 48)`."""
    rows, columns = shape(*dc.shape[:2])
    beyond = ((0, SIDE * rows - dc.shape[0]), (0, SIDE * columns - dc.shape[1]), (0, 0))
    x = _on_grid(np.pad(dc.astype(np.float64), beyond, mode="edge"))
    for axis in range(2):
        _apply(_butterfly(), x, axis, SIDE // 2)
        _apply(_dct(), x, axis, 0)
    return x.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 4, 1, 3).reshape(rows, columns, COARSE)


def synthesis(coarse: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """The inverse, `(rows, columns, 3)`."""
    down, across, _ = coarse.shape
    x = coarse.astype(np.float64).reshape(down, across, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    x = np.ascontiguousarray(x).reshape(down * SIDE, across * SIDE, 3)
    for axis in range(2):
        _apply(_dct().T, x, axis, 0)
        _apply(_butterfly().T, x, axis, SIDE // 2)
    return x[:rows, :columns]


@cache
def _dct() -> NDArray[np.float64]:
    return np.rint(block_dct(SIDE) * _MATRIX_GRID) / _MATRIX_GRID


@cache
def _butterfly() -> NDArray[np.float64]:
    return np.rint(butterfly(SIDE) * _MATRIX_GRID) / _MATRIX_GRID


def _apply(matrix: NDArray[np.float64], x: NDArray[np.float64], axis: int, first: int) -> None:
    """Applies a matrix in place to each four values along an axis, from `first` on."""
    x = np.moveaxis(x, axis, 0)
    count = (len(x) - first) // SIDE
    if count:
        part = x[first : first + SIDE * count]
        part[...] = _on_grid(matrix @ part.reshape(count, SIDE, -1)).reshape(part.shape)


def _on_grid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.rint(x * _GRID) / _GRID
