"""Where the user wants it: a map of threshold scales over the picture, as a chunk of the file.

The payload is the side of a cell in blocks (1 byte), then the cells in raster order, one byte each, compressed by zlib.
A cell of value v multiplies its coefficients by `2**(-v / 4)`, so that its thresholds are coarser by as much.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from .container import BitstreamError

CELL = 4
COARSEST = 8
"""Thresholds of black regions: four times those of white ones."""

_FINENESS = 4


def of_mask(mask: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """The cells of a mask `(H, W)` over a picture of `rows` x `columns` blocks: white 0, black `COARSEST`.

    A cell is as fine as its whitest pixel. Raises `ValueError` for a mask that is all black.
    """
    if not mask.any():
        raise ValueError("the focus mask is all black: nothing would be finer than the rest")
    side = 8 * CELL
    height, width = -(-rows // CELL) * side, -(-columns // CELL) * side
    padded = np.pad(mask, ((0, max(0, height - mask.shape[0])), (0, max(0, width - mask.shape[1]))), mode="edge")[
        :height, :width
    ]
    whitest = padded.reshape(height // side, side, width // side, side).max((1, 3))
    return np.rint((255 - whitest) * (COARSEST / 255)).astype(np.uint8)


def to_bytes(cells: NDArray[np.uint8]) -> bytes:
    """The chunk's payload."""
    return bytes([CELL]) + zlib.compress(cells.tobytes(), 9)


def from_bytes(payload: bytes, rows: int, columns: int, parts: int = 1) -> NDArray[np.float32]:
    """What each block's coefficients are multiplied by, `(rows, columns, 1)`: all of a block of the transform, of
    `parts` blocks a side, by what the first of them is. Raises `BitstreamError`."""
    side = payload[0] if payload else 0
    if not side:
        raise BitstreamError("the map of scales has no cells")
    down, across = -(-rows // side), -(-columns // side)
    inflate = zlib.decompressobj()
    try:
        cells = inflate.decompress(payload[1:], down * across + 1)
    except zlib.error as error:
        raise BitstreamError("the map of scales is not readable") from error
    if len(cells) != down * across or not inflate.eof or inflate.unused_data:
        raise BitstreamError(f"the map of scales does not have {across}x{down} cells")
    grid = np.frombuffer(cells, np.uint8).reshape(down, across)
    if grid.max(initial=0) > COARSEST:
        raise BitstreamError(f"the map of scales has a value above {COARSEST}")
    return factors(grid, side, rows, columns, parts)


def factors(cells: NDArray[np.uint8], side: int, rows: int, columns: int, parts: int = 1) -> NDArray[np.float32]:
    """As `from_bytes`, of the cells themselves."""
    row, column = (np.arange(count) // parts * parts // side for count in (rows, columns))
    wide = cells[row[:, None], column]
    # Rounded from float64, so that no library's last bit decides.
    return np.exp2(wide[..., None] / -_FINENESS).astype(np.float32)
