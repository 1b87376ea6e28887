"""`lit-rnncomp evaluate`: every picture of a folder through every codec, measured on real files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from lit_rnncomp.evaluation.measure import AnyCodec
    from lit_rnncomp.evaluation.results import Measurement, PictureResult


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
    """Measure codecs on a folder of pictures: real files, every rate, every metric; tables, JSON, CSV, curves and a strip.

    Started again with the same --out it continues where it stopped: what was measured with the same picture, codec and versions is
    not measured again. A picture or codec that fails is reported and does not cost the rest. Only what an
    evaluation wrote is replaced.

    Args:
        model: a checkpoint, a weights file or a shipped model; may be given several times, as M or NAME=M.
        data: folder of pictures (PNG, JPEG, WebP, TIFF).
        codecs: classical codecs, separated by commas: jpeg420, jpeg444, jpeg420-progressive, jpeg444-progressive, jpeg420-default,
            jpeg444-default, webp, jpeg2000, avif, jpegxl; or none.
        out: folder for the results.
        anchor: the codec that BD-rates are against.
        workers: processes; each holds the models once.
        device: where models and metrics run: cpu, cuda, cuda:1, ...
        frames: of so many pictures, evenly spread, keep every decoded picture of the models for `lit-rnncomp report`.
        cache: folder of measurements that several --out share; OUT/cache by default.
        strict: end with an error when anything failed.
        json: print the comparison as JSON and no table.
    """
    from lit_rnncomp.data import list_images
    from lit_rnncomp.evaluation.results import begin, write_json

    if not data or not out:
        raise ValueError("evaluate needs the pictures and a folder for the results: --data DIR --out DIR")
    chosen, missing = _choose(model or [], codecs, device)
    names = [codec.name for codec in chosen]
    if anchor not in (*names, *missing, "jpeg420"):
        raise ValueError(f"--anchor is {anchor!r}, which is not among the measured codecs {', '.join(names)}")
    paths = {path.relative_to(data).as_posix(): path for path in list_images(data)}
    if not paths:
        raise ValueError(f"there is no picture in {data}")
    folder = Path(out)
    begin(folder, list(paths))
    start = time.perf_counter()
    tasks = _tasks(paths, chosen, folder, Path(cache) if cache else folder / "cache", device, frames)
    pictures, failures = _collect(tasks, workers, folder, quiet=json)
    run = _run_record(chosen, list(pictures), missing, failures, Path(data), time.perf_counter() - start, device)
    write_json(folder / "run.json", run)
    for what, why in [*missing.items(), *failures.items()]:
        _warn(f"{what}: {why}")
    if not pictures:
        raise ValueError(f"nothing could be measured; the first reason: {next(iter({**missing, **failures}.values()))}")
    _conclude(folder, anchor, len(paths), json)
    if strict and (failures or missing):
        raise ValueError(f"{len(failures)} measurements failed and {len(missing)} codecs are missing (see {folder / 'run.json'})")


class _Task(NamedTuple):
    picture: str
    path: Path
    codec: AnyCodec
    cache: Path
    device: str
    frames: Path | None


class _Outcome(NamedTuple):
    """`error` is None or one line; without error the rest is set."""

    picture: str
    codec: str
    error: str | None
    size: tuple[int, int] = (0, 0)
    sha256: str = ""
    measurement: Measurement | None = None


def _choose(models: list[str], codecs: str, device: str) -> tuple[list[AnyCodec], dict[str, str]]:
    """The codecs to run, and those that this installation lacks with the reason."""
    from lit_rnncomp.evaluation.baselines import BASELINES
    from lit_rnncomp.evaluation.neural import named_models

    chosen: list[AnyCodec] = list(named_models(models, device))
    for neural in chosen:
        neural.versions()  # loads the model: one that cannot be loaded ends the run here, before anything is measured
    missing: dict[str, str] = {}
    for name in dict.fromkeys(codecs.replace(" ", "").split(",")):
        if name in ("", "none"):
            continue
        if name not in BASELINES:
            raise ValueError(f"--codecs has {name!r}; the codecs are {', '.join(BASELINES)}")
        if reason := BASELINES[name].missing():
            missing[name] = reason
        else:
            chosen.append(BASELINES[name])
    if not chosen:
        raise ValueError(
            "there is nothing to evaluate: give --model or --codecs" + (f" ({'; '.join(missing.values())})" if missing else "")
        )
    return chosen, missing


def _tasks(paths: dict[str, Path], codecs: list[AnyCodec], out: Path, cache: Path, device: str, frames: int) -> list[_Task]:
    from lit_rnncomp.evaluation.neural import Neural

    names = list(paths)
    shown = {names[k * len(names) // frames] for k in range(frames)} if frames else set()
    return [
        _Task(name, path, codec, cache, device, _frames(out, name, codec.name) if isinstance(codec, Neural) and name in shown else None)
        for name, path in paths.items()
        for codec in codecs
    ]


def _frames(out: Path, picture: str, codec: str) -> Path:
    return out / "frames" / picture.replace("/", "__") / codec


def _perform(task: _Task) -> _Outcome:
    """One picture through one codec. Whatever goes wrong is an outcome: codecs and files fail in every way there is."""
    from lit_rnncomp.data import read_image
    from lit_rnncomp.evaluation.measure import digest, measure, write_frame

    try:
        image = read_image(task.path)
        if task.frames is not None:
            task.frames.mkdir(parents=True, exist_ok=True)
            write_frame(task.frames.parent / "original.webp", image)
        measurement = measure(image, task.codec, task.cache, task.device, task.frames)
    except Exception as error:
        return _Outcome(task.picture, task.codec.name, " ".join(str(error).split()) or type(error).__name__)
    return _Outcome(task.picture, task.codec.name, None, image.size, digest(image), measurement)


def _outcomes(tasks: list[_Task], workers: int) -> Iterator[_Outcome]:
    """Outcomes as they come: in this process for one worker, else in a pool of fresh processes."""
    if workers <= 1:
        yield from map(_perform, tasks)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(workers,)) as pool:
        futures = {pool.submit(_perform, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                task = futures[future]
                try:
                    yield future.result()
                except BrokenProcessPool:
                    reason = "a worker process died, most often of a lack of memory: evaluate again with fewer --workers"
                    yield _Outcome(task.picture, task.codec.name, reason)
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(workers: int) -> None:
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def _collect(tasks: list[_Task], workers: int, folder: Path, quiet: bool) -> tuple[dict[str, PictureResult], dict[str, str]]:
    """Runs the tasks; a picture's file is written as soon as its last codec is through."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lit_rnncomp.evaluation.results import PictureResult, write_picture

    expected: dict[str, int] = {}
    for task in tasks:
        expected[task.picture] = expected.get(task.picture, 0) + 1
    order = list(dict.fromkeys(task.codec.name for task in tasks))
    measured: dict[str, list[_Outcome]] = {name: [] for name in expected}
    pictures: dict[str, PictureResult] = {}
    failures: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task("measuring", total=len(tasks))
        for outcome in _outcomes(tasks, workers):
            progress.update(bar, advance=1, description=f"{outcome.picture}  {outcome.codec}")
            measured[outcome.picture].append(outcome)
            good = {o.codec: o for o in measured[outcome.picture] if o.measurement is not None}
            if len(measured[outcome.picture]) == expected[outcome.picture] and good:
                first = next(iter(good.values()))
                codecs = {name: good[name].measurement for name in order if name in good}
                pictures[outcome.picture] = PictureResult(outcome.picture, *first.size, first.sha256, codecs)  # type: ignore[arg-type]
                write_picture(folder, pictures[outcome.picture])
    for name, outcomes in measured.items():
        failures.update(_failures(name, outcomes))
    return {name: pictures[name] for name in expected if name in pictures}, failures


def _failures(picture: str, outcomes: list[_Outcome]) -> dict[str, str]:
    """What failed and why: one line for a picture that fails by every codec in the same way."""
    errors = {outcome.codec: outcome.error for outcome in outcomes if outcome.error is not None}
    if len(errors) == len(outcomes) and len(set(errors.values())) == 1:
        return {picture: next(iter(errors.values()))}
    return {f"{picture} by {codec}": error for codec, error in errors.items()}


def _run_record(
    codecs: list[AnyCodec], pictures: list[str], missing: dict[str, str], failures: dict[str, str], data: Path, seconds: float, device: str
) -> dict[str, Any]:
    from lit_rnncomp.evaluation.measure import METRICS, METRICS_VERSION, machine
    from lit_rnncomp.evaluation.neural import Neural
    from lit_rnncomp.evaluation.results import FORMAT

    return {
        "format": FORMAT,
        "data": data.resolve().name,
        "pictures": pictures,
        "codecs": [codec.name for codec in codecs],
        "models": {
            codec.name: {"file": Path(codec.model).name, **codec.versions(), "config": codec.codec.network.config.to_dict()}
            for codec in codecs
            if isinstance(codec, Neural)
        },
        "metrics": METRICS,
        "metrics_version": METRICS_VERSION,
        "missing_codecs": missing,
        "failures": failures,
        "machine": machine(device),
        "seconds": round(seconds, 1),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _conclude(folder: Path, anchor: str, of: int, as_json: bool) -> None:
    """Everything that is derived from the measured points."""
    import json

    from rich.console import Console

    from lit_rnncomp.evaluation import savings
    from lit_rnncomp.evaluation.plot import draw
    from lit_rnncomp.evaluation.results import MeanCurves, Results, write_csv, write_json
    from lit_rnncomp.evaluation.strip import strip_of_results
    from lit_rnncomp.evaluation.summary import areas, comparison, tables
    from lit_rnncomp.files import Output

    results = Results.read(folder)
    if not results.common():
        raise ValueError(
            f"no picture was measured by all of {', '.join(results.codecs)}, so nothing can be compared (see {folder / 'run.json'})"
        )
    rows = comparison(results, anchor)
    summary = areas(results)
    curves = MeanCurves.of(results)
    write_json(folder / "summary.json", summary)
    left = savings.bits_left(results)
    curves.write(folder / "curves.json", results, summary, left)
    write_json(folder / "comparison.json", rows)
    write_csv(folder / "points.csv", results.pictures)
    draw([curves], [Output(folder / name, own=True) for name in ("rd.png", "rd.svg")], published=None, title="")
    strip_of_results(results, folder / "strip.png")
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        Console().print(*tables(results, rows, anchor, of), *([savings.table(left)] if left else []))
        print(f"results in {folder}: summary.json, comparison.json, curves.json, points.csv, rd.png, rd.svg, pictures/")


def _warn(message: str) -> None:
    import warnings

    warnings.warn(message, stacklevel=3)
