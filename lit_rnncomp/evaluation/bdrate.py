"""`lit-rnncomp bdrate`: the mean difference in rate between two codecs at equal quality."""

from __future__ import annotations

from typing import Literal


def bdrate(
    a: str,
    b: str,
    results: str | None = None,
    metric: Literal["ms_ssim", "psnr", "psnr_hvs", "psnr_hvs_m", "psnr_ycbcr", "ssim"] = "ms_ssim",
    interpolation: Literal["pchip", "akima"] = "pchip",
    json: bool = False,
) -> None:
    """Bjontegaard deltas of B against the anchor A: percent of rate at equal quality, dB at equal rate.

    With --results the deltas are computed for each picture and averaged. Without, A and B are files of points: two columns, bits
    per pixel and quality (MS-SSIM or dB), `#` for comments, such as those of tensorflow/compression.

    Args:
        a: the anchor: a codec's name in --results, or a file of points.
        b: the codec that is compared with it.
        results: the --out of `lit-rnncomp evaluate`.
        metric: the quality; similarities (ms_ssim, ssim) are compared in dB, -10 log10(1 - value).
        interpolation: the piecewise cubic between points: pchip (monotone) or akima.
        json: print the deltas as JSON.
    """
    import json as json_module

    deltas = _of_files(a, b, metric, interpolation) if results is None else _of_results(a, b, results, metric, interpolation)
    if json:
        print(json_module.dumps(deltas))
        return
    over = "" if results is None else f", mean over {deltas['pictures']} of {deltas['of']} pictures"
    print(f"{b} against {a}, {metric}, {interpolation}{over}:")
    print(f"  {deltas['bd_rate']:+.2f} % rate at equal quality (negative: {b} needs fewer bits)")
    print(f"  {deltas['bd_quality']:+.3f} dB at equal rate (positive: {b} looks better)")


def _of_files(a: str, b: str, metric: str, interpolation: Literal["pchip", "akima"]) -> dict[str, float]:
    from lit_rnncomp.evaluation import rd
    from lit_rnncomp.evaluation.published import read_points
    from lit_rnncomp.evaluation.summary import in_db

    anchor, curve = read_points(a), read_points(b)
    points = (anchor.bpp, in_db(metric, anchor.quality), curve.bpp, in_db(metric, curve.quality))
    return {"bd_rate": rd.bd_rate(*points, interpolation), "bd_quality": rd.bd_quality(*points, interpolation)}


def _of_results(a: str, b: str, folder: str, metric: str, interpolation: Literal["pchip", "akima"]) -> dict[str, float]:
    from lit_rnncomp.evaluation.rd import CurvesDoNotOverlap
    from lit_rnncomp.evaluation.results import Results
    from lit_rnncomp.evaluation.summary import mean_bd_quality, mean_bd_rate

    results = Results.read(folder)
    for codec in (a, b):
        if codec not in results.codecs:
            raise ValueError(f"{folder} has no codec {codec!r}; it has {', '.join(results.codecs)}")
    rate = mean_bd_rate(results, a, b, metric, interpolation)
    quality = mean_bd_quality(results, a, b, metric, interpolation)
    if rate.pictures == 0:
        raise CurvesDoNotOverlap(f"on no picture do the curves of {a} and {b} share a range of {metric}")
    return {"bd_rate": rate.value, "bd_quality": quality.value, "pictures": rate.pictures, "of": len(results.common())}
