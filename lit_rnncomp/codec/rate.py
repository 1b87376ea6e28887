"""Meeting a target: the threshold whose file has a size, or a quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

FILL = 0.985
"""A file this full is full enough: another try costs an encode and gains less than a reader can see."""

_TRIES = 8
_OVERHEAD = 60


class RateError(ValueError):
    """A rate target that no file of this picture and model can meet."""


def check_targets(targets: Mapping[str, object]) -> None:
    """Raises `ValueError` for two targets that are not None, for what is no number, and for a part of an iteration, a
    quality or a step."""
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"give one of {', '.join(targets)}, not {' and '.join(given)}")
    for name in given:
        whole = name in ("iterations", "quality", "step")
        if not isinstance(targets[name], Integral if whole else Real):
            raise ValueError(f"{name}={targets[name]!r} is not a {'whole ' * whole}number")


def meet_size(encode: Callable[[int], bytes], significant: NDArray[np.int64], budget: float, pixels: int) -> bytes:
    """The longest file found within `budget` bytes.

    Bits follow the number of coefficients that reach the threshold almost in proportion (He and Mitra, "A linear source
    model and a unified rate control algorithm for DCT video coding", IEEE TCSVT 2002), so a file's size tells the next
    guess; once a file is too long and another fits, the next guess lies between them.

    Args:
        encode: a step to a file. Steps are thresholds, finer and finer; sizes rise with them but for a few bytes.
        significant: how many coefficients reach each step's threshold, rising.
        budget: bytes.
        pixels: of the picture, for the message.

    Raises `RateError` when not even the coarsest file fits.
    """
    low, high, best, bits_each = -1, len(significant), b"", 5.5
    sizes: dict[int, int] = {}
    for _ in range(_TRIES):
        if low in sizes and high in sizes:
            share = (budget * 0.994 - sizes[low]) / (sizes[high] - sizes[low])
            wanted = significant[low] + share * (significant[high] - significant[low])
        else:
            wanted = max(budget * 0.994 - _OVERHEAD, 1) * 8 / bits_each
        step = int(np.clip(np.searchsorted(significant, wanted, "right") - 1, low + 1, high - 1))
        data = encode(step)
        sizes[step] = len(data)
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

    `quality` is that of a step, rising; `slope`: by how much, about, for each step. Once one step is too coarse and
    another fine enough, the next lies between them: where their line meets the target, and every third time in the
    middle, so that some ten steps are tried and never hundreds.
    """
    low, high, step = -1, finest + 1, start
    values: dict[int, float] = {}
    while high - low > 1:
        value = values[step] = quality(step)
        if value < target:
            low = step
        else:
            high = step
            if value <= target + slack:
                break
        wanted = step + (target + slack / 2 - value) / slope
        if low in values and high in values:
            share = (target + slack / 2 - values[low]) / (values[high] - values[low])
            wanted = low + (0.5 if len(values) % 3 == 0 else share) * (high - low)
        step = min(max(round(wanted), low + 1), high - 1)
    return high if high <= finest else None
