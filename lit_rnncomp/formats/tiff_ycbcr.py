"""TIFF's YCbCr colours that are not JPEG's: how they are subsampled, and by which formula they are RGB (TIFF 6.0,
sections 20 and 21)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ifd import Directory

_RATIONAL = 5
_COEFFICIENTS, _SUBSAMPLING, _POSITIONING, _LEVELS = 529, 530, 531, 532
_COSITED = 2
_JPEG = (0.299, 0.587, 0.114)
_AT_ONCE = 1 << 20
"""Samples that are computed with at once, in floating point."""


class YCbCr(NamedTuple):
    """How a file's colours are stored.

    `across`, `down`: luma samples for one of chroma; `assumed`: the file does not say how many; `cosited`: whether that
    one lies on the first of them, not amid them; `weights`: of red, green and blue in luma; `levels`: black and white
    of each channel, as codes.
    """

    across: int
    down: int
    assumed: bool
    cosited: bool
    weights: tuple[float, float, float]
    levels: tuple[float, float, float, float, float, float]

    @property
    def subsampled(self) -> bool:
        """Whether there are less samples of chroma than pixels."""
        return (self.across, self.down) != (1, 1)

    def is_jpegs(self, bits: int) -> bool:
        """Whether the formula is JPEG's, of all of the range."""
        return self.levels == _whole_range(bits) and np.abs(np.subtract(self.weights, _JPEG)).max() <= 1e-3


def read_ycbcr(directory: Directory, bits: int) -> YCbCr:
    """What a directory says of its YCbCr colours, or TIFF assumes where it says nothing. Raises `ValueError`."""
    factors = directory.integers(_SUBSAMPLING) if _SUBSAMPLING in directory.entries else (2, 2)
    if len(factors) != 2 or not {*factors} <= {1, 2, 4}:
        raise ValueError(f"its YCbCr colours are subsampled by {factors}; convert the picture first")
    across, down = factors
    cosited = directory.integers(_POSITIONING)[:1] == (_COSITED,)
    weights = _rationals(directory, _COEFFICIENTS, _JPEG)
    levels = _rationals(directory, _LEVELS, _whole_range(bits))
    if not weights[1] or any(black == white for black, white in zip(levels[::2], levels[1::2], strict=True)):
        raise ValueError("its YCbCr colours are of a formula that has no inverse; convert the picture first")
    return YCbCr(across, down, _SUBSAMPLING not in directory.entries, cosited, weights, levels)  # type: ignore[arg-type]


def pixels_of(blocks: NDArray[Any], ycbcr: YCbCr) -> NDArray[Any]:
    """`(rows, values)` of data units, the luma of a block and then its two chroma samples, as `(rows * down, columns *
    across, 3)`: chroma is that of the block."""
    across, down = ycbcr.across, ycbcr.down
    units = blocks.reshape(len(blocks), -1, across * down + 2)
    rows, columns = units.shape[:2]
    out = np.empty((rows * down, columns * across, 3), blocks.dtype)
    luma = units[..., :-2].reshape(rows, columns, down, across).transpose(0, 2, 1, 3)
    out[..., 0] = luma.reshape(rows * down, columns * across)
    out[..., 1:] = units[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return out


def interpolate(samples: NDArray[Any], ycbcr: YCbCr) -> None:
    """Where chroma lies on the first pixel of each block, changes that of the others to what is between two of them.
    (Amid the block it is theirs as it is.) `samples`: `(height, width, 3)`, changed in place."""
    for channel in (1, 2):
        chroma = samples[:: ycbcr.down, :: ycbcr.across, channel]
        chroma = _between(_between(chroma, ycbcr.down, 0), ycbcr.across, 1)
        samples[..., channel] = chroma[: samples.shape[0], : samples.shape[1]]


def to_rgb(samples: NDArray[Any], ycbcr: YCbCr) -> NDArray[np.uint8]:
    """`(height, width, 3)` codes as RGB, 0..255."""
    red, green, blue = ycbcr.weights
    black, white = np.array(ycbcr.levels, np.float32).reshape(3, 2).T
    scale = np.array([255, 127, 127], np.float32) / (white - black)
    out = np.empty(samples.shape, np.uint8)
    step = max(1, _AT_ONCE // samples[0].size)
    for top in range(0, len(samples), step):
        codes = samples[top : top + step].astype(np.float32)
        luma, cb, cr = np.moveaxis((codes - black) * scale, -1, 0)
        r, b = luma + cr * (2 - 2 * red), luma + cb * (2 - 2 * blue)
        g = (luma - red * r - blue * b) / green
        out[top : top + step] = np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255)
    return out


def _whole_range(bits: int) -> tuple[float, ...]:
    top, middle = float((1 << bits) - 1), float(1 << (bits - 1))
    return (0.0, top, middle, top, middle, top)


def _rationals(directory: Directory, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    if tag not in directory.entries:
        return default
    parts = np.frombuffer(directory.bytes(tag), f"{directory.order}u4").reshape(-1, 2)
    if directory.entries[tag].type != _RATIONAL or len(parts) != len(default) or not parts[:, 1].all():
        raise ValueError(f"its tag {tag} is damaged")
    return tuple((parts[:, 0] / parts[:, 1]).tolist())


def _between(values: NDArray[Any], factor: int, axis: int) -> NDArray[Any]:
    """Linear interpolation to `factor` times as many along an axis; the last value is held."""
    first = values.astype(np.uint32)
    last = first.take([-1], axis=axis)
    following = np.concatenate([first, last], axis=axis).take(range(1, first.shape[axis] + 1), axis=axis)
    parts = [(first * (factor - part) + following * part + factor // 2) // factor for part in range(factor)]
    shape = list(first.shape)
    shape[axis] *= factor
    return np.stack(parts, axis=axis + 1).reshape(shape)
