"""Results as a reader wants them: areas under curves, Bjontegaard deltas, rate at equal quality, seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lit_rnncomp.evaluation import rd
from lit_rnncomp.evaluation.measure import METRICS
from lit_rnncomp.evaluation.results import Results

if TYPE_CHECKING:
    from rich.table import Table

EQUAL_MS_SSIM, EQUAL_PSNR = 0.96, 30.0


class MeanDelta(NamedTuple):
    """The mean over `pictures` of a Bjontegaard delta; the other pictures' curves do not overlap. NaN when none does."""

    value: float
    pictures: int


def areas(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """`summary.json`: codec -> metric -> `auc` and `auc_file`, each the mean over the pictures that every codec measured.

    `auc_file` is of real files, headers included. `auc` is of a recurrent codec's nominal bits, the paper's rule; other codecs have
    no nominal rate, so both are the same there.
    """
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for codec in results.codecs:
        summary[codec] = {}
        for metric in METRICS:
            both = {}
            for key, nominal in (("auc", True), ("auc_file", False)):
                curves = [picture.codecs[codec].curve(metric, nominal) for picture in results.common()]
                values = [_area(curve) for curve in curves if curve is not None]
                if values:
                    both[key] = round(float(np.mean(values)), 6)
            if both:
                summary[codec][metric] = both
    return summary


def _area(curve: rd.Curve) -> float:
    """`rd.auc_file`; a codec with a single setting has a flat curve."""
    if len(curve.bpp) == 1:
        return float(curve.quality[0]) * float(rd.GRID[-1] - rd.GRID[0])
    return rd.auc_file(*curve)


def mean_bd_rate(results: Results, anchor: str, codec: str, metric: str, interpolation: rd.Interpolation = "pchip") -> MeanDelta:
    """Mean of the pictures' BD-rates of `codec` against `anchor`, in percent; MS-SSIM is taken in decibels."""
    return _mean_delta(rd.bd_rate, results, anchor, codec, metric, interpolation)


def mean_bd_quality(results: Results, anchor: str, codec: str, metric: str, interpolation: rd.Interpolation = "pchip") -> MeanDelta:
    """Mean of the pictures' differences in quality at equal rate, in dB."""
    return _mean_delta(rd.bd_quality, results, anchor, codec, metric, interpolation)


def _mean_delta(delta: Any, results: Results, anchor: str, codec: str, metric: str, interpolation: rd.Interpolation) -> MeanDelta:
    values = []
    for picture in results.common():
        first, second = picture.codecs[anchor].curve(metric), picture.codecs[codec].curve(metric)
        if first is None or second is None:
            continue
        try:
            values.append(delta(first.bpp, in_db(metric, first.quality), second.bpp, in_db(metric, second.quality), interpolation))
        except ValueError:  # no overlap, or a curve of one point: counted by `pictures`
            continue
    return MeanDelta(float(np.mean(values)) if values else float("nan"), len(values))


def in_db(metric: str, quality: rd.Array) -> rd.Array:
    """Similarities in decibels, decibels as they are."""
    return rd.decibel(quality) if metric in ("ms_ssim", "ssim") else quality


def comparison(results: Results, anchor: str) -> list[dict[str, Any]]:
    """One row a codec: the numbers of the table that `evaluate` prints. NaN becomes None, so that it is JSON."""
    rows = []
    summary = areas(results)
    for codec, title in results.codecs.items():
        row: dict[str, Any] = {"codec": codec, "title": title, "pictures": len(results.common())}
        for metric in ("ms_ssim", "psnr", "psnr_hvs"):
            for key, value in summary[codec].get(metric, {}).items():
                row[f"{metric}_{key}"] = value
        for metric in ("ms_ssim", "psnr"):
            if anchor in results.codecs:
                delta = mean_bd_rate(results, anchor, codec, metric)
                row[f"bd_rate_{metric}"], row[f"bd_rate_{metric}_pictures"] = delta
        for metric, target in (("ms_ssim", EQUAL_MS_SSIM), ("psnr", EQUAL_PSNR)):
            curve = results.mean_curve(codec, metric)
            row[f"bpp_at_{metric}_{target:g}"] = rd.bpp_at(*curve, target) if curve is not None and len(curve.bpp) > 1 else None
        points = [point for picture in results.common() for point in picture.codecs[codec].points]
        row["encode_seconds"] = float(np.mean([point.encode_seconds for point in points]))
        row["decode_seconds"] = float(np.mean([point.decode_seconds for point in points]))
        row["header_share_at_0.5_bpp"] = _header_share(results, codec)
        rows.append({key: _number(value) for key, value in row.items()})
    return rows


def _header_share(results: Results, codec: str) -> float | None:
    """Mean share of the file that is header, at each picture's point nearest to 0.5 bpp."""
    nearest = [min(picture.codecs[codec].points, key=lambda point: abs(point.bpp - 0.5)) for picture in results.common()]
    if any(point.header_bytes is None for point in nearest):
        return None
    return float(np.mean([(point.header_bytes or 0) / point.bytes for point in nearest]))


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 6)
    return value


def tables(results: Results, rows: list[dict[str, Any]], anchor: str, of: int) -> tuple[Table, Table]:
    """The comparison for a terminal of 80 columns: areas, then rates against the anchor and seconds."""
    from rich.table import Table

    pictures = len(results.common())
    measured = f"{pictures} pictures" if pictures == of else f"{pictures} of {of} pictures, those that every codec measured"
    small = sum(next(iter(picture.codecs.values())).curve("ms_ssim") is None for picture in results.common())
    note = f"; MS-SSIM without {small} pictures under 161 pixels a side" if small else ""
    first = Table(title=f"Area under the curve, mean over {measured}", caption=f"1/8 to 2 bpp; perfect MS-SSIM is 1.875{note}.")
    columns = ("MS-SSIM\nnominal", "MS-SSIM\nof files", "PSNR\nof files", "PSNR-HVS\nof files", "header at\n0.5 bpp")
    _columns(first, *columns)
    second = Table(title=f"Rate against {anchor}, rate at equal quality, seconds a file", caption="BD-rate: less is better.")
    bpp = (f"bpp at\n{EQUAL_MS_SSIM:g}", f"bpp at\n{EQUAL_PSNR:g} dB")
    _columns(second, "BD-rate\nMS-SSIM", "BD-rate\nPSNR", *bpp, "encode", "decode")
    for row in rows:
        first.add_row(
            row["codec"],
            _show(row.get("ms_ssim_auc") if row["codec"] in results.run["models"] else None, ".4f"),
            _show(row.get("ms_ssim_auc_file"), ".4f"),
            _show(row.get("psnr_auc_file"), ".2f"),
            _show(row.get("psnr_hvs_auc_file"), ".2f"),
            _show(row["header_share_at_0.5_bpp"], ".1%"),
        )
        second.add_row(
            row["codec"],
            _show(row.get("bd_rate_ms_ssim"), "+.1f", "%", partial=(row.get("bd_rate_ms_ssim_pictures"), pictures - small)),
            _show(row.get("bd_rate_psnr"), "+.1f", "%", partial=(row.get("bd_rate_psnr_pictures"), pictures)),
            _show(row.get(f"bpp_at_ms_ssim_{EQUAL_MS_SSIM:g}"), ".3f"),
            _show(row.get(f"bpp_at_psnr_{EQUAL_PSNR:g}"), ".3f"),
            _show(row["encode_seconds"], ".3f"),
            _show(row["decode_seconds"], ".3f"),
        )
    return first, second


def _columns(table: Table, *heads: str) -> None:
    table.add_column("codec", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)


def _show(value: float | None, style: str, unit: str = "", partial: tuple[int | None, int] = (0, 0)) -> str:
    if value is None:
        return "-"
    count, of = partial
    return f"{value:{style}}{unit}" + (f" ({count}/{of})" if count != of else "")
