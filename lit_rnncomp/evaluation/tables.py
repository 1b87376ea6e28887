"""The comparison of `summary` as tables: for the terminal, and column by column for the report."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from . import confidence, rd
from .metric_table import METRICS, Metric, compared, shown
from .per_picture import with_metric
from .results import Results
from .summary import ABOVE

if TYPE_CHECKING:
    from rich.table import Table

HELD = "*"
"""After an area that holds the first value below a codec's smallest file."""
INTERVALS = (
    f"{confidence.LEVEL:.0%} intervals: percentile bootstrap over pictures, {confidence.RESAMPLES:,} resamples, "
    f"seed {confidence.SEED}"
)


class Column(NamedTuple):
    """A column of a table: its head of two lines, the key of a `comparison` row, and how a value is written.

    `nominal`: only models of binary codes have it. `holds`: a value is marked where it holds a codec's first value.
    """

    head: str
    key: str
    style: str
    unit: str = ""
    nominal: bool = False
    holds: bool = False

    def cell(self, results: Results, row: dict[str, Any]) -> str:
        """The text of a row's cell; a dash where there is no value."""
        value = row.get(self.key)
        if value is None or (self.nominal and row["codec"] not in results.nominal):
            return "-"
        count, of = row.get(f"{self.key}_pictures"), _pictures_with(results, self.key.removeprefix("bd_rate_"))
        mark = HELD if self.holds and row["held_pictures"] else ""
        return f"{value:{self.style}}{self.unit}{mark}" + (f" ({count}/{of})" if count not in (None, of) else "")

    def interval(self, row: dict[str, Any]) -> str:
        """`1.8272 to 1.8350`; empty where there is none."""
        ends = row.get(f"{self.key}_interval")
        return "" if ends is None else " to ".join(f"{end:{self.style}}" for end in ends)

    def spread(self, row: dict[str, Any]) -> str:
        """Half the interval, for a narrow table: `±0.0039`; empty where there is none."""
        ends = row.get(f"{self.key}_interval")
        return "" if ends is None else f"±{(ends[1] - ends[0]) / 2:{self.style.removeprefix('+')}}"


def area_columns() -> list[Column]:
    """The summary of every shown metric over real files, before them the paper's own: MS-SSIM over nominal rates."""
    columns = [Column(m.head, f"{m.name}_{m.summary}_file", f".{m.decimals}f", holds=True) for m in shown()]
    return [Column("MS-SSIM\nnominal", "ms_ssim_auc", ".4f", nominal=True), *columns]


def common_columns() -> list[Column]:
    """The same over the rates that every codec has."""
    return [Column(m.head, f"{m.name}_{m.summary}_common", f".{m.decimals}f") for m in shown()]


def above_columns() -> list[Column]:
    """Shares of rates above JPEG 4:2:0."""
    return [Column(f"{m.title}\nabove", f"above_{ABOVE}_{m.name}", ".0%") for m in shown()]


def above_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of other codecs than JPEG 4:2:0; of a model a second one, of its nominal bits."""
    found = []
    for row in rows:
        if row["codec"] == ABOVE:
            continue
        found.append(row)
        keys = [column.key for column in above_columns() if f"{column.key}_nominal" in row]
        if keys:
            nominal = {f"{key}{end}": row[f"{key}_nominal{end}"] for key in keys for end in ("", "_interval")}
            found.append({**row, **nominal, **{name: f"{row[name]}, nominal" for name in ("codec", "title")}})
    return found


def rate_columns() -> list[Column]:
    """Rates by every metric that compares them: BD-rates, then bits per pixel at the target."""
    deltas = [Column(f"BD-rate\n{m.title}", f"bd_rate_{m.name}", "+.1f", "%") for m, _ in compared()]
    targets = [
        Column(f"bpp at\n{target:g} {m.unit}".strip(), f"bpp_at_{m.name}_{target:g}", ".3f") for m, target in compared()
    ]
    return deltas + targets


def tables(results: Results, rows: list[dict[str, Any]], anchor: str, of: int) -> list[Table]:
    """The comparison for a terminal of 80 columns: areas, the same over rates that every codec has, rates against the
    anchor and seconds, and shares of rates above JPEG 4:2:0."""
    title = f"Quality from 1/8 to 2 bpp, {over(results, of)}"
    caption = f"Areas and means; a perfect area is {rd.WIDTH:g}{_small(results)}. ±: half the interval."
    if any(row["held_pictures"] for row in rows):
        caption += f" {HELD}: no file of 1/8 bpp, the first value is held."
    first = [*area_columns(), Column("header at\n0.5 bpp", "header_share_at_0.5_bpp", ".1%")]
    second = [*rate_columns(), Column("encode", "encode_seconds", ".3f"), Column("decode", "decode_seconds", ".3f")]
    found = [
        _table(results, rows, first, title, caption),
        _table(
            results, rows, second, f"Rate against {anchor}, rate at equal quality, seconds a file", "Less is better."
        ),
    ]
    if any(row["held_pictures"] for row in rows) and len(rows) > 1:
        note = "As the first table, nothing held; areas on the same scale."
        found.append(_table(results, rows, common_columns(), "Over the rates that every codec has", note))
    if ABOVE in results.codecs and (others := above_rows(rows)):
        above = f"Above JPEG 4:2:0: share of the rates from 1/8 to 2 bpp, {over(results, of)}"
        note = "Of the rates that both have."
        if results.nominal:
            note += " Nominal: bits before entropy coding, without headers."
        found.append(_table(results, others, above_columns(), above, note))
    return found


def over(results: Results, of: int) -> str:
    """`mean over 24 pictures`, or of how many they are those that every codec measured."""
    pictures = len(results.common())
    if pictures == of:
        return f"mean over {pictures} picture{'s' if pictures != 1 else ''}"
    return f"mean over {pictures} of {of} pictures, those that every codec measured"


def not_told_apart(rows: list[dict[str, Any]]) -> list[str]:
    """For each shown metric the neighbours in rank whose difference may be chance, as a line each."""
    lines = []
    for metric in shown():
        ranked = _ranked(rows, metric)
        close = []
        for better, worse in pairwise(ranked):
            found = better["differences"][worse["codec"]][metric.name]
            if not found["real"]:
                close.append(f"{better['codec']} and {worse['codec']} ({found['difference']:+.{metric.decimals}f}")
                ends = found["interval"]
                close[-1] += f", {ends[0]:+.{metric.decimals}f} to {ends[1]:+.{metric.decimals}f})" if ends else ")"
        if close:
            lines.append(f"{metric.title}: {', '.join(close)}")
    return lines


def _ranked(rows: list[dict[str, Any]], metric: Metric) -> list[dict[str, Any]]:
    key = f"{metric.name}_{metric.summary}_file"
    return sorted((row for row in rows if key in row), key=lambda row: row[key], reverse=metric.more_is_better)


def _small(results: Results) -> str:
    small = len(results.common()) - _pictures_with(results, "ms_ssim")
    return f"; MS-SSIM without {small} pictures under 161 pixels a side" if small else ""


def _pictures_with(results: Results, metric: str) -> int:
    """How many of the common pictures are large enough for a metric; all of them for what is no metric."""
    return len(with_metric(results, METRICS[metric]) if metric in METRICS else results.common())


def _table(results: Results, rows: list[dict[str, Any]], columns: list[Column], title: str, caption: str) -> Table:
    from rich.table import Table

    table = Table(title=title, caption=caption)
    table.add_column("codec", overflow="fold", min_width=8)
    filled = [column for column in columns if any(column.cell(results, row) != "-" for row in rows)]
    for column in filled:
        table.add_column(column.head.strip(), justify="right", no_wrap=True)
    for row in rows:
        cells = [(column.cell(results, row), column.spread(row)) for column in filled]
        table.add_row(row["codec"], *(cell if cell == "-" else f"{cell}\n{spread}".strip() for cell, spread in cells))
    return table
