"""Many pictures through many codecs: tasks for this process or for a pool of others, and what comes of each."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from ..data import read_image
from ..machine import end_with_parent, threads
from .bar import counted
from .frames import frames_name, write_frame
from .measure import AnyCodec, digest, measure
from .neural import Neural
from .records import Measurement, PictureResult
from .results import write_picture


class Task(NamedTuple):
    """One picture through one codec; `frames` is where the decoded pictures are kept, if they are."""

    picture: str
    path: Path
    codec: AnyCodec
    cache: Path
    device: str
    frames: Path | None


class Outcome(NamedTuple):
    """`error` is None or one line; without error the rest is set."""

    picture: str
    codec: str
    error: str | None
    size: tuple[int, int] = (0, 0)
    sha256: str = ""
    measurement: Measurement | None = None


def plan(
    paths: dict[str, Path], codecs: list[AnyCodec], out: Path, cache: Path, device: str, frames: int
) -> list[Task]:
    """A task for each picture and codec; the models' pictures are kept of `frames` of them, evenly spread."""
    names = list(paths)
    kept = {names[k * len(names) // frames] for k in range(frames)} if frames else set()

    def folder(name: str, codec: AnyCodec) -> Path | None:
        return out / frames_name(name) / codec.name if isinstance(codec, Neural) and name in kept else None

    return [
        Task(name, path, codec, cache, device, folder(name, codec)) for name, path in paths.items() for codec in codecs
    ]


def perform(task: Task) -> Outcome:
    """One picture through one codec. Whatever goes wrong is an outcome: codecs and files fail in every way there is."""
    try:
        image = read_image(task.path)
        if task.frames is not None:
            task.frames.mkdir(parents=True, exist_ok=True)
            write_frame(task.frames.parent / "original", image)
        measurement = measure(image, task.codec, task.cache, task.device, task.frames)
    except Exception as error:
        return Outcome(task.picture, task.codec.name, " ".join(str(error).split()) or type(error).__name__)
    return Outcome(task.picture, task.codec.name, None, image.size, digest(image), measurement)


def collect(
    tasks: list[Task], workers: int, folder: Path, quiet: bool
) -> tuple[dict[str, PictureResult], dict[str, str]]:
    """Results, and failures with their reasons; a picture's file is written as soon as its last codec is through."""
    expected = Counter(task.picture for task in tasks)
    order = list(dict.fromkeys(task.codec.name for task in tasks))
    measured: dict[str, list[Outcome]] = {name: [] for name in expected}
    pictures: dict[str, PictureResult] = {}
    failures: dict[str, str] = {}
    with counted(quiet) as progress:
        bar = progress.add_task("measuring", total=len(tasks))
        for outcome in _outcomes(tasks, workers):
            progress.update(bar, advance=1, description=f"{outcome.picture}  {outcome.codec}")
            name, outcomes = outcome.picture, measured[outcome.picture]
            outcomes.append(outcome)
            good = {o.codec: o.measurement for o in outcomes if o.measurement is not None}
            if len(outcomes) == expected[name] and good:
                first = next(o for o in outcomes if o.measurement is not None)
                codecs = {codec: good[codec] for codec in order if codec in good}
                pictures[name] = PictureResult(name, *first.size, first.sha256, codecs)
                write_picture(folder, pictures[name])
    for name, outcomes in measured.items():
        failures.update(_failures(name, outcomes))
    return {name: pictures[name] for name in expected if name in pictures}, failures


def _outcomes(tasks: list[Task], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come: in this process for one worker, else in a pool of fresh processes."""
    if workers <= 1:
        yield from map(perform, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(workers,)) as pool:
        futures = {pool.submit(perform, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                task = futures[future]
                try:
                    yield future.result()
                except BrokenProcessPool:
                    reason = (
                        "a worker process died, most often of a lack of memory: evaluate again with fewer --workers"
                    )
                    yield Outcome(task.picture, task.codec.name, reason)
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(workers: int) -> None:
    import torch

    end_with_parent()
    torch.set_num_threads(threads(workers))


def _failures(picture: str, outcomes: list[Outcome]) -> dict[str, str]:
    """What failed and why: one line for a picture that fails by every codec in the same way."""
    errors = {outcome.codec: outcome.error for outcome in outcomes if outcome.error is not None}
    if len(errors) == len(outcomes) and len(set(errors.values())) == 1:
        return {picture: next(iter(errors.values()))}
    return {f"{picture} by {codec}": error for codec, error in errors.items()}
