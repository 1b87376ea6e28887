"""Meeting a target: the threshold whose file has a size, or a quality."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FILL = 0.985
"""A file this full is full enough: another try costs an encode and gains less than a reader can see."""

_TRIES = 8
_OVERHEAD = 60


class RateError(ValueError):
    """A rate target that no file of this picture and model can meet."""


def meet_size(encode: Callable[[int], bytes], significant: NDArray[np.int64], budget: float, pixels: int) -> bytes:
    """The longest file found within `budget` bytes.

    Bits follow the number of coefficients that reach the threshold almost in proportion (He and Mitra, "A linear source
    model and a unified rate control algorithm for DCT video coding", IEEE TCSVT 2002), so a file's size tells the next
    guess.

    Args:
        encode: a step to a file. Steps are thresholds, finer and finer; sizes rise with them but for a few bytes.
        significant: how many coefficients reach each step's threshold, rising.
        budget: bytes.
        pixels: of the picture, for the message.

    Raises `RateError` when not even the coarsest file fits.
    """
    low, high, best, bits_each = -1, len(significant), b"", 5.5
    for _ in range(_TRIES):
        wanted = max(budget * 0.994 - _OVERHEAD, 1) * 8 / bits_each
        step = int(np.clip(np.searchsorted(significant, wanted, "right") - 1, low + 1, high - 1))
        data = encode(step)
        if len(data) > budget:
            high = step
        else:
            low, best = step, max(best, data, key=len)
        if len(best) >= FILL * budget or high - low <= 1:
            break
        bits_each = 8 * max(len(data) - _OVERHEAD, 1) / max(int(significant[step]), 1)
    best = best or encode(0)
    if len(best) > budget:
        raise RateError(
            f"{budget:.0f} bytes are too few: the smallest file of this picture has {len(best)} bytes "
            f"({8 * len(best) / pixels:.3f} bpp)"
        )
    return best


def meet_quality(
    quality: Callable[[int], float], target: float, start: int, finest: int, slope: float, slack: float
) -> int | None:
    """The step whose quality is at least `target`, at most `slack` above it where steps are fine enough; None where
    none reaches it.

    `quality` is that of a step, rising; `slope`: by how much, about, for each step. At most some ten steps are tried.
    """
    low, high, step = -1, finest + 1, start
    while high - low > 1:
        value = quality(step)
        if value < target:
            low = step
        else:
            high = step
            if value <= target + slack:
                break
        step = (
            int(np.clip(round(step + (target + slack / 2 - value) / slope), low + 1, high - 1))
            if high - low > 1
            else step
        )
    return high if high <= finest else None
