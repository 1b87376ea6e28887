"""The folder of JSON files that keeps what `evaluate` measures. It holds

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
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import check_folder, write_bytes, write_json
from . import rd
from .records import FORMAT, PictureResult, ResultsError, parsed
from .shapes import RUN, check

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

_DAMAGED = "{file} has damaged results: {error}; evaluate again, measured points are kept"

LONGEST_NAME = 160
"""Bytes of a picture's flat name: with a digest and an ending it fits every file system."""


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
            run = parsed(folder / "run.json", _run, _DAMAGED)
            files = [_picture_path(folder, name) for name in run["pictures"]]
            pictures = [parsed(file, PictureResult.from_json, _DAMAGED) for file in files]
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


def _run(data: Any) -> dict[str, Any]:
    if not (isinstance(data, dict) and data.get("pictures") == []):  # as `begin` leaves it
        check(data, RUN)
    return dict(data)


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
