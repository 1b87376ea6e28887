"""The paper's Table 1 of one's own networks: recurrent units by reconstruction frameworks, by the area under the curve.

Each results file is a table, of networks trained equally long. Networks of one configuration differ in their seed:
their mean is shown, and their spread, the standard deviation between them, so that it can be seen which differences are
those of networks and which those of seeds. Where networks of one unit and framework differ in more, each has a row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..files import Output
from ..models.config import RECONSTRUCTIONS, UNITS
from . import rd
from .drawing import figure
from .mean_curves import MeanCurves, summaries
from .metric_table import METRICS, Metric
from .records import ResultsError
from .summary import ABOVE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

RANKED = (METRICS["ms_ssim"], METRICS["psnr_hvs"])
"""What the paper ranks networks by."""
BASELINE = "baseline (2016)"
"""The row of the network that the paper compares with (Toderici et al., ICLR 2016)."""
Kind = Literal["nominal", "files", "above"]
_RATES = np.linspace(rd.GRID[0], rd.GRID[-1], 301)


class Network(NamedTuple):
    """A network of the table. `row` is its unit and what else its row is named after. `nominal` and `files` are the
    summaries of its curve by metric, over bits before entropy coding and over whole files; `above` the shares of rates
    at which its files are above JPEG 4:2:0, empty where JPEG was not measured."""

    unit: str
    row: str
    framework: str
    nominal: dict[str, float]
    files: dict[str, float]
    above: dict[str, float]


class Cell(NamedTuple):
    """Networks of one row and framework."""

    unit: str
    row: str
    framework: str
    networks: list[Network]

    def mean(self, metric: Metric, of: Kind = "nominal") -> float:
        return float(np.mean(self._values(metric, of)))

    def spread(self, metric: Metric) -> float | None:
        """Between networks, over nominal rates; None for one alone."""
        return float(np.std(self._values(metric, "nominal"), ddof=1)) if len(self.networks) > 1 else None

    def _values(self, metric: Metric, of: Kind) -> list[float]:
        return [getattr(network, of)[metric.name] for network in self.networks]


class UnitTable(NamedTuple):
    """`cells` in the order of units and frameworks; `pictures` is how many the means are over. `baseline` is what the
    others are compared with, if it was measured."""

    name: str
    pictures: int
    cells: list[Cell]
    baseline: Cell | None

    @classmethod
    def read(cls, source: str | Path) -> UnitTable:
        """From a folder of `evaluate`, or from its `curves.json`.

        Raises:
            ResultsError: it is none, or no network of binary codes was measured.
        """
        path = Path(source)
        curves = MeanCurves.read(path)
        data = summaries(path)
        configs = {
            name: model["config"]
            for name, model in data["models"].items()
            if "config" in model and all(m.name in data["areas"].get(name, {}) for m in RANKED)
        }
        rows = _rows(configs)
        networks = [
            _network(rows[name], config, data["areas"][name], curves.codecs.get(name, {}), curves.codecs.get(ABOVE, {}))
            for name, config in configs.items()
        ]
        places = [
            (unit, row, framework)
            for unit in (BASELINE, *UNITS)
            for row in dict.fromkeys(n.row for n in networks if n.unit == unit)
            for framework in RECONSTRUCTIONS
        ]
        cells = [Cell(*place, [n for n in networks if (n.unit, n.row, n.framework) == place]) for place in places]
        cells = [cell for cell in cells if cell.networks]
        if not cells:
            raise ResultsError(f"{source} holds no network with a unit and a framework: evaluate some with --model")
        baseline = next((cell for cell in cells if cell.unit == BASELINE), None)
        return cls(path.name if path.is_dir() else path.stem, len(curves.pictures), cells, baseline)

    def rank(self, cell: Cell, metric: Metric) -> int:
        """1 for the best mean over nominal rates."""
        value = cell.mean(metric)
        return 1 + sum(other.mean(metric) > value for other in self.cells)


def with_one_baseline(tables: list[UnitTable]) -> list[UnitTable]:
    """Tables that have no baseline of their own are compared with the first that another has."""
    shared = next((table.baseline for table in tables if table.baseline), None)
    return [table._replace(baseline=table.baseline or shared) for table in tables]


def _unit(config: Mapping[str, Any]) -> str:
    return BASELINE if config.get("layers") == "toderici2016" else str(config["unit"])


def _rows(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Network -> the name of its row: the unit, and those entries of the configuration in which networks of this unit
    and one framework differ."""
    alike: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for config in configs.values():
        alike[_unit(config), config["reconstruction"]].append(config)
    differing: dict[str, dict[str, None]] = defaultdict(dict)
    for (unit, _), group in alike.items():
        keys = dict.fromkeys(key for config in group for key in config)
        differing[unit] |= {key: None for key in keys if len({str(config.get(key)) for config in group}) > 1}
    return {
        name: ", ".join([_unit(config), *(f"{key} {config[key]}" for key in differing[_unit(config)] if key in config)])
        for name, config in configs.items()
    }


def _network(
    row: str,
    config: Mapping[str, Any],
    areas: Mapping[str, Any],
    curves: Mapping[str, rd.Curve],
    jpeg: Mapping[str, rd.Curve],
) -> Network:
    nominal, files, above = {}, {}, {}
    for metric in RANKED:
        nominal[metric.name] = metric.summarise(areas[metric.name]["auc"])
        files[metric.name] = metric.summarise(areas[metric.name]["auc_file"])
        if metric.name in jpeg and metric.name in curves:
            above[metric.name] = _share_above(curves[metric.name], jpeg[metric.name])
    return Network(_unit(config), row, config["reconstruction"], nominal, files, above)


def _share_above(curve: rd.Curve, other: rd.Curve) -> float:
    """The share of the rates from 1/8 to 2 bits per pixel, where both have files, at which `curve` is above."""
    ours, theirs = rd.read_off(*curve, _RATES), rd.read_off(*other, _RATES)
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    return float((ours > theirs)[both].mean()) if both.any() else float("nan")


def show(table: UnitTable) -> Table:
    """The table for a terminal: a row for each unit and framework."""
    from rich.table import Table as RichTable

    shown = RichTable(title=f"{table.name}: nominal rates, mean over {table.pictures} pictures")
    judged = [m for m in RANKED if all(m.name in n.above for cell in table.cells for n in cell.networks)]
    for heading in ("unit", "framework"):
        shown.add_column(heading, no_wrap=True)
    shown.add_column("n", justify="right", no_wrap=True)
    for metric in RANKED:
        shown.add_column(f"{metric.head} (rank)", justify="right", no_wrap=True)
    if table.baseline:
        shown.add_column("over the\nbaseline", justify="right", no_wrap=True)
    for metric in RANKED:
        shown.add_column(f"of files:\n{metric.title}", justify="right", no_wrap=True)
    for metric in judged:
        shown.add_column(f"above JPEG:\n{metric.title}", justify="right", no_wrap=True)
    for cell in table.cells:
        row = [cell.row, cell.framework, str(len(cell.networks))]
        for metric in RANKED:
            row.append(f"{_with_spread(cell, metric)} ({table.rank(cell, metric)})")
        if table.baseline:
            row.append(f"{_over(cell, table.baseline):+.1%}")
        row += [metric.show(cell.mean(metric, "files")) for metric in RANKED]
        row += [f"{cell.mean(metric, 'above'):.0%}" for metric in judged]
        shown.add_row(*row)
    return shown


def _with_spread(cell: Cell, metric: Metric) -> str:
    spread = cell.spread(metric)
    return metric.show(cell.mean(metric)) + ("" if spread is None else f" ±{metric.show(spread)}")


def _over(cell: Cell, baseline: Cell) -> float:
    """By which share the MS-SSIM area is above the baseline's."""
    return cell.mean(RANKED[0]) / baseline.mean(RANKED[0]) - 1


def draw(tables: list[UnitTable], outputs: list[Output], title: str) -> None:
    """Every table as a row of two panels, one for each metric: units down, frameworks across, the better the darker."""
    with figure(11.5, 3.4 * len(tables) + 0.3, outputs, title, spines=True) as drawn:
        panels = drawn.subplots(len(tables), len(RANKED), squeeze=False)
        for table, row in zip(tables, panels, strict=True):
            for metric, panel in zip(RANKED, row, strict=True):
                _panel(panel, table, metric)


def _panel(panel: Axes, table: UnitTable, metric: Metric) -> None:
    cells = [cell for cell in table.cells if cell.unit != BASELINE]
    rows = list(dict.fromkeys(cell.row for cell in cells))
    frameworks: list[str] = [f for f in RECONSTRUCTIONS if any(cell.framework == f for cell in cells)]
    values = np.full((len(rows), len(frameworks)), np.nan)
    for cell in cells:
        values[rows.index(cell.row), frameworks.index(cell.framework)] = cell.mean(metric)
    image = panel.imshow(values, cmap="YlGnBu", aspect="auto")
    dark = np.nanmin(values) + 0.6 * (np.nanmax(values) - np.nanmin(values)) if cells else 0
    for cell in cells:
        across, down = frameworks.index(cell.framework), rows.index(cell.row)
        colour = "white" if values[down, across] > dark else "black"
        spread = cell.spread(metric)
        text = metric.show(values[down, across]) + ("" if spread is None else f"\n±{metric.show(spread)}")
        panel.text(
            across, down, f"{text}\n{_ordinal(table.rank(cell, metric))}", ha="center", va="center", color=colour
        )
    panel.set_xticks(range(len(frameworks)), [name.replace("_", "\n") for name in frameworks])
    panel.set_yticks(range(len(rows)), [name.replace("_", " ").replace(", ", "\n") for name in rows])
    panel.set_title(f"{table.name}: {metric.title}, {metric.unit or 'area'}" + _against(table, metric), fontsize=9)
    panel.figure.colorbar(image, ax=panel, shrink=0.9)


def _against(table: UnitTable, metric: Metric) -> str:
    if table.baseline is None:
        return ""
    return f" (baseline {metric.show(table.baseline.mean(metric))})"


def _ordinal(rank: int) -> str:
    teen = 10 < rank % 100 < 20
    return f"{rank}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')}"
