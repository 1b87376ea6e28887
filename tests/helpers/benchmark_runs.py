"""Runs of the kernels' benchmark with a clock that is not one."""

import itertools
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"


def ticking():
    """A clock whose readings are 1, 2, ... milliseconds, a tenth of it to either side."""
    ticks = itertools.count(1)

    def clock(function, milliseconds):
        function()
        n = next(ticks)
        return n, n * 0.9, n * 1.1

    return clock


def meter(function):
    """A CPU's: nobody counts."""
    function()


def rows_of(runs, clock=None, meter=meter):
    import timing

    limits = timing.Limits(1e9, {"float32": 2e9, "bfloat16": 4e9})
    return list(timing.rows(list(runs), "cpu", clock or ticking(), meter, limits, "a device"))


def broken(message="out of memory\nand more"):
    """A run that fails."""
    import timing

    def prepare(device):
        raise torch.OutOfMemoryError(message)

    labels = {
        "kind": "op", "name": "broken", "pass": "forward", "place": "here", "dtype": "float32", "provider": "eager"
    }  # fmt: skip
    return timing.Run(labels, prepare, lambda: timing.Cost(1, 1))
