"""`lit-rnncomp bdrate`: the mean difference in rate between two codecs at equal quality."""

from __future__ import annotations

from json import dumps
from typing import Any

import numpy as np

from . import confidence, per_picture, rd
from .metric_table import METRICS, Metric, MetricName
from .points import read_points
from .results import Results
from .summary import difference, mean_delta
from .tables import INTERVALS


def bdrate(
    a: str,
    b: str,
    results: str | None = None,
    metric: MetricName = "ms_ssim",
    interpolation: rd.Interpolation = "pchip",
    json: bool = False,
) -> None:
    """Bjontegaard deltas of B against the anchor A: percent of rate at equal quality, dB at equal rate.

    With --results the deltas are computed for each picture and averaged, with intervals of a bootstrap over pictures;
    the paired difference of the areas and the share of rates at which B is above A are said too. Without, A and B are
    files of points: two columns, bits per pixel and quality (of --metric, as it is: not in dB), `#` for comments, such
    as those of tensorflow/compression; or a table of one curve whose first line names the columns bpp (or rate,
    bitrate) and that of the metric.

    Args:
        a: the anchor: a codec's name in --results, or a file of points.
        b: the codec that is compared with it.
        results: the --out of `lit-rnncomp evaluate`.
        metric: the quality; similarities (ms_ssim, ssim) are compared in dB, -10 log10(1 - value).
        interpolation: the piecewise cubic between points: pchip (monotone) or akima.
        json: print the deltas as JSON.
    """
    row = METRICS[metric]
    deltas = _of_files(a, b, row, interpolation) if results is None else _of_results(a, b, results, row, interpolation)
    if json:
        print(dumps(deltas))
        return
    over = "" if results is None else f", mean over {deltas['pictures']} of {deltas['of']} pictures"
    print(f"{b} against {a}, {metric}, {interpolation}{over}:")
    rate, quality = deltas["bd_rate"], deltas["bd_quality"]
    if rate is None:
        print("  no rate at equal quality: the curves share no range of quality")
    else:
        between = _between(deltas.get("bd_rate_interval"), "+.2f")
        print(f"  {rate:+.2f} %{between} rate at equal quality (negative: {b} needs fewer bits)")
    if quality is None:
        print("  no quality at equal rate: the curves share no range of rates")
    else:
        between = _between(deltas.get("bd_quality_interval"), "+.3f")
        print(f"  {quality:+.3f} {row.axis_unit}{between} at equal rate (positive: {b} looks better)")
    if results is not None:
        _print_of_results(deltas, a, b, row)


def _of_files(a: str, b: str, metric: Metric, interpolation: rd.Interpolation) -> dict[str, Any]:
    """Either delta is None where the curves share no range for it. Raises `CurvesDoNotOverlap` where both are."""
    anchor, curve = read_points(a, metric), read_points(b, metric)
    points = (anchor.bpp, metric.as_quality(anchor.quality), curve.bpp, metric.as_quality(curve.quality))
    deltas: dict[str, Any] = {}
    for name, delta in (("bd_rate", rd.bd_rate), ("bd_quality", rd.bd_quality)):
        try:
            deltas[name] = delta(*points, interpolation)
        except rd.CurvesDoNotOverlap:
            deltas[name] = None
        except ValueError as error:
            raise ValueError(f"{b} against {a}: {error}") from None
    if deltas["bd_rate"] is None and deltas["bd_quality"] is None:
        raise rd.CurvesDoNotOverlap(
            f"{a} and {b} share no range of {metric.name} and none of rates: measure more settings of one of them"
        )
    return deltas


def _of_results(a: str, b: str, folder: str, metric: Metric, interpolation: rd.Interpolation) -> dict[str, Any]:
    results = Results.read(folder)
    for codec in (a, b):
        if codec not in results.codecs:
            raise ValueError(f"{folder} has no codec {codec!r}; it has {', '.join(results.codecs)}")
    rate = mean_delta(rd.bd_rate, results, a, b, metric, interpolation)
    quality = mean_delta(rd.bd_quality, results, a, b, metric, interpolation)
    if rate.pictures == 0 and quality.pictures == 0:
        raise rd.CurvesDoNotOverlap(
            f"on no picture do the curves of {a} and {b} share a range of {metric.name} or of rates"
        )
    area_a, area_b = per_picture.areas(results, a, metric), per_picture.areas(results, b, metric)
    above, above_interval = confidence.share_above(per_picture.gains(results, a, b, metric))
    return {
        "bd_rate": rate.value if rate.pictures else None,
        "bd_rate_interval": rate.interval,
        "bd_quality": quality.value if quality.pictures else None,
        "bd_quality_interval": quality.interval,
        "pictures": rate.pictures or quality.pictures,
        "of": len(results.common()),
        metric.summary: difference(area_a, area_b, metric),
        "above": None if np.isnan(above) else above,
        "above_interval": above_interval,
    }


def _between(interval: confidence.Interval | None, style: str) -> str:
    return f" [{interval[0]:{style}}, {interval[1]:{style}}]" if interval else ""


def _print_of_results(deltas: dict[str, Any], a: str, b: str, metric: Metric) -> None:
    """What only measured pictures tell."""
    found, style = deltas[metric.summary], f"+.{metric.decimals}f"
    kind = "area" if metric.summary == "auc" else "mean"
    real = "" if found["real"] else f": {a} and {b} are not told apart"
    print(f"  {found['difference']:{style}}{_between(found['interval'], style)} {kind} of {metric.title}{real}")
    if deltas["above"] is not None:
        share = f"{deltas['above']:.0%}{_between(deltas['above_interval'], '.0%')}"
        print(f"  {b} is above {a} at {share} of the rates from 1/8 to 2 bpp that both have")
    print(f"  [ , ]: {INTERVALS}, paired")
