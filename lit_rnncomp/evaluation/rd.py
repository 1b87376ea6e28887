"""Rate-distortion mathematics: area under a curve, convex hull, Bjontegaard deltas. numpy only.

A curve is two equally long sequences: `bpp`, bits per pixel of whole files (positive), and `quality`, any metric of
which more is better (MS-SSIM, or dB). Points may come in any order.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Interpolation = Literal["pchip", "akima"]

GRID: Array = np.arange(1, 17) / 8
"""The paper's 16 rates, 1/8 to 2 bits per pixel."""
WIDTH = float(GRID[-1] - GRID[0])
"""Of that range, 1.875: an area under a curve over this is the mean quality."""


class CurvesDoNotOverlap(ValueError):
    """Two curves share no range over which their difference could be averaged."""


class Curve(NamedTuple):
    """Points in order of rising rate: `bpp` and `quality`, both `(n,)` float64."""

    bpp: Array
    quality: Array


def auc(bpp: ArrayLike, quality: ArrayLike) -> float:
    """Area under a curve by the trapezoid rule, from its first point to its last.

    The paper's rule (recovered from its Table 1, which gives no formula): the 16 points at 1/8, 2/8, ..., 2 bits per
    pixel, so the width is 1.875, which is also the most MS-SSIM can reach. Areas over other ranges must not be compared
    with it.

    Raises:
        ValueError: fewer than two points, a value that is not finite, or a rate that is not positive or occurs twice.
    """
    curve = _sorted(bpp, quality)
    if np.any(np.diff(curve.bpp) == 0):
        raise ValueError("the area under a curve needs every bpp once")
    return float((np.diff(curve.bpp) * (curve.quality[1:] + curve.quality[:-1]) / 2).sum())


def auc_file(bpp: ArrayLike, quality: ArrayLike) -> float:
    """`auc` of one picture's real files: the curve is read off at the 16 rates of `GRID` by linear interpolation.

    Beyond its ends the curve is held flat, which favours a codec that cannot go as low as 1/8 bit per pixel. A data
    set's value is the mean of this over its pictures.

    Raises:
        ValueError: as `auc`; but where a rate occurs twice, the better quality counts.
    """
    curve = _best_at_each_rate(_sorted(bpp, quality))
    return auc(GRID, np.interp(GRID, curve.bpp, curve.quality))


def pareto(bpp: ArrayLike, quality: ArrayLike) -> Curve:
    """The points that no point of lower or equal rate matches: both coordinates rise strictly."""
    curve = _best_at_each_rate(_sorted(bpp, quality))
    best_before = np.concatenate(([-np.inf], np.maximum.accumulate(curve.quality)[:-1]))
    keep = curve.quality > best_before
    return Curve(curve.bpp[keep], curve.quality[keep])


def convex_hull(bpp: ArrayLike, quality: ArrayLike) -> Curve:
    """The upper convex hull of the points up to the best quality: what time-sharing between settings could reach."""
    hull: list[tuple[float, float]] = []
    for x, y in zip(*pareto(bpp, quality), strict=True):
        while len(hull) > 1 and _turns_left(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    return Curve(*np.array(hull).T)


def bd_rate(
    anchor_bpp: ArrayLike,
    anchor_quality: ArrayLike,
    bpp: ArrayLike,
    quality: ArrayLike,
    interpolation: Interpolation = "pchip",
) -> float:
    """Mean difference in rate at equal quality, in percent of the anchor's; negative means that the second curve saves
    bits.

    log(bpp) is interpolated as a function of quality by a piecewise cubic, its mean is taken over the range of quality
    that both curves cover, and the difference of the means is turned back into a ratio. The cubic is `pchip` (monotone)
    or `akima` (recommended by Herglotz et al., 2022), not the single polynomial of the first proposal, which swings
    when curves have many points. Dominated points are left out first (see `pareto`). Give MS-SSIM in decibels
    (`decibel`). Source: Bjontegaard, VCEG-M33, 2001.

    Raises:
        CurvesDoNotOverlap: the two ranges of quality have nothing in common.
        ValueError: a curve with fewer than two points that count, or invalid points as in `auc`.
    """
    a, b = _at_least_two(anchor_bpp, anchor_quality), _at_least_two(bpp, quality)
    low, high = _common(a.quality, b.quality, "quality")
    mean_a = _mean(a.quality, np.log(a.bpp), low, high, interpolation)
    mean_b = _mean(b.quality, np.log(b.bpp), low, high, interpolation)
    return float(100 * np.expm1(mean_b - mean_a))


def bd_quality(
    anchor_bpp: ArrayLike,
    anchor_quality: ArrayLike,
    bpp: ArrayLike,
    quality: ArrayLike,
    interpolation: Interpolation = "pchip",
) -> float:
    """Mean difference in quality at equal rate, in the unit of the quality (BD-PSNR, BD-MS-SSIM); positive means
    better.

    As `bd_rate` with the axes exchanged: quality as a function of log(bpp), averaged over the rates that both curves
    cover.

    Raises:
        CurvesDoNotOverlap: the two ranges of rate have nothing in common.
        ValueError: as `bd_rate`.
    """
    a, b = _at_least_two(anchor_bpp, anchor_quality), _at_least_two(bpp, quality)
    x_a, x_b = np.log(a.bpp), np.log(b.bpp)
    low, high = _common(x_a, x_b, "log(bpp)")
    return _mean(x_b, b.quality, low, high, interpolation) - _mean(x_a, a.quality, low, high, interpolation)


def bpp_at(bpp: ArrayLike, quality: ArrayLike, target: float) -> float:
    """The rate that reaches `target` quality, log(bpp) interpolated linearly; NaN where the curve does not span it."""
    curve = pareto(bpp, quality)
    return float(np.exp(np.interp(target, curve.quality, np.log(curve.bpp), left=np.nan, right=np.nan)))


def quality_at(bpp: ArrayLike, quality: ArrayLike, target: float) -> float:
    """The quality at `target` bits per pixel, interpolated linearly; NaN where the curve does not span the target."""
    return float(read_off(bpp, quality, target))


def read_off(bpp: ArrayLike, quality: ArrayLike, rates: ArrayLike) -> Array:
    """The quality at each of `rates`, interpolated linearly; NaN where the curve does not span them.

    Where a rate occurs twice, the better quality counts.
    """
    curve = _best_at_each_rate(_sorted(bpp, quality))
    at = np.asarray(rates, dtype=np.float64)
    return np.asarray(np.interp(at, curve.bpp, curve.quality, left=np.nan, right=np.nan))


def decibel(ms_ssim: ArrayLike) -> Array:
    """MS-SSIM (or any similarity up to 1) as `-10 log10(1 - value)`, at most 100 dB."""
    return -10 * np.log10(np.maximum(1 - np.asarray(ms_ssim, dtype=np.float64), 1e-10))


def _sorted(bpp: ArrayLike, quality: ArrayLike) -> Curve:
    x, y = np.asarray(bpp, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"a curve is two lists of one length, at least two points each, not shapes {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all() and x.min() > 0):
        raise ValueError("a curve needs finite values and positive bpp")
    order = np.lexsort((y, x))
    return Curve(x[order], y[order])


def _best_at_each_rate(curve: Curve) -> Curve:
    last_of_its_rate = np.append(np.diff(curve.bpp) > 0, True)
    return Curve(curve.bpp[last_of_its_rate], curve.quality[last_of_its_rate])


def _at_least_two(bpp: ArrayLike, quality: ArrayLike) -> Curve:
    curve = pareto(bpp, quality)
    if len(curve.bpp) < 2:
        raise ValueError(
            "a Bjontegaard delta needs two points with rising quality on each curve, and one curve has a single one"
        )
    return curve


def _common(a: Array, b: Array, axis: str) -> tuple[float, float]:
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if low >= high:
        raise CurvesDoNotOverlap(
            f"no common range of {axis}: {a[0]:.4g} to {a[-1]:.4g} for the anchor, "
            f"{b[0]:.4g} to {b[-1]:.4g} for the other curve; "
            "measure more settings of one of them"
        )
    return low, high


def _turns_left(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) >= (b[1] - a[1]) * (c[0] - a[0])


def _mean(x: Array, y: Array, low: float, high: float, interpolation: Interpolation) -> float:
    """Mean over [low, high] of the piecewise cubic through the points, integrated exactly."""
    if interpolation not in ("pchip", "akima"):
        raise ValueError(f"interpolation is pchip or akima, not {interpolation!r}")
    width, secant = np.diff(x), np.diff(y) / np.diff(x)
    slope = _pchip_slopes(width, secant) if interpolation == "pchip" else _akima_slopes(secant)
    # On each interval y + slope t + c t^2 + d t^3, t counted from the interval's left end.
    c = (3 * secant - 2 * slope[:-1] - slope[1:]) / width
    d = (slope[:-1] + slope[1:] - 2 * secant) / width**2
    start = np.clip(low - x[:-1], 0, width)
    stop = np.clip(high - x[:-1], 0, width)

    def antiderivative(t: Array) -> Array:
        return t * (y[:-1] + t * (slope[:-1] / 2 + t * (c / 3 + t * d / 4)))

    return float((antiderivative(stop) - antiderivative(start)).sum() / (high - low))


def _pchip_slopes(width: Array, secant: Array) -> Array:
    """Fritsch and Butland's monotone slopes, with one-sided three-point slopes at the ends, as in SciPy and MATLAB."""
    if len(secant) == 1:
        return np.repeat(secant, 2)
    left, right = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    rising = secant[:-1] * secant[1:] > 0
    inverse = np.divide(left, secant[:-1], where=rising, out=np.ones_like(left))
    inverse += np.divide(right, secant[1:], where=rising, out=np.ones_like(right))
    inner = np.where(rising, (left + right) / inverse, 0.0)
    first = _pchip_end(width[0], width[1], secant[0], secant[1])
    last = _pchip_end(width[-1], width[-2], secant[-1], secant[-2])
    return np.concatenate(([first], inner, [last]))


def _pchip_end(width: float, next_width: float, secant: float, next_secant: float) -> float:
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    if slope * secant <= 0:
        return 0.0
    if secant * next_secant < 0 and abs(slope) > 3 * abs(secant):
        return 3 * secant
    return slope


def _akima_slopes(secant: Array) -> Array:
    """Akima's slopes (1970): neighbouring secants weighted by how much the ones beyond them change."""
    before = 2 * secant[0] - secant[min(1, len(secant) - 1)]
    after = 2 * secant[-1] - secant[max(-2, -len(secant))]
    m = np.concatenate(([2 * before - secant[0], before], secant, [after, 2 * after - secant[-1]]))
    change = np.abs(np.diff(m))
    weight_left, weight_right = change[2:], change[:-2]
    total = weight_left + weight_right
    even = total <= 1e-9 * total.max(initial=0)
    weighted = (weight_left * m[1:-2] + weight_right * m[2:-1]) / np.where(even, 1.0, total)
    return np.where(even, (m[1:-2] + m[2:-1]) / 2, weighted)
