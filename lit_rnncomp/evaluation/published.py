"""Published rate-distortion curves: a few that ship, on Kodak, or a folder as in tensorflow/compression."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import rd
from .metric_table import METRICS, Metric

FOLDERS = {"ms_ssim": "MS-SSIM_sRGB_RGB", "psnr": "PSNR_sRGB_RGB"}


class WrongMetric(ValueError):
    """Points of another metric than the one asked for; the message says the option."""


class Published(NamedTuple):
    """A curve that somebody else measured, as a mean over a data set: `data` is its name, None where a file does not
    say it."""

    title: str
    curve: rd.Curve
    data: str | None = None

    def is_over(self, data: str, pictures: Collection[str]) -> bool:
        """Whether the curve is of these pictures: names in the folder `data`. Kodak's are known by their names."""
        if self.data == "kodak":
            return sorted(Path(picture).stem for picture in pictures) == KODAK
        return self.data is None or self.data == data.lower()


KODAK = [f"kodim{k:02d}" for k in range(1, 25)]


def shipped() -> dict[str, Any]:
    """The content of `published.json`: `curves`, `table1` of the paper, `source` and `licence`."""
    return json.loads((resources.files(__package__) / "published.json").read_text())


def curves(source: str, metric: str) -> list[Published]:
    """The curves of one metric (`ms_ssim` or `psnr`; none for others).

    Args:
        source: `kodak` for the shipped ones, or a folder with MS-SSIM_sRGB_RGB/*.txt and PSNR_sRGB_RGB/*.txt.

    Raises:
        ValueError: the folder has no such files, or one is not a table of points.
    """
    if source == "kodak":
        return [
            Published(entry["title"], rd.Curve(np.array(entry["bpp"]), np.array(entry[metric])), "kodak")
            for entry in shipped()["curves"]
            if metric in entry
        ]
    folder = Path(source)
    if not any((folder / name).is_dir() for name in FOLDERS.values()):
        folders = " nor ".join(FOLDERS.values())
        raise ValueError(f"{source} has neither {folders}: give such a folder, or kodak for the shipped curves")
    if metric not in FOLDERS:
        return []
    paths = sorted((folder / FOLDERS[metric]).glob("*.txt"))
    return [Published(title(path), read_points(path), data_set(path)) for path in paths]


def curves_over(
    source: str | None, metric: str, data: str, pictures: Collection[str]
) -> tuple[list[Published], list[str]]:
    """The `curves` of these pictures, and the titles of those of others, which must not be drawn beside them."""
    found = curves(source, metric) if source else []
    mine = [entry for entry in found if entry.is_over(data, pictures)]
    return mine, [entry.title for entry in found if not entry.is_over(data, pictures)]


def warn_of_others(source: str | None, data: str, pictures: Collection[str]) -> None:
    """Says which published curves are left out."""
    others = {title for metric in FOLDERS for title in curves_over(source, metric, data, pictures)[1]}
    if others:
        warnings.warn(
            f"{len(others)} published curves are left out: they are means over other pictures than these "
            f"{len(pictures)} of {data}",
            stacklevel=2,
        )


def read_points(path: str | Path, metric: Metric | None = None) -> rd.Curve:
    """Two columns, bits per pixel and quality, separated by commas, semicolons or blanks; `#` begins a comment.

    A first line of words is a header. Where it names `bpp` (or `rate`) and `metric`, the columns of these names are
    read, wherever they are.

    Raises:
        ValueError: the file is missing or is no such table, or its values are not of `metric`; the message names it.
    """
    try:
        lines = [line.split("#")[0] for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except OSError:
        raise ValueError(
            f"{path} cannot be read: give a file of points, or --results and the names of codecs in it"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a table of two columns, bits per pixel and quality") from None
    rows = [_cells(line) for line in lines if line.strip()]
    try:
        x, y = (0, 1) if not rows or _is_number(rows[0][0]) else _columns(path, rows.pop(0), metric)
        points = np.array([[float(row[x]), float(row[y])] for row in rows])
        order = np.argsort(points[:, 0], kind="stable")
    except (ValueError, IndexError) as error:
        if isinstance(error, WrongMetric):
            raise
        raise ValueError(f"{path} is not a table of two columns, bits per pixel and quality") from None
    curve = rd.Curve(points[order, 0], points[order, 1])
    if metric is not None:
        _check_values(path, curve.quality, metric)
    return curve


def _cells(line: str) -> list[str]:
    if ";" in line:  # as spreadsheets write where the comma is decimal
        return [cell.strip().replace(",", ".") for cell in line.split(";")]
    return line.replace(",", " ").split()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(path: str | Path, header: list[str], metric: Metric | None) -> tuple[int, int]:
    """Where bits per pixel and quality are, of a table with a line of words."""
    names = [cell.strip("\"'").lower().replace("-", "_") for cell in header]
    x = next((k for k, name in enumerate(names) if name in ("bpp", "rate", "bits_per_pixel")), 0)
    if metric is None:
        return x, 1 - x
    if metric.name in names:
        return x, names.index(metric.name)
    if others := [name for name in names if name in METRICS]:
        raise WrongMetric(
            f"{path} has a column of {' and of '.join(others)} and none of {metric.name}: say --metric {others[0]}"
        )
    return x, 1 if x == 0 else 0


def _check_values(path: str | Path, values: rd.Array, metric: Metric) -> None:
    """Similarities are at most 1, and curves in decibels are above that."""
    if not metric.unit and values.max() > 1:
        raise WrongMetric(
            f"{path} has values up to {values.max():g}, and {metric.title} is at most 1: say which metric it is, such "
            "as --metric psnr"
        )
    if metric.unit == "dB" and len(values) > 1 and values.min() >= 0 and values.max() <= 1:
        raise WrongMetric(
            f"{path} has values of at most 1, which are no {metric.title} in dB: say which metric it is, such as "
            "--metric ms_ssim"
        )


def title(path: Path) -> str:
    """`JPEG (4:2:0)` from the first line of such a file, or the file's name."""
    first = path.read_text(encoding="utf-8-sig").split("\n", 1)[0]
    return first.split('"')[1] if first.count('"') == 2 else path.stem


def data_set(path: Path) -> str | None:
    """`kodak` from the first line of such a file, `... on kodak.`; None where it names none."""
    found = re.search(r'" on ([\w-]+)\.?\s*$', path.read_text(encoding="utf-8-sig").split("\n", 1)[0])
    return found.group(1).lower() if found else None
