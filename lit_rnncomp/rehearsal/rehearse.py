"""`lit-rnncomp rehearse`: all that a machine with GPUs is to show in ten minutes, into one JSON file."""

from __future__ import annotations

import json as _json
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import Output, write_bytes

if TYPE_CHECKING:
    from .parts import Part

FORMAT = 1


def rehearse(
    out: str = "rehearsal.json",
    small: bool = False,
    only: list[str] | None = None,
    minutes: float = 10,
    configs: str | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Try the kernels and every recipe on this machine's GPUs: what works, how fast, and in how much memory.

    The kernels' tests and errors come first, then some steps of each recipe in float32, in bfloat16, as a CUDA graph,
    on all devices, and compiled. Each part is a process of its own with a time limit, and fails alone; its line says
    why. The file is written after each part, so a rehearsal that is killed leaves what it knew. Exit code 1 says that a
    part failed. Without a CUDA device everything runs on the CPU at a small size, and what needs a GPU is listed as not
    run.

    Args:
        out: the JSON file to write.
        small: on the CPU at a small size, though there is a GPU.
        only: the parts with one of these words in their names, such as quickstart, bf16 or kernels.
        minutes: parts that would begin later are not run.
        configs: the folder of recipes; that of the checkout when not given.
        force: replace an existing file.
        json: print the result as JSON.
    """
    output = Output(out, force=force, ending=".json")
    if minutes <= 0:
        raise ValueError(f"minutes={minutes} is not positive")
    # Whoever forks must not have asked CUDA itself for the devices.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    import torch

    from .machine import machine
    from .parts import CHECKOUT, parts
    from .recipes import recipes
    from .table import print_table

    gpus = torch.cuda.device_count()
    small = small or not gpus
    found = parts(recipes(Path(configs or CHECKOUT / "configs"), small), gpus, small)
    chosen = [part for part in found if not only or any(word in f"{part.name} {part.way}" for word in only)]
    if not chosen:
        raise ValueError(f"only={only[0] if only else None}: no part has it in its name, such as {_example(found)}")
    result: dict[str, Any] = {
        "rehearsal": FORMAT,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": "cpu" if small else "cuda",
        "small": small,
        "machine": machine(),
        "done": False,
        "parts": [],
    }
    _run(chosen, result, output, 60 * minutes)
    if json:
        print(_json.dumps(result))
    else:
        print_table(result)
        print(f"{_counted(result)}; all of it in {out}", file=output.messages)
    if any(row["state"] == "failed" for row in result["parts"]):
        sys.exit(1)


def _run(chosen: list[Part], result: dict[str, Any], output: Output, seconds: float) -> None:
    """Does the parts and writes the result after each; where the output is no regular file, at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from .figures import compare
    from .machine import clocks

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    keep = _Keeper(output)
    keep(result)
    start = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(chosen))
        for part in chosen:
            bar.update(task, description=f"{part.name}, {part.way}")
            late = time.monotonic() - start > seconds
            result["parts"].append(_row(part, f"the {seconds / 60:g} minutes were over" if late else None))
            compare(result["parts"])
            keep(result)
            bar.advance(task)
    result |= {"seconds": round(time.monotonic() - start, 1), "clocks_after": clocks(), "done": True}
    keep(result, last=True)


def _row(part: Part, late: str | None) -> dict[str, Any]:
    from .processes import do

    row = {"name": part.name, "way": part.way}
    if part.work is None or late:
        return {**row, "state": "not run", "why": part.not_run or late}
    found = do(part.work)
    row["seconds"] = round(found.seconds, 1)  # type: ignore[assignment]
    if found.why is not None:
        return {**row, "state": "failed", "why": found.why}
    return {**row, "state": "passed", **(found.result or {})}


class _Keeper:
    """Writes the result as it is so far: the first time where nothing was, or as `force` says, then over itself."""

    def __init__(self, output: Output) -> None:
        from ..files import is_stream

        self._output, self._stream = output, output.to_stdout or is_stream(output.path)
        self._written = False

    def __call__(self, result: dict[str, Any], last: bool = False) -> None:
        if self._stream and not last:
            return
        data = (_json.dumps(result, indent=1) + "\n").encode()
        write_bytes(self._output.path if self._written else self._output, data)
        self._written = not self._stream


def _counted(result: dict[str, Any]) -> str:
    states = [row["state"] for row in result["parts"]]
    return ", ".join(f"{states.count(state)} {state}" for state in ("passed", "failed", "not run"))


def _example(found: list[Part]) -> str:
    return ", ".join(dict.fromkeys(part.name for part in found))
