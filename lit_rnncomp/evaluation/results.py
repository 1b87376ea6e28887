"""What `evaluate` measures, as records, and the folder of JSON files that keeps them.

A results folder holds

    run.json            what was run: data, codecs, machine, versions, and what failed and why
    pictures/*.json     one file a picture: every codec, setting, size, metric and time
    summary.json        codec -> metric -> areas with their intervals, see `summary.areas`
    comparison.json     the tables that `evaluate` prints, and the differences between every two codecs
    curves.json         mean curves, areas and versions in one small file: what the repository keeps of a run
    points.csv          every measured point as one line
    rd.png, rd.svg      the mean curves
    strip.png           models beside JPEG at equal bytes
    strip-behind.png    models beside the codec that is ahead, on the picture where the first model loses most
    frames/             decoded pictures of a few test pictures, for `report` (lossless WebP, or PNG of very large ones)
    cache/              measurements by content, codec and version: what makes a run resumable
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..files import check_folder, write_bytes, write_json
from . import rd
from .shapes import CURVES, MEASUREMENT, PICTURE, RUN, check

Parsed = TypeVar("Parsed")

FORMAT = 1
FILES = (
    "summary.json",
    "comparison.json",
    "curves.json",
    "points.csv",
    "rd.png",
    "rd.svg",
    "strip.png",
    "strip-behind.png",
)


LONGEST_NAME = 160
"""Bytes of a picture's flat name: with a digest and an ending it fits every file system."""


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


@dataclass(frozen=True)
class Results:
    """A results folder in memory: `run` is `run.json`, pictures in order of name."""

    folder: Path
    run: dict[str, Any]
    pictures: tuple[PictureResult, ...]

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Reads a folder that `evaluate` wrote.

        Raises:
            ResultsError: the folder is missing, is no results folder, is damaged, or was written by a newer version.
        """
        folder = Path(folder)
        try:
            run = _parsed(folder / "run.json", _run, _DAMAGED)
            files = [_picture_path(folder, name) for name in run["pictures"]]
            pictures = [_parsed(file, PictureResult.from_json, _DAMAGED) for file in files]
        except FileNotFoundError as error:
            raise ResultsError(
                f"{folder} is no results folder, {error.filename} is missing: give the --out of `lit-rnncomp evaluate`"
            ) from None
        if not pictures:
            raise ResultsError(f"{folder} holds no measured picture; its run.json says what failed")
        return cls(folder, run, tuple(pictures))

    @property
    def codecs(self) -> dict[str, str]:
        """Name -> title of every codec that measured at least one picture, in the order in which they were asked
        for."""
        titles = {name: codec.title for picture in self.pictures for name, codec in picture.codecs.items()}
        return {name: titles[name] for name in [*self.run["codecs"], *titles] if name in titles}

    @property
    def models(self) -> list[str]:
        """Names of the recurrent codecs among `codecs`."""
        return [name for name in self.codecs if name in self.run["models"]]

    @property
    def nominal(self) -> list[str]:
        """Of the `models`, those with bits before entropy coding: binary codes."""
        codecs = [codec for picture in self.pictures for codec in picture.codecs.values()]
        counted = {codec.codec for codec in codecs if codec.points[0].nominal_bpp is not None}
        return [name for name in self.models if name in counted]

    def common(self) -> tuple[PictureResult, ...]:
        """The pictures that every codec measured: means over different pictures could not be compared."""
        return tuple(picture for picture in self.pictures if set(self.codecs) <= set(picture.codecs))

    def require_common(self) -> None:
        """Raises `ResultsError` where no picture was measured by every codec."""
        if not self.common():
            raise ResultsError(
                f"no picture was measured by all of {', '.join(self.codecs)}, so nothing can be compared (see "
                f"{self.folder / 'run.json'})"
            )

    def mean_curve(self, codec: str, metric: str) -> rd.Curve | None:
        """Mean bpp and mean metric over the common pictures at each setting; None where no picture has the metric."""
        curves = [curve for picture in self.common() if (curve := picture.codecs[codec].curve(metric)) is not None]
        if not curves:
            return None
        points = min(len(curve.bpp) for curve in curves)
        return rd.Curve(
            np.mean([c.bpp[:points] for c in curves], axis=0), np.mean([c.quality[:points] for c in curves], axis=0)
        )


@dataclass(frozen=True)
class MeanCurves:
    """The mean curves of a run: `codecs` in order, name -> metric -> curve; `models` names those that are recurrent
    codecs. `pictures` are those that the means are over, in the folder `data`."""

    name: str
    codecs: dict[str, dict[str, rd.Curve]]
    models: frozenset[str]
    data: str
    pictures: tuple[str, ...]

    @classmethod
    def of(cls, results: Results) -> MeanCurves:
        """From a results folder in memory."""
        curves: dict[str, dict[str, rd.Curve]] = {}
        for codec in results.codecs:
            by_metric = {metric: results.mean_curve(codec, metric) for metric in results.run["metrics"]}
            curves[codec] = {metric: curve for metric, curve in by_metric.items() if curve is not None}
        pictures = tuple(picture.name for picture in results.common())
        return cls(results.folder.name, curves, frozenset(results.models), results.run["data"], pictures)

    @classmethod
    def read(cls, source: str | Path) -> MeanCurves:
        """From a results folder, or from a `curves.json` on its own. Raises `ResultsError`."""
        path = Path(source)
        if path.is_dir():
            return cls.of(Results.read(path))
        data = summaries(path)
        curves = {
            codec: {metric: rd.Curve(np.array(c["bpp"]), np.array(c["quality"])) for metric, c in by_metric.items()}
            for codec, by_metric in data["curves"].items()
        }
        return cls(path.stem, curves, frozenset(data["models"]), data["data"], tuple(data["pictures"]))

    def write(
        self, path: Path, results: Results, areas: Mapping[str, Any], bits_left: Mapping[str, list[float]]
    ) -> None:
        """Writes `curves.json`, with the areas, what entropy coding leaves of the bits, and everything that decided the
        numbers."""
        rounded = {
            codec: {
                m: {"bpp": np.round(c.bpp, 5).tolist(), "quality": np.round(c.quality, 5).tolist()}
                for m, c in by_metric.items()
            }
            for codec, by_metric in self.codecs.items()
        }
        versions = {name: codec.versions for name, codec in results.common()[0].codecs.items()}
        kept = {key: results.run[key] for key in ("format", "data", "models", "machine", "finished")}
        kept["pictures"] = list(self.pictures)
        write_json(path, {**kept, "versions": versions, "areas": areas, "bits_left": bits_left, "curves": rounded})


def summaries(source: str | Path) -> dict[str, Any]:
    """What `curves.json` says, of a results folder or on its own, with `areas` and `models`. Raises `ResultsError`."""
    path = Path(source)
    file = path / "curves.json" if path.is_dir() else path
    try:
        return _parsed(file, _summaries, _NO_CURVES)
    except OSError:
        raise ResultsError(
            f"{file} is missing: give --out {source} to `lit-rnncomp evaluate` again"
            if path.is_dir()
            else f"{source} cannot be read: give the --out of `lit-rnncomp evaluate`, or its curves.json"
        ) from None


def _run(data: Any) -> dict[str, Any]:
    if not (isinstance(data, dict) and data.get("pictures") == []):  # as `begin` leaves it
        check(data, RUN)
    return dict(data)


def _summaries(data: Any) -> dict[str, Any]:
    check(data, CURVES)
    for codec, by_metric in data["curves"].items():
        for metric, curve in by_metric.items():
            if len(curve["bpp"]) != len(curve["quality"]):
                raise ValueError(f"curves.{codec}.{metric} has not as many values of bpp as of quality")
    return dict(data)


_DAMAGED = "{file} has damaged results: {error}; evaluate again, measured points are kept"
_NO_CURVES = "{file} is no curves.json of `lit-rnncomp evaluate`: {error}"


def _parsed(file: Path, parse: Callable[[Any], Parsed], complaint: str) -> Parsed:
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


def begin(folder: Path, pictures: Iterable[str]) -> None:
    """Makes `folder` a results folder, unless it is one. It is known by `run.json`, so that is the first file there.

    Raises:
        OutputError: it is none, and a file of another origin has a name that the evaluation of `pictures` needs.
    """
    own = is_begun(folder)
    flat = map(flat_name, pictures)
    theirs = (path for name in flat for path in (f"pictures/{name}.json", f"frames/{name}/original.webp"))
    check_folder(folder, own, ["run.json", *FILES, *theirs])
    folder.mkdir(parents=True, exist_ok=True)
    if not own:
        write_json(folder / "run.json", {"format": FORMAT, "pictures": []})


def is_begun(folder: Path) -> bool:
    """Whether an evaluation made `folder` a results folder, whatever became of it."""
    try:
        with (folder / "run.json").open("rb") as file:
            return file.read(12) == b'{\n "format":'  # as `write_json` begins it
    except OSError:
        return False


def write_picture(folder: Path, result: PictureResult) -> None:
    """Writes `pictures/NAME.json`."""
    write_json(_picture_path(folder, result.name), asdict(result))


def _picture_path(folder: Path, name: str) -> Path:
    return folder / "pictures" / f"{flat_name(name)}.json"


def flat_name(picture: str) -> str:
    """A picture's path below the measured folder as the name of a file: no two pictures have the same.

    `/` becomes `__`. Where that could be another picture's name, or is longer than a file system takes, a digest
    follows.
    """
    flat = picture.replace("/", "__")
    plain = not any(part in picture for part in ("__", "/_", "_/")) and len(flat.encode()) <= LONGEST_NAME
    if plain:
        return flat
    cut = flat.encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"{cut}-{hashlib.sha256(picture.encode()).hexdigest()[:16]}"


def printable(name: str) -> str:
    """A name that can be printed and written as UTF-8: bytes of a file's name that are none are spelt `\\udcXX`."""
    return name.encode(errors="backslashreplace").decode()


def write_csv(path: Path, pictures: Iterable[PictureResult]) -> None:
    """Writes every point of every codec as one line."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for picture in pictures:
        for codec in picture.codecs.values():
            for point in codec.points:
                fields = asdict(point)
                metrics = fields.pop("metrics")
                size = {"width": picture.width, "height": picture.height}
                row = {
                    "picture": picture.name,
                    **size,
                    "codec": codec.codec,
                    "setting_name": codec.setting,
                    **fields,
                    **metrics,
                }
                if writer is None:
                    writer = csv.DictWriter(text, fieldnames=list(row))
                    writer.writeheader()
                writer.writerow(row)
    write_bytes(path, text.getvalue().encode())
