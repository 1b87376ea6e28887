"""Files of points: rates and qualities in columns, as people, spreadsheets and programs write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import rd
from .metric_table import METRICS, Metric

RATES = ("bpp", "bits_per_pixel", "bits_pixel", "bit_per_pixel", "bits_px", "rate", "bitrate", "bit_rate")
"""How a column of bits per pixel may be called, the first that there is counts. It may name its unit, one of `UNITS`,
in brackets."""
UNITS = ("", "bpp", "bits_per_pixel", "bits_pixel", "bit_pixel")
OF_CURVES = ("codec", "picture", "image", "model", "method")
"""Columns that say which curve a point is of."""

_NUMBERS = re.compile(r"""[-+\d.,eE\s"']+""")
_BLANK_BETWEEN = re.compile(r"""[\d."']\s+[-+.\d"']""")


class WrongMetric(ValueError):
    """Points of another metric than the one asked for; the message says the option."""


class Column(NamedTuple):
    """`Rate (bpp)` as a `head` has the `name` rate and the `unit` bpp; both are empty where no line names columns."""

    head: str
    name: str
    unit: str
    cells: Sequence[str]


def read_points(path: str | Path, metric: Metric | None = None) -> rd.Curve:
    """Two columns, bits per pixel and quality, separated by commas, semicolons, tabs or blanks; `#` begins a comment.

    A first line without any number is a header. Then the column of one of the names `RATES` is read, and that of
    `metric`, or the only other one. A comma that does not separate is decimal.

    Raises:
        ValueError: the file is missing or is no such table, has points of several curves, or its values are not of
            `metric`; the message names it.
    """
    columns = _columns(path)
    if not all(column.cells for column in columns) or len(columns) < 2:
        raise _no_table(path, "no line has two values")
    rate, quality = _named(path, columns, metric) if any(column.head for column in columns) else _plain(path, columns)
    points = np.array([_values(path, rate), _values(path, quality)])
    if not np.isfinite(points).all() or points[0].min() <= 0:
        raise ValueError(f"{path} has a value that is not finite, or a rate that is not positive")
    curve = rd.Curve(*points[:, np.argsort(points[0], kind="stable")])
    if metric is not None:
        _check_values(path, curve.quality, metric)
    return curve


def _no_table(path: str | Path, why: str) -> ValueError:
    return ValueError(f"{path} is not a table of two columns, bits per pixel and quality: {why}")


def _columns(path: str | Path) -> list[Column]:
    """The columns that are not empty."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError:
        raise ValueError(
            f"{path} cannot be read: give a file of points, or --results and the names of codecs in it"
        ) from None
    except UnicodeDecodeError:
        raise _no_table(path, "it is no text") from None
    try:
        rows = _rows([line for line in map(_without_comment, lines) if line.strip()])
    except csv.Error as error:
        raise _no_table(path, str(error)) from None
    named = bool(rows) and not any(_number(cell) is not None for cell in rows[0])
    if named and any(cell for row in rows for cell in row[len(rows[0]) :]):
        raise _no_table(path, "a line has more values than the first one has names")
    found = [cells for cells in zip_longest(*rows, fillvalue="") if any(cells)]
    return [Column(cells[0], *_name(cells[0]), cells[1:]) if named else Column("", "", "", cells) for cells in found]


def _without_comment(line: str) -> str:
    """In a table of names, `#` may be part of one: after a letter or a quote it begins a comment between blanks
    only."""
    before = line.partition("#")[0]
    if not any(character.isalpha() or character in "\"'" for character in before):
        return before
    return re.sub(r"\s#\s.*", "", line)


def _rows(lines: list[str]) -> list[list[str]]:
    """The cells of each line."""
    separator = _separator(lines)
    if separator == " ":  # a unit in brackets is part of its name
        lines = [re.sub(r"\s+(?=[(\[])", "", " ".join(line.split())) for line in lines]
    read = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    return [[cell.strip(" \t,").strip("\"'") for cell in row] for row in read]


def _separator(lines: list[str]) -> str:
    text = " ".join(lines)
    if ";" in text:
        return ";"
    if "\t" in re.sub(r",\s+", ",", text):
        return "\t"
    decimal = any(_NUMBERS.fullmatch(line) and _BLANK_BETWEEN.search(line) for line in lines)
    return "," if "," in text and not decimal else " "


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def _name(head: str) -> tuple[str, str]:
    """Name and unit, as metrics are called: `("rate", "bpp")` of `Rate (bpp)`."""
    name, _, unit = re.sub(r"[)\]\s]+$", "", head).replace("[", "(").partition("(")
    return _plain_name(name), _plain_name(unit)


def _plain_name(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def _plain(path: str | Path, columns: list[Column]) -> list[Column]:
    """Without a header there are two columns, in their order."""
    if len(columns) > 2:
        raise _no_table(path, f"it has {len(columns)} columns, and its first line does not name them")
    return columns


def _named(path: str | Path, columns: list[Column], metric: Metric | None) -> tuple[Column, Column]:
    """The columns of bits per pixel and of quality, of one curve."""
    for column in columns:
        _check_one_curve(path, column)
    rates = [column for name in RATES for column in columns if column.name == name and column.unit in UNITS]
    if not rates:
        raise ValueError(
            f"{path} has the columns {_heads(columns)}, and none of bits per pixel: call it {' or '.join(RATES)}"
        )
    return rates[0], _quality(path, [column for column in columns if column is not rates[0]], metric)


def _quality(path: str | Path, columns: list[Column], metric: Metric | None) -> Column:
    """The column of `metric`, or else the only one."""
    found = [column for column in columns if metric is not None and _is_of(column, metric)]
    others = [column.name for column in columns if column.name in METRICS]
    if metric is not None and not found and others and metric.name not in others:
        raise WrongMetric(
            f"{path} has a column of {' and of '.join(others)} and none of {metric.name}: say --metric {others[0]}"
        )
    if not found and len(columns) > 1:
        wanted = "quality alone" if metric is None else metric.name
        raise ValueError(f"{path} has the columns {_heads(columns)} beside the rate, and none of {wanted}")
    return (found or columns)[0]


def _heads(columns: list[Column]) -> str:
    return ", ".join(column.head for column in columns[:20])


def _is_of(column: Column, metric: Metric) -> bool:
    """A similarity in decibels is another scale."""
    names = {metric.name, _plain_name(metric.title)} | ({f"{metric.name}_db"} if metric.unit == "dB" else set())
    return column.name in names and not (column.unit == "db" and not metric.unit)


def _check_one_curve(path: str | Path, column: Column) -> None:
    """A column says which curve a point is of by its name, or as words that come again. Raises `ValueError` where it
    says several."""
    cells = [cell for cell in column.cells if cell]
    several = list(dict.fromkeys(cells))
    come_again = len(several) < len(cells) and all(_number(cell) is None for cell in several)
    if len(several) > 1 and (come_again or column.name in OF_CURVES):
        raise ValueError(
            f"{path} has points of several curves, {column.head} is {', '.join(several[:3])}"
            f"{', ...' if len(several) > 3 else ''}: give a file for each curve, or --results and the names of codecs "
            "in it"
        )


def _values(path: str | Path, column: Column) -> list[float]:
    values = []
    for cell in column.cells:
        value = _number(cell)
        if value is None:
            of = f" of {column.head}" if column.head else ""
            raise _no_table(path, f"{cell!r}{of} is no number" if cell else f"a line has no value{of}")
        values.append(value)
    return values


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
