"""Numbers for each of the common pictures, from which means, intervals and paired differences are taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import rd
from .metric_table import Metric, shown
from .records import PictureResult
from .results import Results

RATES: rd.Array = np.linspace(rd.GRID[0], rd.GRID[-1], 121)
"""Where two curves are compared rate by rate: 1/64 bit per pixel apart, over the range of the areas."""


def with_metric(results: Results, metric: Metric) -> list[PictureResult]:
    """The common pictures that are large enough for a metric."""
    return [p for p in results.common() if next(iter(p.codecs.values())).curve(metric.name) is not None]


def areas(results: Results, codec: str, metric: Metric, nominal: bool = False) -> rd.Array:
    """`Metric.area` of each picture of `with_metric`, by the paper's rule: beyond its ends a curve is held."""
    return np.array([metric.area(_curve(p, codec, metric, nominal)) for p in with_metric(results, metric)])


def common_areas(results: Results, metric: Metric) -> dict[str, rd.Array]:
    """Codec -> areas of each picture over the rates from 1/8 to 2 bits per pixel at which every codec has files.

    So nothing is held. Scaled to the paper's width: the mean quality there times 1.875. Pictures without such a range
    are left out.
    """
    found: dict[str, list[float]] = {codec: [] for codec in results.codecs}
    for picture in with_metric(results, metric):
        curves = {codec: _curve(picture, codec, metric) for codec in found}
        low = max(rd.GRID[0], *(curve.bpp.min() for curve in curves.values()))
        high = min(rd.GRID[-1], *(curve.bpp.max() for curve in curves.values()))
        if low >= high:
            continue
        rates = np.linspace(low, high, len(RATES))
        for codec, curve in curves.items():
            area = rd.auc(rates, _read_off(curve, metric, rates))
            found[codec].append(area / (high - low) * rd.WIDTH)
    return {codec: np.array(values) for codec, values in found.items()}


def held(results: Results, codec: str) -> int:
    """Of how many common pictures the codec has no file of 1/8 bit per pixel or less: there the area holds its first
    value, which favours it."""
    smallest = (min(point.bpp for point in picture.codecs[codec].points) for picture in results.common())
    return sum(bool(bpp > rd.GRID[0]) for bpp in smallest)


def gains(results: Results, anchor: str, codec: str, metric: Metric, nominal: bool = False) -> rd.Array:
    """`(pictures, RATES)`: by how much `codec` is better than `anchor` at equal rate; NaN where either has no file.

    On the axis of the metric's curves. `nominal`: a recurrent codec's bits before entropy coding, without headers.
    """
    rows = []
    for picture in with_metric(results, metric):
        pair = (_curve(picture, anchor, metric), _curve(picture, codec, metric, nominal))
        a, b = (metric.as_quality(_read_off(curve, metric, RATES)) for curve in pair)
        rows.append(b - a)
    return np.array(rows).reshape(-1, len(RATES))


class Lead(NamedTuple):
    """`by`: how much the first model's area is above that of the best codec that is no model, `over`."""

    by: float
    over: str | None


def lead(results: Results, picture: PictureResult) -> Lead:
    """Of the first model on one picture, by the first shown metric that it is large enough for."""
    first, *_ = results.models
    for metric in shown():
        curves = {name: codec.curve(metric.name) for name, codec in picture.codecs.items()}
        sign = 1 if metric.more_is_better else -1
        areas = {name: sign * metric.area(curve) for name, curve in curves.items() if curve is not None}
        others = {name: area for name, area in areas.items() if name not in results.models}
        if first in areas and others:
            over = max(others, key=lambda name: others[name])
            return Lead(areas[first] - others[over], over)
    return Lead(0.0, None)


def _curve(picture: PictureResult, codec: str, metric: Metric, nominal: bool = False) -> rd.Curve:
    curve = picture.codecs[codec].curve(metric.name, nominal)
    assert curve is not None, "with_metric left out the others"
    return curve


def _read_off(curve: rd.Curve, metric: Metric, rates: rd.Array) -> rd.Array:
    if len(curve.bpp) == 1:
        return np.where(rates == curve.bpp[0], curve.quality[0], np.nan)
    sign = 1 if metric.more_is_better else -1
    return sign * rd.read_off(curve.bpp, sign * curve.quality, rates)
