"""What training time buys: quality over the whole range of rates against core-hours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import Output
from .colours import OF_CODEC, colours
from .drawing import figure, legend
from .mean_curves import summaries
from .metric_table import Metric, shown
from .records import ResultsError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_Summaries = dict[str, Any]


def draw(sources: list[Path], hours: list[float], outputs: list[Output], title: str) -> None:
    """A panel for each shown metric, with a line for each tune, and levels of the classical codecs.

    `hours` are the core-hours of the models in each of the first sources; others are there for their classical codecs.

    Raises:
        ValueError: there are more hours than sources, one is not positive, or no model was measured.
        ResultsError: sources are over different pictures.
    """
    if len(hours) > len(sources) or min(hours) <= 0:
        raise ValueError(
            f"--hours is {hours}: give positive core-hours, at most one for each of {len(sources)} results"
        )
    results = [summaries(source) for source in sources]
    for source, result in zip(sources, results, strict=True):
        if result["pictures"] != results[0]["pictures"]:
            raise ResultsError(f"{source} and {sources[0]} are over different pictures")
    with figure(4.3 * len(shown()), 4.2, outputs, title) as drawn:
        panels = drawn.subplots(1, len(shown()))
        named: dict[str, Artist] = {}
        for panel, metric in zip(panels, shown(), strict=True):
            named |= _panel(panel, results, hours, metric)
        if not named:
            raise ValueError(f"there is no area to draw: no model of {sources[0]} was measured")
        legend(drawn, named, columns=len(named))


def _panel(panel: Axes, results: list[_Summaries], hours: list[float], metric: Metric) -> dict[str, Artist]:
    """The lines by what they are of."""
    lines = _lines(results, hours, metric)
    colour = colours(lines)
    drawn: dict[str, Artist] = {}
    for tune, points in lines.items():
        (drawn[tune],) = panel.plot(*zip(*points, strict=True), marker="o", color=colour[tune])
    for codec, value in _levels(results, metric).items():
        panel.axhline(value, color=OF_CODEC[codec], linewidth=0.8, linestyle="--")
        panel.annotate(
            codec,
            (1, value),
            (3, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=OF_CODEC[codec],
        )
    panel.set(xscale="log", xlabel="core-hours of training", ylabel=metric.head.replace("\n", ", "))
    panel.set_xticks(hours, [f"{value:g}" for value in hours], rotation=60, fontsize=7)
    panel.minorticks_off()
    panel.grid(alpha=0.25, linewidth=0.6)
    return drawn


def _lines(results: list[_Summaries], hours: list[float], metric: Metric) -> dict[str, list[tuple[float, float]]]:
    """Hours and quality of each tune, of models without any by the name `model`."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for spent, result in sorted(zip(hours, results, strict=False), key=lambda pair: pair[0]):
        for name, model in result["models"].items():
            if (value := _quality(result, name, metric)) is not None:
                lines.setdefault(model.get("tune") or "model", []).append((spent, value))
    return lines


def _levels(results: list[_Summaries], metric: Metric) -> dict[str, float]:
    found = {name: _quality(result, name, metric) for result in results for name in result["areas"] if name in OF_CODEC}
    return {name: value for name, value in found.items() if value is not None}


def _quality(result: _Summaries, name: str, metric: Metric) -> float | None:
    """None for a model that failed, and for a metric that every picture is too small for."""
    area = result["areas"].get(name, {}).get(metric.name)
    return None if area is None else metric.summarise(float(area["auc_file"]))
