"""Pictures to tiles, and how hard a tile is to compress."""

import io

import numpy as np
from PIL import Image


def cut(picture: np.ndarray, tile: int) -> np.ndarray:
    """Cuts a `(H, W, 3)` picture into its non-overlapping tiles from the top left, in raster order.

    Returns:
        `(N, tile, tile, 3)`; rests at the right and the bottom are dropped.
    """
    rows, columns = picture.shape[0] // tile, picture.shape[1] // tile
    grid = picture[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile, 3)
    return grid.swapaxes(1, 2).reshape(rows * columns, tile, tile, 3)


def png_bytes(tile: np.ndarray) -> int:
    """The size in bytes of a tile as a PNG file (Pillow, deflate level 6): large is hard to compress."""
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "PNG", compress_level=6)
    return buffer.tell()


def hardest(tiles: np.ndarray, count: int) -> np.ndarray:
    """Keeps the `count` tiles with the largest PNG files, in their given order; of equals the earlier.

    This is the "High Entropy" rule of Toderici et al. 2017, section 4 (there 100 tiles a picture).
    """
    if len(tiles) <= count:
        return tiles
    sizes = np.array([png_bytes(tile) for tile in tiles])
    return tiles[np.sort(np.argsort(-sizes, kind="stable")[:count])]


def thumbnail(picture: Image.Image, tile: int) -> np.ndarray:
    """Scales a whole picture to one `(1, tile, tile, 3)` tile, whatever its aspect (the paper's "32x32" set)."""
    return np.asarray(picture.resize((tile, tile), Image.Resampling.BICUBIC))[None]
