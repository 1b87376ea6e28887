"""Intervals of means over pictures, and of differences between two codecs: the bootstrap over pictures.

Percentile intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13): pictures are drawn
with replacement, as many as there are, `RESAMPLES` times with a fixed seed. Codecs are compared on the same draws, so a
difference between two codecs is paired: its interval is that of the mean of the differences picture by picture, much
narrower than the codecs' own intervals, which are mostly the pictures' variety.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rd

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95

Interval = tuple[float, float]


def interval(values: ArrayLike) -> Interval | None:
    """The interval of the mean of `values`, one a picture; None for fewer than two pictures."""
    array = np.asarray(values, dtype=np.float64)
    return None if len(array) < 2 else _percentiles(draws(len(array)) @ array)


def difference(a: ArrayLike, b: ArrayLike) -> tuple[float, Interval | None]:
    """Mean and interval of `b - a`, values of two codecs on the same pictures in the same order."""
    deltas = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    return float(deltas.mean()), interval(deltas)


def differs(found: Interval | None) -> bool:
    """Whether an interval of a difference leaves out zero. One picture shows no difference."""
    return found is not None and not found[0] <= 0 <= found[1]


def share_above(deltas: rd.Array) -> tuple[float, Interval | None]:
    """At which share of the rates a codec is above another, and the interval of that share.

    Args:
        deltas: `(pictures, rates)`, quality of the one less that of the other; NaN where one of them has no file. A
            rate counts when a picture has both, by the mean over the pictures that do.

    NaN when no rate counts.
    """
    known = ~np.isnan(deltas)
    zeroed = np.where(known, deltas, 0)

    def share(weights: rd.Array) -> rd.Array:
        counted = (weights @ known) > 0
        above = counted & (weights @ zeroed > 0)
        rates = counted.sum(axis=1)
        return np.divide(above.sum(axis=1), rates, out=np.full(len(rates), np.nan), where=rates > 0)

    value = float(share(np.full((1, len(deltas)), 1 / len(deltas)))[0])
    if np.isnan(value) or len(deltas) < 2:
        return value, None
    resampled = share(draws(len(deltas)))
    return value, _percentiles(resampled[~np.isnan(resampled)])


@functools.lru_cache(maxsize=4)
def draws(pictures: int) -> NDArray[np.float64]:
    """`(RESAMPLES, pictures)`: the weight of each picture in each resample, rows of sum 1."""
    generator = np.random.default_rng(SEED)
    counts = generator.multinomial(pictures, np.full(pictures, 1 / pictures), size=RESAMPLES)
    return counts / pictures


def _percentiles(means: rd.Array) -> Interval:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
