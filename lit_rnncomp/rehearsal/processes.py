"""A part of a rehearsal in processes of its own: it has its own time limit, and fails alone."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path
from typing import Any, NamedTuple

RESULT, OUTPUT, ERRORS = "result-{}.json", "output-{}.txt", "errors-{}.txt"
_POLL = 0.05  # seconds
# With which jsonargparse ends, after it has said what is wrong.
_ECHOES = ("Given value", "- Expected a <class 'NoneType'>")


class Work(NamedTuple):
    """`function`, "module:name", is called with `arguments` in each of so many `processes`, and ended after `limit`
    seconds. What it returns becomes JSON. Several processes find each other as torchrun's do."""

    function: str
    arguments: Mapping[str, Any]
    limit: float
    processes: int = 1


class Outcome(NamedTuple):
    """What the first process returned, None where one failed: then `why`. `seconds` that it took."""

    result: Any
    why: str | None
    seconds: float


def do(work: Work) -> Outcome:
    """Does it in an empty folder, which is removed again.

    Raises:
        ValueError: this is Windows, which does not fork.
    """
    try:
        context = multiprocessing.get_context("forkserver")
    except ValueError:
        raise ValueError("a rehearsal needs Linux or macOS: this system does not fork") from None
    # What takes seconds to import is imported once, by a process that all others are forked from.
    context.set_forkserver_preload(["lit_rnncomp.training.cli"])
    with tempfile.TemporaryDirectory(prefix="lit-rnncomp-") as folder:
        worlds = [{"LOCAL_RANK": rank, "RANK": rank} for rank in range(work.processes)] if work.processes > 1 else [{}]
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _port(), "WORLD_SIZE": work.processes, "NODE_RANK": 0}
        start = time.monotonic()
        started: list[BaseProcess] = [
            context.Process(target=_child, args=(work, folder, rank, {**shared, **world} if world else {}))
            for rank, world in enumerate(worlds)
        ]
        for process in started:
            process.start()
        try:
            why = _wait(started, start + work.limit, Path(folder), work.limit)
        finally:
            for process in started:
                _kill(process)
        seconds = time.monotonic() - start
        if why is None:
            return Outcome(json.loads((Path(folder) / RESULT.format(0)).read_text()), None, seconds)
        return Outcome(None, why, seconds)


def command(words: list[str], environment: dict[str, str] | None = None) -> Any:
    """Runs a command, whose output is the part's; what it wrote to `result.json`, if anything.

    Raises `SystemExit` with its exit code where that is not 0.
    """
    code = subprocess.run(words, env={**os.environ, **(environment or {})}, check=False).returncode
    if code:
        raise SystemExit(code if code > 0 else 128 - code)
    result = Path("result.json")
    return json.loads(result.read_text()) if result.exists() else None


def _child(work: Work, folder: str, rank: int, environment: dict[str, object]) -> None:
    os.setsid()
    os.chdir(folder)
    for number, name in ((1, OUTPUT), (2, ERRORS)):
        os.dup2(os.open(name.format(rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    threading.Thread(target=_leash, daemon=True).start()
    os.environ.update({name: str(value) for name, value in environment.items()})
    module, name = work.function.split(":")
    result = getattr(importlib.import_module(module), name)(**work.arguments)
    Path(RESULT.format(rank)).write_text(json.dumps(result))


def _leash() -> None:
    """Ends this process and all that it started when the rehearsal itself is gone, even if that was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _wait(started: list[BaseProcess], deadline: float, folder: Path, limit: float) -> str | None:
    """Until all are done, or one has failed: why."""
    while True:
        codes = [process.exitcode for process in started]
        for rank, code in enumerate(codes):
            if code:
                return _last_words(folder, rank) or (
                    f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                )
        if None not in codes:
            return None
        if time.monotonic() > deadline:
            return f"not done after {limit:.0f} seconds"
        time.sleep(_POLL)


def _last_words(folder: Path, rank: int) -> str:
    """The last line of standard error, or where there is none of the output."""
    for name in (ERRORS, OUTPUT):
        lines = (folder / name.format(rank)).read_text(errors="replace").split("\n")
        if said := [line.strip() for line in lines if line.strip() and not line.strip().startswith(_ECHOES)]:
            return said[-1].removeprefix("- ")
    return ""


def _kill(process: BaseProcess) -> None:
    """And what it started; it may not yet have come to lead a group."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
