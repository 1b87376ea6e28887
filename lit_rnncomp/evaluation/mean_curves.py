"""The mean curves of a run, and `curves.json`, the small file that the repository keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_json
from . import rd
from .records import ResultsError, parsed
from .results import Results
from .shapes import CURVES, check

_NO_CURVES = "{file} is no curves.json of `lit-rnncomp evaluate`: {error}"


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
        return parsed(file, _summaries, _NO_CURVES)
    except OSError:
        raise ResultsError(
            f"{file} is missing: give --out {source} to `lit-rnncomp evaluate` again"
            if path.is_dir()
            else f"{source} cannot be read: give the --out of `lit-rnncomp evaluate`, or its curves.json"
        ) from None


def _summaries(data: Any) -> dict[str, Any]:
    check(data, CURVES)
    for codec, by_metric in data["curves"].items():
        for metric, curve in by_metric.items():
            if len(curve["bpp"]) != len(curve["quality"]):
                raise ValueError(f"curves.{codec}.{metric} has not as many values of bpp as of quality")
    return dict(data)
