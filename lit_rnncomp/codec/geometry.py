"""Pictures of any size for networks that want multiples: pad and crop, and overlapping windows for bounded memory.

A large picture is coded window by window in raster order. The codes form one grid for the whole picture; a window's
codes that an earlier window has already fixed are taken over, so encoder and decoder see the same codes in every window
and stay in exact agreement. Pixels in the overlap are blended linearly. Memory is that of one window, whatever the
picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW = 1536
OVERLAP = 128
LARGEST = 2048
"""Pixels a side of the largest window that a decoder accepts: what bounds its memory."""


class Window(NamedTuple):
    """A rectangle of the padded picture, in code positions: rows `top:bottom`, columns `left:right`."""

    top: int
    bottom: int
    left: int
    right: int


class Tiling(NamedTuple):
    """`rows` x `columns` code positions, cut into windows of `window` positions a side (0: one window) that share
    `overlap`."""

    rows: int
    columns: int
    window: int
    overlap: int

    def windows(self) -> Iterator[Window]:
        """All windows in raster order."""
        for top, bottom in _spans(self.rows, self.window, self.overlap):
            for left, right in _spans(self.columns, self.window, self.overlap):
                yield Window(top, bottom, left, right)


def plan(height: int, width: int, stride: int, multiple: int, side: int = WINDOW, overlap: int = OVERLAP) -> Tiling:
    """The tiling of a picture of `height` x `width` pixels; `side` and `overlap` in pixels, multiples of `multiple`."""
    rows, columns = (_round_up(size, multiple) // stride for size in (height, width))
    if max(rows, columns) * stride <= side:
        return Tiling(rows, columns, 0, 0)
    return Tiling(rows, columns, side // stride, overlap // stride)


def pixels(image: NDArray[np.uint8], window: Window, stride: int) -> NDArray[np.uint8]:
    """The window's pixels of `(H, W, 3)`, edges replicated beyond the picture."""
    height, width = image.shape[:2]
    cut = image[window.top * stride : window.bottom * stride, window.left * stride : window.right * stride]
    below = window.bottom * stride - min(height, window.bottom * stride)
    beside = window.right * stride - min(width, window.right * stride)
    return np.pad(cut, ((0, below), (0, beside), (0, 0)), mode="edge") if below or beside else cut


def blend(canvas: NDArray[np.uint8], tile: NDArray[np.uint8], window: Window, tiling: Tiling, stride: int) -> None:
    """Write `tile` into `canvas` at `window`, fading in over what earlier windows wrote."""
    top, left = window.top * stride, window.left * stride
    height, width = min(tile.shape[0], canvas.shape[0] - top), min(tile.shape[1], canvas.shape[1] - left)
    target, tile = canvas[top : top + height, left : left + width], tile[:height, :width]
    ramp = (np.arange(tiling.overlap * stride, dtype=np.float32) + 0.5) / max(tiling.overlap * stride, 1)
    alpha_y, alpha_x = np.ones(height, np.float32), np.ones(width, np.float32)
    if window.top:
        alpha_y[: len(ramp)] = ramp[:height]
    if window.left:
        alpha_x[: len(ramp)] = ramp[:width]
    if window.top or window.left:
        alpha = (alpha_y[:, None] * alpha_x[None])[..., None]
        tile = np.rint(target + alpha * (tile.astype(np.float32) - target)).astype(np.uint8)
    target[...] = tile


def _spans(size: int, window: int, overlap: int) -> Iterator[tuple[int, int]]:
    if not window:
        yield 0, size
        return
    start = 0
    while True:
        end = start + window
        if end >= size:
            yield start, size
            return
        yield start, end
        start = end - overlap


def _round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
