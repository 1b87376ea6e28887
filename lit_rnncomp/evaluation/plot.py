"""`lit-rnncomp plot`: rate-distortion curves of measured and published codecs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..codec import zoo
from ..files import Output
from . import rd
from .colours import colours
from .drawing import figure, legend
from .mean_curves import MeanCurves
from .metric_table import Metric, shown
from .published import Published, curves, warn_of_others
from .records import ResultsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RIGHT = 2.05
"""Bits per pixel at the right of a panel."""
_LINES = ("-", "--", "-.")
"""Of the first, second, third results: a codec keeps its colour."""
_OTHER_FORMATS = frozenset(
    (".bmp", ".eps", ".gif", ".html", ".jpeg", ".jpg", ".json", ".pgf", ".ps", ".svgz", ".tif", ".tiff", ".webp")
)


def plot(
    results: list[str],
    out: str = "rd.png",
    published: str | None = None,
    title: str = "",
    table: bool = False,
    hours: list[float] | None = None,
) -> None:
    """Draw rate-distortion curves as PNG and SVG, or as PDF: mean over pictures at each setting, rates of whole files.

    Args:
        results: folders that `lit-rnncomp evaluate` wrote, curves.json files out of them, or names of results that
            ship.
        out: the picture to write, both as .png and as .svg; or a name that ends in .pdf. Only drawings of this program
            are replaced.
        published: add published curves over the same pictures: kodak for the shipped ones, or a folder of curves as
            tensorflow/compression keeps them.
        title: a line above the drawing.
        table: draw and print no curves but the paper's Table 1 of the measured networks: units by frameworks, one table
            for each of the results; networks of one unit and framework count as seeds.
        hours: draw no curves but what training buys: core-hours of the models in each of the first results, [0.9,5];
            of results after them the classical codecs are drawn as levels.
    """
    if bool(table) + bool(published) + bool(hours) > 1:
        raise ValueError("--published adds curves, --table and --hours draw none: leave out all but one of them")
    outputs = [Output(name, own=True) for name in file_names(out)]
    sources = [_found(name) for name in results]
    kind = "curves"
    if table:
        kind = "table"
        _draw_tables(sources, outputs, title)
    elif hours:
        from .hours import draw as draw_hours

        kind = "quality against hours"
        draw_hours(sources, hours, outputs, title)
    else:
        draw([MeanCurves.read(source) for source in sources], outputs, published, title)
    print(f"{kind} in {' and '.join(str(output.path) for output in outputs)}")


def _found(source: str) -> Path:
    """A path, or else the shipped results of this name. Raises `ResultsError`."""
    path = Path(source)
    shipped = {file.stem: file for file in sorted((zoo.FOLDER / "results").glob("*.json"))}
    if path.exists():
        return path
    if source not in shipped:
        raise ResultsError(
            f"{source} cannot be read: give the --out of `lit-rnncomp evaluate`, its curves.json, or one of the "
            f"results that ship, {', '.join(shipped)}"
        )
    return shipped[source]


def _draw_tables(results: list[Path], outputs: list[Output], title: str) -> None:
    from rich.console import Console

    from . import unit_table

    tables = unit_table.with_one_baseline([unit_table.UnitTable.read(source) for source in results])
    unit_table.draw(tables, outputs, title)
    # The tables' width: a figure must not be cut.
    console = Console(width=max(Console().width, 155), markup=False, emoji=False)
    for table in tables:
        console.print(unit_table.show(table))


def file_names(out: str) -> list[str]:
    """`a.png` and `a.svg` for `a`, `a.png` or `a.svg`; `a.pdf` alone. A dot in a name that ends otherwise is part of
    it.

    Raises `ValueError` for another picture format, and for a folder's name.
    """
    if out.replace(os.sep, "/").rpartition("/")[2] in ("", ".", ".."):
        raise ValueError(f"--out is {out!r}, a folder; name a drawing in it, such as {Path(out) / 'rd.png'}")
    path = Path(out)
    ending = path.suffix.lower()
    if ending == ".pdf":
        return [out]
    if ending in (".png", ".svg"):
        return [str(path.with_suffix(".png")), str(path.with_suffix(".svg"))]
    if ending in _OTHER_FORMATS:
        raise ValueError(f"--out is {out}; curves are drawn as .png, .svg or .pdf")
    return [f"{out}.png", f"{out}.svg"]


def draw(results: list[MeanCurves], outputs: list[Output], published: str | None, title: str) -> None:
    """The drawing: every shown metric, side by side, written to every one of `outputs`.

    Raises:
        ValueError: there is not one curve to draw.
    """
    for result in results:
        warn_of_others(published, result.data, result.pictures)
    metrics = shown()
    with figure(4.3 * len(metrics), 4.6, outputs, title) as drawn:
        for panel, metric in zip(drawn.subplots(1, len(metrics)), metrics, strict=True):
            _panel(panel, results, published, metric)
            panel.set(xlabel=_over(results), ylabel=f"{metric.title} ({metric.axis_unit})", xlim=(0, RIGHT))
            panel.grid(alpha=0.25, linewidth=0.6)
        lines = {str(line.get_label()): line for panel in drawn.axes for line in panel.get_lines()}
        if not lines:
            raise ValueError(
                "there is no curve to draw: every codec has a single setting, or every picture is too small for "
                "the metrics"
            )
        legend(drawn, lines, columns=min(5, len(lines)))


def _panel(panel: "Axes", results: list[MeanCurves], published: str | None, metric: Metric) -> None:
    """All curves of one metric; the window shows what lies between 0 and 2 bits per pixel."""
    colour = colours(codec for result in results for codec in result.codecs)
    visible: list[float] = []
    for k, result in enumerate(results):
        for codec, by_metric in result.codecs.items():
            curve = by_metric.get(metric.name)
            if curve is None or len(curve.bpp) < 2:
                continue
            alone = sum(codec in other.codecs for other in results) == 1
            label = codec if alone else f"{codec} ({result.name or k + 1})"
            thick = {"linewidth": 2.2, "marker": "o", "markersize": 3.5, "zorder": 3}
            style = thick if codec in result.models else {"linewidth": 1.3}
            quality = metric.on_axis(curve.quality)
            panel.plot(curve.bpp, quality, color=colour[codec], linestyle=_LINES[k % len(_LINES)], label=label, **style)
            visible += _within(curve.bpp, quality)
    for entry in _published(results, published, metric):
        quality = metric.on_axis(entry.curve.quality)
        line = colours([entry.title])[entry.title]
        panel.plot(entry.curve.bpp, quality, color=line, linewidth=1, linestyle=":", label=f"{entry.title}, published")
        visible += _within(entry.curve.bpp, quality)
    if visible:
        room = 0.04 * (max(visible) - min(visible)) + 0.1
        panel.set_ylim(min(visible) - room, max(visible) + room)


def _within(bpp: rd.Array, quality: rd.Array) -> list[float]:
    """Values in the window, up to where the curve leaves it at the right."""
    end = [float(np.interp(RIGHT, bpp, quality))] if bpp.min() < RIGHT < bpp.max() else []
    return [*quality[bpp <= RIGHT], *end]


def _published(results: list[MeanCurves], source: str | None, metric: Metric) -> list[Published]:
    """The published curves over the same pictures as every one of `results`."""
    found = curves(source, metric.name) if source else []
    return [entry for entry in found if all(entry.is_over(result.data, result.pictures) for result in results)]


def _over(results: list[MeanCurves]) -> str:
    """`mean over 24 pictures`; of several results each number."""
    counts = list(dict.fromkeys(len(result.pictures) for result in results))
    return f"bits per pixel, mean over {' and '.join(map(str, counts))} picture{'s' if counts != [1] else ''}"
