"""What deferred weight gradients are worth: `python kernels/benchmarks/deferred_gradients.py [--truncate 4]`.

Prints the CPU seconds of a training step with deferred gradients over those with autograd's, in alternating pairs in
one process, and the peak memory of each in a process of its own. CPU time, not the clock: other work matters less.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable

import shapes
import torch

from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.benchmark import _status
from lit_rnncomp.training.loss import segment_losses, sum_of_segments

Options = argparse.Namespace
PROVIDERS = {"deferred": True, "autograd": False}


def training_step(options: Options) -> Callable[[str], float]:
    """A step by the provider of that name, forward and backward; returns its CPU seconds."""
    torch.manual_seed(0)
    config = shapes.network(options.frontend, options.unit, options.width, options.iterations)
    codec = RecurrentCodec(config).train()
    image = torch.rand(options.batch, 3, options.side, options.side) * 2 - 1

    def run(provider: str) -> float:
        codec.defer_gradients = PROVIDERS[provider]
        codec.zero_grad(set_to_none=True)
        start = time.process_time()
        losses = (s.loss for s in segment_losses(codec, image, options.iterations, options.truncate, 0.0))
        (sum_of_segments(losses, codec) if options.truncate else next(losses)).backward()
        return time.process_time() - start

    return run


def peak(options: Options, provider: str) -> int:
    """Bytes of two steps above what the process had before them."""
    torch.set_num_threads(1)
    run, before = training_step(options), _status("VmRSS")
    run(provider)
    run(provider)
    return _status("VmHWM") - before


def measure(options: Options) -> dict[str, float]:
    """Median ratio of the CPU seconds, its 20 % and 80 % quantiles, and the ratio of the peaks."""
    memory = {}
    for provider in PROVIDERS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            memory[provider] = pool.apply(peak, [options, provider])
    run = training_step(options)
    for provider in PROVIDERS:
        run(provider)
    ratios = []
    for pair in range(options.repeats):
        names = list(PROVIDERS) if pair % 2 else list(PROVIDERS)[::-1]
        seconds = {name: run(name) for name in names}
        ratios.append(seconds["deferred"] / seconds["autograd"])
    ratios.sort()
    return {
        "time": statistics.median(ratios),
        "time_p20": ratios[int(0.2 * (len(ratios) - 1))],
        "time_p80": ratios[round(0.8 * (len(ratios) - 1))],
        "memory": memory["deferred"] / memory["autograd"],
        "memory_autograd_mb": memory["autograd"] / 1e6,
        "threads": torch.get_num_threads(),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=0.125, help="of the network (default: %(default)s)")
    parser.add_argument("--unit", default="residual_gru", help="recurrent unit (default: %(default)s)")
    parser.add_argument("--frontend", default="dct", choices=("conv", "dct"))
    parser.add_argument("--iterations", type=int, default=16, help="unrolled (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=64, help="pixels a side of a patch (default: %(default)s)")
    parser.add_argument("--truncate", type=int, help="iterations a segment (default: all)")
    parser.add_argument("--repeats", type=int, default=15, help="pairs (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: at least 1")
    print(json.dumps({k: round(v, 3) for k, v in measure(options).items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
