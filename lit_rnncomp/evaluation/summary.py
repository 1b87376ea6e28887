"""Results as a reader wants them: areas under curves, Bjontegaard deltas, rate at equal quality, seconds.

Every mean over pictures has an interval (see `confidence`), and so has every difference between two codecs.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from . import confidence, per_picture, rd
from .metric_table import METRICS, Metric, compared, shown
from .results import Results

ABOVE = "jpeg420"
"""The codec above which shares of rates are counted."""


class MeanDelta(NamedTuple):
    """The mean over `pictures` of a Bjontegaard delta, with its interval; the others' curves do not overlap. NaN when
    none does."""

    value: float
    pictures: int
    interval: confidence.Interval | None = None


def areas(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """`summary.json`: codec -> metric -> areas, each the mean over the `pictures` that every codec measured and that
    are large enough for the metric.

    `auc_file` is of real files, headers included, and `auc_file_interval` its interval; so with `auc`, of a recurrent
    codec's nominal bits, the paper's rule; other codecs have no nominal rate, so both are the same there. `auc_common`
    is as `auc_file` over the rates at which every codec has files, scaled to the same width, with `common_pictures`
    that have such rates.
    """
    summary: dict[str, dict[str, dict[str, Any]]] = {codec: {} for codec in results.codecs}
    for name, metric in METRICS.items():
        common = per_picture.common_areas(results, metric)
        for codec in results.codecs:
            found: dict[str, Any] = {}
            for key, nominal in (("auc", True), ("auc_file", False)):
                found.update(_mean(key, per_picture.areas(results, codec, metric, nominal)))
            if not found:
                continue
            found.update(_mean("auc_common", common[codec]))
            counts = {"pictures": len(per_picture.with_metric(results, metric)), "common_pictures": len(common[codec])}
            summary[codec][name] = found | counts
    return summary


def _mean(key: str, values: rd.Array) -> dict[str, Any]:
    """A mean under its key and its interval; nothing for no pictures."""
    if not len(values):
        return {}
    return {key: round(float(values.mean()), 6), f"{key}_interval": _rounded(confidence.interval(values))}


def _rounded(interval: confidence.Interval | None) -> list[float] | None:
    return None if interval is None else [round(end, 6) for end in interval]


def differences(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """Codec -> other codec -> shown metric -> by how much the codec's area or mean is above the other's.

    `difference` is the mean over the pictures, `interval` its interval, paired over pictures, and `real` whether that
    leaves out zero.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {codec: {} for codec in results.codecs}
    for metric in shown():
        values = {codec: per_picture.areas(results, codec, metric) for codec in found}
        for codec, other in permutations(values, 2):
            if len(values[codec]):
                found[codec].setdefault(other, {})[metric.name] = difference(values[other], values[codec], metric)
    return found


def difference(a: rd.Array, b: rd.Array, metric: Metric) -> dict[str, Any]:
    """Of `b` above `a`, areas of the same pictures, as `Metric.summarise` gives it."""
    mean, interval = confidence.difference(metric.summarise(a), metric.summarise(b))
    return {"difference": round(mean, 6), "interval": _rounded(interval), "real": confidence.differs(interval)}


def mean_delta(
    delta: Callable[..., float],
    results: Results,
    anchor: str,
    codec: str,
    metric: Metric,
    interpolation: rd.Interpolation = "pchip",
) -> MeanDelta:
    """Mean over pictures of `rd.bd_rate` (percent) or `rd.bd_quality` (unit of the curves) of `codec` against `anchor`.

    Similarities are taken in decibels; of a distance less is better.
    """
    values = []
    for picture in results.common():
        pair = [picture.codecs[name].curve(metric.name) for name in (anchor, codec)]
        points = [axis for curve in pair if curve is not None for axis in (curve.bpp, metric.as_quality(curve.quality))]
        if len(points) < 4:
            continue
        try:
            values.append(delta(*points, interpolation))
        except ValueError:  # no overlap, or a curve of one point: counted by `pictures`
            continue
    if not values:
        return MeanDelta(float("nan"), 0)
    return MeanDelta(float(np.mean(values)), len(values), confidence.interval(values))


def comparison(results: Results, anchor: str) -> list[dict[str, Any]]:
    """One row a codec: the numbers of the table that `evaluate` prints. NaN becomes None, so that it is JSON.

    `ms_ssim_auc_file` and such are areas, `psnr_mean_file` and such means in dB: what `Metric.summary` says;
    `..._interval` is the interval of the number of that name, `..._common` of the rates that every codec has.
    `held_pictures`: see `per_picture.held`. `above_jpeg420_psnr` and such: at which share of the rates from 1/8 to 2
    bits per pixel the mean is above JPEG 4:2:0's, `..._nominal` with a model's bits before entropy coding.
    `differences`: see there.
    """
    rows = []
    summary, pairs = areas(results), differences(results)
    for codec, title in results.codecs.items():
        row: dict[str, Any] = {"codec": codec, "title": title, "pictures": len(results.common())}
        row["held_pictures"] = per_picture.held(results, codec)
        for metric in shown():
            for key, area in summary[codec].get(metric.name, {}).items():
                if key.startswith("auc"):
                    row[f"{metric.name}_{key.replace('auc', metric.summary)}"] = _summarised(metric, area)
            row.update(_above(results, codec, metric))
        for metric, target in compared():
            if anchor in results.codecs:
                delta, key = mean_delta(rd.bd_rate, results, anchor, codec, metric), f"bd_rate_{metric.name}"
                row[key], row[f"{key}_pictures"] = delta.value, delta.pictures
                row[f"{key}_interval"] = _rounded(delta.interval)
            row[f"bpp_at_{metric.name}_{target:g}"] = _bpp_at(results.mean_curve(codec, metric.name), metric, target)
        points = [point for picture in results.common() for point in picture.codecs[codec].points]
        row["encode_seconds"] = float(np.mean([point.encode_seconds for point in points]))
        row["decode_seconds"] = float(np.mean([point.decode_seconds for point in points]))
        row["header_share_at_0.5_bpp"] = _header_share(results, codec)
        rows.append({key: _number(value) for key, value in row.items()} | {"differences": pairs[codec]})
    return rows


def _summarised(metric: Metric, area: float | list[float] | None) -> float | list[float] | None:
    if isinstance(area, list):
        return [metric.summarise(end) for end in area]
    return None if area is None else metric.summarise(area)


def _above(results: Results, codec: str, metric: Metric) -> dict[str, Any]:
    """Shares of rates above JPEG 4:2:0; nothing where that was not measured."""
    if ABOVE not in results.codecs or codec == ABOVE:
        return {}
    found: dict[str, Any] = {}
    kinds = {"": False, "_nominal": True} if codec in results.nominal else {"": False}
    for kind, nominal in kinds.items():
        deltas = per_picture.gains(results, ABOVE, codec, metric, nominal)
        if not len(deltas):
            continue
        share, interval = confidence.share_above(deltas)
        found[f"above_{ABOVE}_{metric.name}{kind}"] = share
        found[f"above_{ABOVE}_{metric.name}{kind}_interval"] = _rounded(interval)
    return found


def _bpp_at(curve: rd.Curve | None, metric: Metric, target: float) -> float | None:
    """Log-rate is interpolated over the metric's own values, not over those of the axis."""
    if curve is None or len(curve.bpp) < 2:
        return None
    sign = 1 if metric.more_is_better else -1
    return rd.bpp_at(curve.bpp, sign * curve.quality, sign * target)


def _header_share(results: Results, codec: str) -> float | None:
    """Mean share of the file that is header, at each picture's point nearest to 0.5 bpp."""
    nearest = [
        min(picture.codecs[codec].points, key=lambda point: abs(point.bpp - 0.5)) for picture in results.common()
    ]
    if any(point.header_bytes is None for point in nearest):
        return None
    return float(np.mean([(point.header_bytes or 0) / point.bytes for point in nearest]))


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    return value
