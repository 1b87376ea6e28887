"""How anything is timed: by an injected clock and an injected meter of memory, into one kind of row.

A row's time is set against the roofline of its device: the larger of its bytes at the bandwidth of a copy and of its
multiply-adds at the rate of a large matrix product in its type, both measured in the same run. What fails, for want of
memory or in a compiler, is a row with an `error`, and the run goes on.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from torch._dynamo.utils import counters

# What says which case a row is; of `place` what in a network it is taken from.
LABELS = (
    "kind", "name", "pass", "place", "iterations", "batch", "in_channels", "channels", "height", "width", "kernel",
    "stride", "hidden_kernel", "dtype", "provider",
)  # fmt: skip
FIELDS = (
    *LABELS, "median_ms", "p20_ms", "p80_ms", "bytes", "multiply_adds", "peak_bytes", "gb_per_s", "tflop_per_s",
    "share_of_roofline", "error", "device", "torch", "triton",
)  # fmt: skip
DTYPES = (torch.float32, torch.bfloat16)
FORWARD, TRAINING = "forward", "forward+backward"

Function = Callable[[], Any]
# Median, 20 % and 80 % quantile in milliseconds of a function that is run for about so many milliseconds.
Clock = Callable[[Function, int], tuple[float, float, float]]
# The most bytes that tensors hold on the device while a function runs once; None where nobody counts them.
Meter = Callable[[Function], int | None]
# Of whole networks one run takes long, and its quantiles need several.
MILLISECONDS = {"op": 100, "layer": 100, "step": 2000, "encode": 2000}


class Cost(NamedTuple):
    """Bytes through memory, and multiply-adds, of one run."""

    bytes: int
    multiply_adds: int


class Limits(NamedTuple):
    """What a device reaches: bytes a second of a copy, read and written, and operations a second of a large matrix
    product by type, two for a multiply-add."""

    copy: float
    products: dict[str, float]

    def seconds(self, cost: Cost, dtype: str) -> float:
        """The least that `cost` can take."""
        return max(cost.bytes / self.copy, 2 * cost.multiply_adds / self.products[dtype])


class Run(NamedTuple):
    """A row to be.

    `labels`: of `LABELS`, those that say something of this kind. `prepare(device)`: makes the tensors, and returns what
    is timed. `cost`: the same for all providers of a case, so that their rates compare as their times do. `context`:
    around all of it. `graphs`: how many `torch.compile` must make, 0 where nothing is compiled. `captures`: the first
    run is captured, and takes the memory of all that are replayed.
    """

    labels: dict[str, Any]
    prepare: Callable[[str], Function]
    cost: Callable[[], Cost]
    context: Callable[[], AbstractContextManager] = nullcontext
    graphs: int = 0
    captures: bool = False

    @property
    def name(self) -> str:
        return name_of(self.labels)


def name_of(labels: dict[str, Any]) -> str:
    """What a line calls a run or a row."""
    return ", ".join(str(labels[x]) for x in ("kind", "name", "place", "pass", "dtype", "provider"))


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """The same for a row of the same case in another run."""
    return tuple(row.get(label) for label in LABELS)


def compiled(function: Callable) -> Callable:
    """`function` by `torch.compile`, in one graph, for the shapes of one run.

    `time_one` forgets what was compiled before. Otherwise the ninth case would run in eager mode (`recompile_limit`),
    and the second with shapes left open.
    """
    return torch.compile(function, fullgraph=True, dynamic=False)


def check_compiled(run: Run) -> None:
    """Raises `RuntimeError` unless `torch.compile` made as many graphs as it should: eager is no rival."""
    made = counters["stats"]["unique_graphs"]
    if made != run.graphs:
        raise RuntimeError(
            f"torch.compile made {made} graphs of {run.name}, expected {run.graphs}: its times would be eager's"
        )


def time_one(run: Run, device: str, clock: Clock, meter: Meter) -> dict[str, Any]:
    """Milliseconds, cost and peak memory of a run. What tensors of others hold is no part of its peak."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
    if run.graphs:
        torch._dynamo.reset()
        counters.clear()
    cost, held = run.cost(), meter(lambda: None)
    with run.context():
        function = run.prepare(device)
        peak = meter(function)  # the first run compiles, or captures
        if run.graphs:
            check_compiled(run)
        if not run.captures:
            peak = meter(function)
        median, low, high = clock(function, MILLISECONDS[run.labels["kind"]])
    return {
        "median_ms": round(median, 6),
        "p20_ms": round(low, 6),
        "p80_ms": round(high, 6),
        "peak_bytes": None if peak is None or held is None else peak - held,
        **cost._asdict(),
    }


def with_rates(row: dict[str, Any], limits: Limits, dtype: str) -> dict[str, Any]:
    """The row, and what follows from it."""
    cost, seconds = Cost(row["bytes"], row["multiply_adds"]), row["median_ms"] / 1e3
    return row | {
        "gb_per_s": round(cost.bytes / seconds / 1e9, 1),
        "tflop_per_s": round(2 * cost.multiply_adds / seconds / 1e12, 3),
        "share_of_roofline": round(limits.seconds(cost, dtype) / seconds, 4),
    }


def rows(
    runs: list[Run], device: str, clock: Clock, meter: Meter, limits: Limits, name: str
) -> Iterator[dict[str, Any]]:
    """A row of `FIELDS` for each run, as they come; `name` is the device's."""
    version = sys.modules["triton"].__version__ if "triton" in sys.modules else "absent"
    for run in track(runs, "Timing", console=Console(stderr=True)):
        try:
            found = with_rates(time_one(run, device, clock, meter), limits, run.labels["dtype"])
        except Exception as error:  # whatever a library raises: hours of other rows are not lost for it
            found = {"error": f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:300]}
        finally:
            if run.graphs:
                torch._dynamo.reset()  # what was compiled holds memory
        yield (
            dict.fromkeys(FIELDS) | run.labels | found | {"device": name, "torch": torch.__version__, "triton": version}
        )
