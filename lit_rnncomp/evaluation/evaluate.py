"""`lit-rnncomp evaluate`: every picture of a folder through every codec, measured on real files."""

from __future__ import annotations

import time
import warnings
from json import dumps
from pathlib import Path
from typing import Any

from ..data import list_images
from ..files import Output, printable, write_json
from . import examples, savings, tasks
from .baselines import named_baselines
from .mean_curves import MeanCurves
from .measure import AnyCodec, machine
from .metric_table import METRICS, METRICS_VERSION
from .neural import Neural, named_models
from .plot import draw
from .records import FORMAT
from .results import FILES, Results, begin, is_begun, write_csv
from .summary import areas, comparison
from .tables import INTERVALS, not_told_apart, tables


def evaluate(
    model: list[str] | None = None,
    data: str | None = None,
    codecs: str = "jpeg420,jpeg444",
    out: str | None = None,
    anchor: str = "jpeg420",
    workers: int = 1,
    device: str = "cpu",
    frames: int = 6,
    cache: str | None = None,
    strict: bool = False,
    json: bool = False,
) -> None:
    """Measure codecs on a folder of pictures: real files, every rate, every metric; tables, JSON, CSV, curves and a
    strip.

    Started again with the same --out it continues where it stopped: what was measured with the same picture, codec and
    versions is not measured again. A picture or codec that fails is reported and does not cost the rest. Only what an
    evaluation wrote is replaced.

    Args:
        model: a checkpoint, a weights file or a shipped model; may be given several times, as M or NAME=M.
        data: folder of pictures (PNG, JPEG, WebP, TIFF, BMP, ...); results in it are passed over.
        codecs: classical codecs, separated by commas: jpeg420, jpeg444, jpeg420-progressive, jpeg444-progressive,
            jpeg420-default, jpeg444-default, webp, jpeg2000, avif, jpegxl; or none.
        out: folder for the results.
        anchor: the codec that BD-rates are against.
        workers: processes; each holds the models once.
        device: where models and metrics run: cpu, cuda, cuda:1, ...
        frames: of so many pictures, evenly spread, and of the one where the first model is furthest behind, keep every
            decoded picture of the models for `lit-rnncomp report`.
        cache: folder of measurements that several --out share; OUT/cache by default.
        strict: end with an error when anything failed.
        json: print the comparison as JSON and no table.
    """
    from rich.console import Console

    if not data or not out:
        raise ValueError("evaluate needs the pictures and a folder for the results: --data DIR --out DIR")
    chosen, missing = _choose(model or [], codecs, device)
    names = [codec.name for codec in chosen]
    if anchor not in (*names, *missing, "jpeg420"):
        raise ValueError(f"--anchor is {anchor!r}, which is not among the measured codecs {', '.join(names)}")
    folder = Path(out)
    store = Path(cache) if cache else folder / "cache"
    paths = _named(_input(Path(data), folder, store), data)
    if not paths:
        raise ValueError(f"there is no picture in {data}")
    begin(folder, list(paths))
    start = time.perf_counter()
    work = tasks.plan(paths, chosen, folder, store, device, frames)
    pictures, failures = tasks.collect(work, workers, folder, quiet=json)
    run = _run_record(chosen, list(pictures), missing, failures, Path(data), time.perf_counter() - start, device)
    run["pictures_found"] = len(paths)
    write_json(folder / "run.json", run)
    for what, why in [*missing.items(), *failures.items()]:
        warnings.warn(f"{what}: {why}", stacklevel=2)
    if not pictures:
        raise ValueError(f"nothing could be measured; the first reason: {next(iter({**missing, **failures}.values()))}")
    results = _conclude(folder, anchor, len(paths), json)
    with Console(stderr=True, quiet=json).status("drawing examples at equal bytes"):
        examples.draw_examples(results, chosen, paths, store, device, frames)
    if strict and (failures or missing):
        raise ValueError(
            f"{len(failures)} measurements failed and {len(missing)} codecs are missing (see {folder / 'run.json'})"
        )


def _input(data: Path, out: Path, cache: Path) -> list[Path]:
    """The pictures of a folder, without what this and other evaluations wrote below it."""
    root, found = data.resolve(), {path: path.resolve() for path in list_images(data)}
    folders = {folder for real in found.values() for folder in real.parents}
    results = {out.resolve(), *filter(is_begun, folders)}
    written = {cache.resolve(), *results, *(folder / name for folder in results for name in ("frames", *FILES))}
    written -= {root, *root.parents}  # pictures that lie in a folder of results are pictures
    return [path for path, real in found.items() if written.isdisjoint((real, *real.parents))]


def _named(paths: list[Path], data: str) -> dict[str, Path]:
    """Pictures by path below `data`, as it can be printed."""
    named: dict[str, Path] = {}
    for path in paths:
        name = printable(path.relative_to(data).as_posix())
        while name in named:  # another picture's name, spelt with a backslash
            name += "'"
        named[name] = path
    return named


def _choose(models: list[str], codecs: str, device: str) -> tuple[list[AnyCodec], dict[str, str]]:
    """The codecs to run, and those that this installation lacks with the reason."""
    neural = named_models(models, device)
    for model in neural:
        model.versions()  # loads the model: one that cannot be loaded ends the run here, before anything is measured
    baselines, missing = named_baselines(codecs)
    if not neural and not baselines:
        reasons = f" ({'; '.join(missing.values())})" if missing else ""
        raise ValueError(f"there is nothing to evaluate: give --model or --codecs{reasons}")
    return [*neural, *baselines], missing


def _run_record(
    codecs: list[AnyCodec],
    pictures: list[str],
    missing: dict[str, str],
    failures: dict[str, str],
    data: Path,
    seconds: float,
    device: str,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "data": printable(data.resolve().name),
        "pictures": pictures,
        "codecs": [codec.name for codec in codecs],
        "models": {codec.name: codec.describe() for codec in codecs if isinstance(codec, Neural)},
        "metrics": list(METRICS),
        "metrics_version": METRICS_VERSION,
        "missing_codecs": missing,
        "failures": failures,
        "machine": machine(device),
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _conclude(folder: Path, anchor: str, of: int, as_json: bool) -> Results:
    """Everything that is derived from the measured points."""
    from rich.console import Console

    results = Results.read(folder)
    write_csv(folder / "points.csv", results.pictures)
    results.require_common()
    rows = comparison(results, anchor)
    summary = areas(results)
    curves = MeanCurves.of(results)
    write_json(folder / "summary.json", summary)
    left = savings.bits_left(results)
    curves.write(folder / "curves.json", results, summary, left)
    write_json(folder / "comparison.json", rows)
    draw([curves], [Output(folder / name, own=True) for name in ("rd.png", "rd.svg")], published=None, title="")
    if as_json:
        print(dumps(rows, indent=1))
    else:
        Console(markup=False, emoji=False).print(
            *tables(results, rows, anchor, of), *([savings.table(left)] if left else [])
        )
        print(f"{INTERVALS}.")
        if close := not_told_apart(rows):
            print("Not told apart at that level, paired over pictures:", *close, sep="\n  ")
        print(f"results in {folder}: summary.json, comparison.json, curves.json, points.csv, rd.png, rd.svg, pictures/")
    return results
