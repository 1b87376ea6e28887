"""Where a training step on a CPU spends its time: `python kernels/benchmarks/cpu_training_step.py [--width 0.25]
[--json]`.

Prints the step's achieved FLOP/s (convolutions and matrix products, forward and backward, counted by PyTorch) over the
peak of a large sgemm, both timed in this process and interleaved, and the share of time of the costliest calls. A ratio
of two times measured together survives a busy machine better than either; the spread says how well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import shapes
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec


def sgemm(size: int) -> Callable[[], None]:
    """A product of square matrices: 2 size^3 operations, the most a CPU's convolution can hope for."""
    a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)

    def run() -> None:
        torch.mm(a, b, out=out)

    return run


def training_step(config: CodecConfig, batch: int, side: int, channels_last: bool) -> Callable[[], None]:
    """Forward and backward of the L1 loss over all iterations."""
    torch.manual_seed(0)
    codec = RecurrentCodec(config)
    image = torch.rand(batch, 3, side, side) * 2 - 1
    if channels_last:
        codec = codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        image = image.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        codec.zero_grad(set_to_none=True)
        torch.stack([r.abs().mean() for r in codec(image).residuals]).mean().backward()

    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(
    config: CodecConfig, batch: int, side: int, size: int, repeats: int, channels_last: bool
) -> dict[str, object]:
    """Median ratio of the two rates over `repeats` adjacent pairs, the 20 % and 80 % quantiles, and the median
    rates."""
    step, product = training_step(config, batch, side, channels_last), sgemm(size)
    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops()
    product()
    pairs = []
    for _ in track(range(repeats), "Timing", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        pairs.append((operations / seconds(step), 2 * size**3 / seconds(product)))
    ratios = sorted(a / b for a, b in pairs)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    calls = sorted(profile.key_averages(), key=lambda c: c.self_cpu_time_total, reverse=True)
    total = sum(c.self_cpu_time_total for c in calls)
    return {
        "memory_format": "channels_last" if channels_last else "contiguous",
        "gflop_per_step": operations / 1e9,
        "ratio": statistics.median(ratios),
        "ratio_p20": ratios[int(0.2 * (repeats - 1))],
        "ratio_p80": ratios[round(0.8 * (repeats - 1))],
        "step_gflops": statistics.median(a for a, _ in pairs) / 1e9,
        "sgemm_gflops": statistics.median(b for _, b in pairs) / 1e9,
        "threads": torch.get_num_threads(),
        "calls": [{"name": c.key, "share": c.self_cpu_time_total / total, "count": c.count} for c in calls[:12]],
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=float, default=0.25, help="of the network (default: %(default)s)")
    parser.add_argument("--unit", default="lstm", help="recurrent unit (default: %(default)s)")
    parser.add_argument("--frontend", default="conv", choices=("conv", "dct"))
    parser.add_argument("--iterations", type=int, default=4, help="unrolled (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--side", type=int, default=96, help="pixels a side of a patch (default: %(default)s)")
    parser.add_argument("--sgemm", type=int, default=1024, help="rows of the square matrices (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: at least 1")
    config = shapes.network(options.frontend, options.unit, options.width, options.iterations)
    sizes = options.batch, options.side, options.sgemm, options.repeats
    results = [measure(config, *sizes, channels_last) for channels_last in (False, True)]
    if options.json:
        print(json.dumps(results))
        return 0
    console = Console()
    for r in results:
        table = Table(title=f"{r['memory_format']}: {r['gflop_per_step']:.1f} GFLOP a step, {r['threads']} thread(s)")
        table.add_column("call", no_wrap=True)
        table.add_column("share of time", justify="right")
        table.add_column("calls", justify="right")
        for call in r["calls"]:  # type: ignore[attr-defined]
            table.add_row(call["name"], f"{call['share']:.1%}", str(call["count"]))
        console.print(table)
        console.print(
            f"step {r['step_gflops']:.1f} GFLOP/s, sgemm {r['sgemm_gflops']:.1f} GFLOP/s, "
            f"ratio {r['ratio']:.2f} ({r['ratio_p20']:.2f} to {r['ratio_p80']:.2f})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
