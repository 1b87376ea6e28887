"""What `evaluate` measures, as records, and how their files of JSON are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from . import rd
from .shapes import MEASUREMENT, PICTURE, check

Parsed = TypeVar("Parsed")

FORMAT = 1


class ResultsError(ValueError):
    """A folder is not what `evaluate` wrote, or lacks what was asked of it."""


@dataclass(frozen=True)
class Point:
    """One file of one picture.

    `bpp` counts the whole file of `bytes`; `header_bytes` of it are not entropy-coded picture (None: not separable).
    `nominal_bpp`: a recurrent codec's bits before entropy coding (None elsewhere). Seconds are wall time; a recurrent
    codec encodes once for all its points, so each has the time of the whole stream. A metric is None where the picture
    is too small for it.
    """

    setting: float
    bytes: int
    header_bytes: int | None
    bpp: float
    nominal_bpp: float | None
    encode_seconds: float
    decode_seconds: float
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Measurement:
    """One codec on one picture. `setting` names what `Point.setting` is; `versions` is everything that decides the
    bytes."""

    codec: str
    title: str
    setting: str
    versions: dict[str, str]
    machine: dict[str, str]
    points: tuple[Point, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of `dataclasses.asdict` after JSON. Raises `ValueError` for what is no measurement."""
        check(data, MEASUREMENT)
        return cls(**{**data, "points": tuple(Point(**point) for point in data["points"])})

    def curve(self, metric: str, nominal: bool = False) -> rd.Curve | None:
        """The picture's curve of file bpp (or nominal bpp where the codec has it); None for a metric the picture is too
        small for, or that was not measured."""
        values = [point.metrics.get(metric) for point in self.points]
        if any(value is None for value in values):
            return None
        bpp = [point.nominal_bpp if nominal and point.nominal_bpp is not None else point.bpp for point in self.points]
        return rd.Curve(np.array(bpp), np.array(values, dtype=np.float64))


@dataclass(frozen=True)
class PictureResult:
    """One picture with all its measurements by codec name."""

    name: str
    width: int
    height: int
    sha256: str
    codecs: dict[str, Measurement]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PictureResult:
        """The inverse of `dataclasses.asdict` after JSON. Raises `ValueError` for what is no result."""
        check(data, PICTURE)
        codecs = {name: Measurement.from_json(codec) for name, codec in data["codecs"].items()}
        points = [point for codec in codecs.values() for point in codec.points]
        if (
            len({frozenset(name for name, value in point.metrics.items() if value is not None) for point in points})
            != 1
        ):
            raise ValueError("its points have different metrics, or there is none")
        return cls(**{**data, "codecs": codecs})


def parsed(file: Path, parse: Callable[[Any], Parsed], complaint: str) -> Parsed:
    """What `parse` makes of a file of JSON.

    Raises:
        ResultsError: it is no JSON, of another format, or `parse` raises: `complaint` of the file and the error.
    """
    try:
        data = json.loads(file.read_text())
        if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
            raise ResultsError(f"{file} is of format {data['format']}; this program reads format {FORMAT}")
        return parse(data)
    except ResultsError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ResultsError(complaint.format(file=file, error=error)) from None
