"""MS-SSIM in NumPy, so that a picture is coded to a quality without torch.

The definition of `evaluation.metrics.ms_ssim` (Wang, Simoncelli and Bovik, 2003), to which a test holds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW = 11
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_CENTRE = 127.5
SMALLEST = ((_WINDOW - 1) << (len(_EXPONENTS) - 1)) + 1
"""Pixels a side for all five scales."""

_offset = np.arange(_WINDOW) - _WINDOW // 2
_WEIGHTS = np.exp(-(_offset**2) / (2 * 1.5**2))
_WEIGHTS = (_WEIGHTS / _WEIGHTS.sum()).astype(np.float32)

Maps = NDArray[np.floating[Any]]


class Similarity:
    """MS-SSIM to one original, `(H, W, 3)` uint8, whose share of the work is done once.

    Raises `ValueError` for a picture with a side under 161 pixels.
    """

    def __init__(self, original: NDArray[np.uint8]) -> None:
        if min(original.shape[:2]) < SMALLEST:
            raise ValueError(
                f"MS-SSIM needs {SMALLEST} pixels a side, the picture has {original.shape[1]}x{original.shape[0]}"
            )
        self._scales = []
        maps = _centred(original)
        for _ in _EXPONENTS:
            mean = _blurred(maps)
            self._scales.append((maps, mean, _blurred(maps * maps) - mean * mean))
            maps = _halved(maps)

    def __call__(self, picture: NDArray[np.uint8]) -> float:
        """0 to 1."""
        maps, value = _centred(picture), 1.0
        for (original, target, variance), exponent in zip(self._scales, _EXPONENTS, strict=True):
            mean = _blurred(maps)
            covariance = _blurred(maps * original) - mean * target
            similarity = (2 * covariance + _C2) / (_blurred(maps * maps) - mean * mean + variance + _C2)
            if exponent is _EXPONENTS[-1]:
                mean, target = mean + _CENTRE, target + _CENTRE
                similarity *= (2 * mean * target + _C1) / (mean * mean + target * target + _C1)
            value *= max(float(similarity.mean(dtype=np.float64)), 0.0) ** exponent
            maps = _halved(maps)
        return value


def _centred(picture: NDArray[np.uint8]) -> Maps:
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) - np.float32(_CENTRE)


def _blurred(maps: Maps) -> Maps:
    """The Gaussian window over `(3, H, W)`, only where it fits whole."""
    rows, columns = (side - _WINDOW + 1 for side in maps.shape[1:])
    down = sum(weight * maps[:, k : k + rows] for k, weight in enumerate(_WEIGHTS))
    blurred: Maps = sum(weight * down[:, :, k : k + columns] for k, weight in enumerate(_WEIGHTS))
    return blurred


def _halved(maps: Maps) -> Maps:
    """The mean of 2x2 pixels; an odd last row or column is repeated."""
    even = np.pad(maps, ((0, 0), (0, maps.shape[1] % 2), (0, maps.shape[2] % 2)), mode="edge")
    return even.reshape(3, even.shape[1] // 2, 2, even.shape[2] // 2, 2).mean((2, 4))
