"""One file, or many of which each may fail by itself, in one process or several."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from ..advice import in_flags
from ..files import is_stdout
from ..machine import cores, end_with_parent, threads
from ..progress import Bar, Progress, silent
from .names import Pair, Plan

_OPTIONS = dict.fromkeys(("quality", "bpp", "bytes", "psnr", "ms_ssim", "iterations", "tune", "partial", "model"))

FAILURES = (ValueError, OSError, FloatingPointError, MemoryError)
"""What is wrong with one file and not with the program."""


class Done(NamedTuple):
    """What is said of a file: a line for a person, values for a machine."""

    text: str
    values: dict[str, Any]


Work = Callable[[Pair, Progress], Done]
"""Reads one file and writes another; travels to other processes."""


def run(work: Work, plan: Plan, workers: int, as_json: bool) -> None:
    """Work on all files of a plan and say what was done with each.

    Of several, those that failed are listed at the end, and the process ends with exit code 1. `workers`: processes; 0
    for one a core. Raises `ValueError`; of a single file what its work raises.
    """
    if workers < 0:
        raise ValueError(f"--workers {workers} is below 0")
    if not plan.many:
        (pair,) = plan.pairs
        with Bar(pair.source) as bar:
            done = work(pair, bar)
        _say(done, as_json, to_stderr=is_stdout(pair.target))
        return
    failed: list[tuple[str, str]] = []
    # Folders first: a worker finds them there.
    for folder in sorted({Path(pair.target).parent for pair in plan.pairs}):
        folder.mkdir(parents=True, exist_ok=True)
    with Bar(f"{len(plan.pairs)} files") as bar:
        for count, (pair, result) in enumerate(_results(work, plan.pairs, workers or cores()), 1):
            try:
                _say(result(), as_json)
            except BrokenPipeError:
                raise
            except (*FAILURES, BrokenExecutor) as error:
                reason = in_flags(" ".join(str(error).split()) or type(error).__name__, {**_OPTIONS, "": pair.source})
                failed.append((pair.source, reason))
                if as_json:
                    print(json.dumps({"source": pair.source, "error": reason}))
            bar(count, len(plan.pairs))
    if failed:
        width = min(max(len(source) for source, _ in failed), 40)
        lines = [f"  {source:<{width}}  {reason}" for source, reason in failed]
        print("\n".join([f"{len(failed)} of {len(plan.pairs)} failed:", *lines]), file=sys.stderr)
        sys.exit(1)


def _results(work: Work, pairs: list[Pair], workers: int) -> Iterator[tuple[Pair, Callable[[], Done]]]:
    """Each pair, in order, with a call for its result."""
    if workers == 1:
        for pair in pairs:
            yield pair, lambda pair=pair: work(pair, silent)  # type: ignore[misc]
        return
    # Threads of one worker would wait for those of another.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(threads(workers)))
    pool = ProcessPoolExecutor(min(workers, len(pairs)), get_context("spawn"), _begin)
    try:
        futures: list[Future[Done]] = [pool.submit(work, pair, silent) for pair in pairs]
        for pair, future in zip(pairs, futures, strict=True):
            yield pair, future.result
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a worker: Ctrl-C ends the process that started it, which lets it finish its file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _say(done: Done, as_json: bool, to_stderr: bool = False) -> None:
    print(json.dumps(done.values) if as_json else done.text, file=sys.stderr if to_stderr else sys.stdout)
