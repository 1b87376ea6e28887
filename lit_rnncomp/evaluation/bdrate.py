"""`lit-rnncomp bdrate`: the mean difference in rate between two codecs at equal quality."""

from __future__ import annotations

from json import dumps

from . import rd
from .metric_table import METRICS, Metric, MetricName
from .published import read_points
from .results import Results
from .summary import mean_delta


def bdrate(
    a: str,
    b: str,
    results: str | None = None,
    metric: MetricName = "ms_ssim",
    interpolation: rd.Interpolation = "pchip",
    json: bool = False,
) -> None:
    """Bjontegaard deltas of B against the anchor A: percent of rate at equal quality, dB at equal rate.

    With --results the deltas are computed for each picture and averaged. Without, A and B are files of points: two
    columns, bits per pixel and quality (MS-SSIM or dB), `#` for comments, such as those of tensorflow/compression.

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
    print(f"  {deltas['bd_rate']:+.2f} % rate at equal quality (negative: {b} needs fewer bits)")
    print(f"  {deltas['bd_quality']:+.3f} {row.axis_unit} at equal rate (positive: {b} looks better)")


def _of_files(a: str, b: str, metric: Metric, interpolation: rd.Interpolation) -> dict[str, float]:
    anchor, curve = read_points(a), read_points(b)
    points = (anchor.bpp, metric.as_quality(anchor.quality), curve.bpp, metric.as_quality(curve.quality))
    return {"bd_rate": rd.bd_rate(*points, interpolation), "bd_quality": rd.bd_quality(*points, interpolation)}


def _of_results(a: str, b: str, folder: str, metric: Metric, interpolation: rd.Interpolation) -> dict[str, float]:
    results = Results.read(folder)
    for codec in (a, b):
        if codec not in results.codecs:
            raise ValueError(f"{folder} has no codec {codec!r}; it has {', '.join(results.codecs)}")
    rate = mean_delta(rd.bd_rate, results, a, b, metric, interpolation)
    quality = mean_delta(rd.bd_quality, results, a, b, metric, interpolation)
    if rate.pictures == 0:
        raise rd.CurvesDoNotOverlap(f"on no picture do the curves of {a} and {b} share a range of {metric.name}")
    return {"bd_rate": rate.value, "bd_quality": quality.value, "pictures": rate.pictures, "of": len(results.common())}
