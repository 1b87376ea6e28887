"""Results as a reader wants them: areas under curves, Bjontegaard deltas, rate at equal quality, seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import rd
from .metric_table import METRICS, Metric, compared, shown
from .results import Results

if TYPE_CHECKING:
    from rich.table import Table


class MeanDelta(NamedTuple):
    """The mean over `pictures` of a Bjontegaard delta; the others' curves do not overlap. NaN when none does."""

    value: float
    pictures: int


def areas(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """`summary.json`: codec -> metric -> `auc` and `auc_file`, each the mean over the pictures that every codec
    measured.

    `auc_file` is of real files, headers included. `auc` is of a recurrent codec's nominal bits, the paper's rule; other
    codecs have no nominal rate, so both are the same there.
    """
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for codec in results.codecs:
        summary[codec] = {}
        for name, metric in METRICS.items():
            both = {}
            for key, nominal in (("auc", True), ("auc_file", False)):
                curves = [picture.codecs[codec].curve(name, nominal) for picture in results.common()]
                values = [metric.area(curve) for curve in curves if curve is not None]
                if values:
                    both[key] = round(float(np.mean(values)), 6)
            if both:
                summary[codec][name] = both
    return summary


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
    return MeanDelta(float(np.mean(values)) if values else float("nan"), len(values))


def comparison(results: Results, anchor: str) -> list[dict[str, Any]]:
    """One row a codec: the numbers of the table that `evaluate` prints. NaN becomes None, so that it is JSON.

    `ms_ssim_auc_file` and such are areas, `psnr_mean_file` and such means in dB: what `Metric.summary` says.
    """
    rows = []
    summary = areas(results)
    for codec, title in results.codecs.items():
        row: dict[str, Any] = {"codec": codec, "title": title, "pictures": len(results.common())}
        for metric in shown():
            for key, area in summary[codec].get(metric.name, {}).items():
                row[f"{metric.name}_{key.replace('auc', metric.summary)}"] = metric.summarise(area)
        for metric, target in compared():
            if anchor in results.codecs:
                delta = mean_delta(rd.bd_rate, results, anchor, codec, metric)
                row[f"bd_rate_{metric.name}"], row[f"bd_rate_{metric.name}_pictures"] = delta
            row[f"bpp_at_{metric.name}_{target:g}"] = _bpp_at(results.mean_curve(codec, metric.name), metric, target)
        points = [point for picture in results.common() for point in picture.codecs[codec].points]
        row["encode_seconds"] = float(np.mean([point.encode_seconds for point in points]))
        row["decode_seconds"] = float(np.mean([point.decode_seconds for point in points]))
        row["header_share_at_0.5_bpp"] = _header_share(results, codec)
        rows.append({key: _number(value) for key, value in row.items()})
    return rows


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


class Column(NamedTuple):
    """A column of a table: its head of two lines, the key of a `comparison` row, and how a value is written.

    `models_only`: only recurrent codecs have it.
    """

    head: str
    key: str
    style: str
    unit: str = ""
    models_only: bool = False

    def cell(self, results: Results, row: dict[str, Any]) -> str:
        """The text of a row's cell; a dash where there is no value."""
        value = row.get(self.key)
        if value is None or (self.models_only and row["codec"] not in results.models):
            return "-"
        count, of = row.get(f"{self.key}_pictures"), _pictures_with(results, self.key.removeprefix("bd_rate_"))
        return f"{value:{self.style}}{self.unit}" + (f" ({count}/{of})" if count not in (None, of) else "")


def area_columns() -> list[Column]:
    """The summary of every shown metric over real files, before them the paper's own: MS-SSIM over nominal rates."""
    columns = [Column(m.head, f"{m.name}_{m.summary}_file", f".{m.decimals}f") for m in shown()]
    return [Column("MS-SSIM\nnominal", "ms_ssim_auc", ".4f", models_only=True), *columns]


def rate_columns() -> list[Column]:
    """Rates by every metric that compares them: BD-rates, then bits per pixel at the target."""
    deltas = [Column(f"BD-rate\n{m.title}", f"bd_rate_{m.name}", "+.1f", "%") for m, _ in compared()]
    targets = [
        Column(f"bpp at\n{target:g} {m.unit}".strip(), f"bpp_at_{m.name}_{target:g}", ".3f") for m, target in compared()
    ]
    return deltas + targets


def tables(results: Results, rows: list[dict[str, Any]], anchor: str, of: int) -> tuple[Table, Table]:
    """The comparison for a terminal of 80 columns: areas, then rates against the anchor and seconds."""
    pictures = len(results.common())
    measured = (
        f"{pictures} pictures" if pictures == of else f"{pictures} of {of} pictures, those that every codec measured"
    )
    small = pictures - _pictures_with(results, "ms_ssim")
    note = f"; MS-SSIM without {small} pictures under 161 pixels a side" if small else ""
    title = f"Quality from 1/8 to 2 bpp, mean over {measured}"
    caption = f"Areas and means; a perfect area is {rd.WIDTH:g}{note}."
    first = [*area_columns(), Column("header at\n0.5 bpp", "header_share_at_0.5_bpp", ".1%")]
    second = [*rate_columns(), Column("encode", "encode_seconds", ".3f"), Column("decode", "decode_seconds", ".3f")]
    against = f"Rate against {anchor}, rate at equal quality, seconds a file"
    return (
        _table(results, rows, first, title, caption),
        _table(results, rows, second, against, "BD-rate: less is better."),
    )


def _pictures_with(results: Results, metric: str) -> int:
    """How many of the common pictures are large enough for a metric; all of them for what is no metric."""
    pictures = results.common()
    if metric not in METRICS:
        return len(pictures)
    return sum(next(iter(picture.codecs.values())).curve(metric) is not None for picture in pictures)


def _table(results: Results, rows: list[dict[str, Any]], columns: list[Column], title: str, caption: str) -> Table:
    from rich.table import Table

    table = Table(title=title, caption=caption)
    table.add_column("codec", overflow="fold")
    for column in columns:
        table.add_column(column.head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["codec"], *(column.cell(results, row) for column in columns))
    return table
