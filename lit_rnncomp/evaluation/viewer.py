"""The pictures of the report's viewer: every model's at every point, and the other codecs' at the same bytes."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .bar import counted
from .baselines import Baseline, Coded
from .frames import LONGEST_WEBP, frame_file, frames_folder, open_frame
from .measure import distortion, to_tensor
from .metric_table import shown
from .per_picture import lead
from .records import PictureResult, Point
from .results import Results

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

BROWSER_FORMATS = {"JPEG": "jpeg", "WEBP": "webp", "AVIF": "avif"}
ENOUGH = 2.0
"""Bits per pixel after which nothing is looked at: one point beyond is shown."""
GAIN = 8
"""By how much the maps of differences are brighter than the differences."""


def viewer_pictures(results: Results, baselines: list[Baseline], count: int, quality: int) -> list[dict[str, Any]]:
    """At most `count` of the pictures with kept frames, with a progress bar: to try every quality of the other codecs
    takes minutes for large pictures."""
    chosen = choose(results, count)
    with counted() as progress:
        bar = progress.add_task("pictures", total=len(chosen) * (len(results.models) + len(baselines)))
        return [_picture(results, picture, baselines, quality, progress, bar) for picture in chosen]


def choose(results: Results, count: int) -> list[PictureResult]:
    """Pictures with kept frames, evenly spread, and among them the one where the first model does worst."""
    kept = [picture for picture in results.common() if frames_folder(results, picture.name) is not None]
    if len(kept) <= count:
        return kept
    chosen = {kept[k * len(kept) // count].name for k in range(count)}
    worst = min(kept, key=lambda picture: lead(results, picture).by)
    if count and worst.name not in chosen:
        chosen = {*sorted(chosen)[: count - 1], worst.name}
    return [picture for picture in kept if picture.name in chosen]


def _picture(
    results: Results,
    picture: PictureResult,
    baselines: list[Baseline],
    quality: int,
    progress: Progress,
    bar: TaskID,
) -> dict[str, Any]:
    folder = frames_folder(results, picture.name)
    assert folder is not None
    original = open_frame(folder / "original")
    thumb = original.copy()
    thumb.thumbnail((168, 112))
    models: dict[str, list[dict[str, Any]]] = {}
    for model in results.models:
        progress.update(bar, advance=1, description=f"{picture.name}  {model}")
        models[model] = [
            _point(folder / model, point, original, quality) for point in _looked_at(picture.codecs[model].points)
        ]
    codecs = {}
    for codec in baselines:
        progress.update(bar, advance=1, description=f"{picture.name}  {codec.name}")
        if files := _matched(original, codec, models, quality):
            codecs[codec.name] = files
    return {
        "name": picture.name,
        "width": picture.width,
        "height": picture.height,
        "original": _kept(folder / "original"),
        "thumb": _shown(thumb, 80),
        "models": models,
        "codecs": codecs,
        "means": _means(picture),
    }


def _looked_at(points: tuple[Point, ...]) -> tuple[Point, ...]:
    end = next((k for k, point in enumerate(points) if point.bpp > ENOUGH), len(points))
    return points[: end + 1]


def _point(folder: Path, point: Point, original: Image.Image, quality: int) -> dict[str, Any]:
    decoded = open_frame(folder / f"{int(point.setting):03d}")
    return {
        "setting": point.setting,
        "bytes": point.bytes,
        "bpp": round(point.bpp, 4),
        **{metric.name: point.metrics.get(metric.name) for metric in shown()},
        "src": _shown(decoded, quality),
        "difference": _difference(original, decoded),
    }


def _means(picture: PictureResult) -> dict[str, dict[str, float]]:
    """Codec -> shown metric -> area or mean on this picture."""
    found: dict[str, dict[str, float]] = {}
    for name, codec in picture.codecs.items():
        curves = {metric: codec.curve(metric.name) for metric in shown()}
        found[name] = {
            metric.name: round(metric.summarise(metric.area(curve)), 5)
            for metric, curve in curves.items()
            if curve is not None
        }
    return found


def _difference(original: Image.Image, decoded: Image.Image) -> str:
    """Map of the absolute differences, `GAIN` times as bright, at half the size."""
    levels = np.abs(np.asarray(original, np.int16) - np.asarray(decoded, np.int16)) * GAIN
    full = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    return _shown(full.reduce(min(2, *full.size)), 75)


def _matched(
    original: Image.Image, baseline: Baseline, models: dict[str, list[dict[str, Any]]], quality: int
) -> dict[str, Any] | None:
    """`files` by setting, and for each model `match`: the setting whose file is the best that each iteration's bytes
    allow. None where the codec cannot code the picture."""
    files: dict[str, dict[str, Any]] = {}
    match: dict[str, list[str]] = {}
    truth = to_tensor(original)
    for model, points in models.items():
        match[model] = []
        for point in points:
            try:
                coded = baseline.fit(original, point["bytes"])
            except ValueError as error:
                warnings.warn(f"left out: {error}", stacklevel=2)
                return None
            key = f"{coded.setting:g}"
            match[model].append(key)
            if key not in files:
                files[key] = _file(original, baseline, coded, distortion(truth, to_tensor(coded.picture)), quality)
    return {"files": files, "match": match}


def _file(
    original: Image.Image, baseline: Baseline, coded: Coded, values: dict[str, float | None], quality: int
) -> dict[str, Any]:
    """A classical codec's file as the viewer knows it; the very bytes where browsers show them."""
    native = BROWSER_FORMATS.get(baseline.format)
    return {
        "bytes": coded.size,
        "bpp": round(8 * coded.size / (original.width * original.height), 4),
        **{metric.name: values[metric.name] for metric in shown()},
        "src": _address(native, baseline.encode(original, coded.setting)) if native else _shown(coded.picture, quality),
        "difference": _difference(original, coded.picture),
    }


def _shown(picture: Image.Image, quality: int) -> str:
    """As WebP; as PNG what is larger than WebP can be."""
    file = io.BytesIO()
    if max(picture.size) > LONGEST_WEBP:
        picture.save(file, "PNG")
        return _address("png", file.getvalue())
    picture.save(file, "WEBP", lossless=quality == 100, quality=quality, method=4)
    return _address("webp", file.getvalue())


def _kept(path: Path) -> str:
    """A kept frame, as it is."""
    file = frame_file(path)
    return _address(file.suffix.removeprefix("."), file.read_bytes())


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
