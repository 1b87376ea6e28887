"""Cost of the ops: `python kernels/benchmarks/run.py [--op NAME] [--csv PATH] [--plot]`.

Everywhere the static part: bytes, launches, multiply-adds, registers; `--json` writes it, `--against` compares it. With
a GPU then the ops' tests (nothing is timed on red), and op x shape x dtype x provider with `triton.testing.do_bench`,
into a CSV that `--plot` draws. Without one, a line that says that nothing was timed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import shapes
import static
import torch
import traffic
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch._dynamo.utils import counters

HERE = Path(__file__).resolve().parent
DTYPES = (torch.float32, torch.bfloat16)
PROVIDERS = ("eager", "torch.compile", "triton")
FIELDS = (
    "op", "pass", "layer", "batch", "channels", "height", "width", "dtype", "provider",
    "median_ms", "p20_ms", "p80_ms", "bytes", "gb_per_s", "share_of_copy", "device", "torch", "triton",
)  # fmt: skip

Timer = Callable[[Callable[[], Any]], tuple[float, float, float]]


def cases() -> Iterator[tuple[traffic.Op, str, tuple[int, int, int, int]]]:
    """Every op at every distinct shape it meets in the networks: the op, the layer's name, `(B, C, H, W)` of its
    state."""
    seen = set()
    for network in shapes.NETWORKS:
        for scene in shapes.SCENES:
            rows = [
                (layer.name, (layer.batch, layer.channels, layer.height, layer.width))
                for layer in shapes.layers(network, scene)
            ]
            for op in traffic.OPS:
                if op.name == "binarize":
                    places = [(f"{network} codes", shapes.code_shape(network, scene))]
                elif op.name == "ternarize":  # a code for each coefficient
                    places = [("ternary codes", shapes.target_shape("dct", scene))]
                elif op.name == "associative_lstm_update":  # K complex units make 2K channels
                    places = [(name, (b, c // 2, h, w)) for name, (b, c, h, w) in rows]
                else:
                    places = rows
                for name, shape in places:
                    if (op.name, shape) not in seen:
                        seen.add((op.name, shape))
                        yield op, f"{name} {scene}", shape


def compiled(definition: Callable) -> Callable:
    """`definition` compiled for the shapes of one case: whatever was compiled before is forgotten.

    Otherwise the ninth case would run in eager mode (`recompile_limit`), and the second with shapes left open.
    """
    torch._dynamo.reset()
    counters.clear()
    return torch.compile(definition, fullgraph=True, dynamic=False)


def check_compiled(op: str, graphs: int) -> None:
    """Raises `RuntimeError` unless `torch.compile` made `graphs` graphs for this case: eager is no rival."""
    made = counters["stats"]["unique_graphs"]
    if made != graphs:
        raise RuntimeError(f"torch.compile made {made} graphs of {op}, expected {graphs}: its times would be eager's")


def timed(
    op: traffic.Op, shape: tuple[int, int, int, int], dtype: torch.dtype, device: str, time: Timer
) -> Iterator[dict[str, Any]]:
    """Milliseconds of each provider, inference and training (forward and backward)."""
    batch, channels, height, width = shape
    inputs = [
        torch.randn(batch, k * channels, height, width, dtype=dtype, device=device, requires_grad=True)
        for k in op.inputs
    ]
    functions = {"eager": op.definition, "torch.compile": compiled(op.definition), "triton": traffic.kernel_of(op)}
    inference, training = traffic.fused_inference(op, shape, dtype), traffic.fused(op, shape, dtype)
    for provider, function in functions.items():

        def forward(function: Callable = function) -> list[Tensor]:
            result = function(*inputs)
            return [result] if isinstance(result, Tensor) else list(result)

        weights = [torch.ones_like(x) for x in forward()]
        with torch.no_grad():
            yield {"pass": "forward", "provider": provider, "bytes": inference.bytes, "times": time(forward)}
        if provider == "torch.compile":
            check_compiled(op.name, 2)  # with gradients and without
        train = time(lambda f=forward, w=weights: torch.autograd.grad(f(), inputs, w))
        yield {
            "pass": "forward+backward",
            "provider": provider,
            "bytes": training.bytes,
            "times": train,
        }


def copy_bandwidth(time: Timer, device: str, size: int = 1 << 28) -> float:
    """GB/s of a device-to-device copy, reads and writes counted: what an element-wise kernel can reach at most."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / time(lambda: target.copy_(source))[0] / 1e6


def benchmark(op_names: list[str], device: str, time: Timer, name: str) -> list[dict[str, Any]]:
    """Rows of the CSV. Bytes are those the kernels move, for every provider alike, so that GB/s compare as times do."""
    limit = copy_bandwidth(time, device)
    version = sys.modules["triton"].__version__ if "triton" in sys.modules else "absent"
    rows = []
    chosen = [c for c in cases() if c[0].name in op_names]
    for op, layer, shape in track(chosen, "Timing", console=Console(stderr=True)):
        for dtype in DTYPES:
            for row in timed(op, shape, dtype, device, time):
                median, low, high = row.pop("times")
                speed = row["bytes"] / median / 1e6
                size = dict(zip(("batch", "channels", "height", "width"), shape, strict=True))
                rows.append(
                    {"op": op.name, "layer": layer, **size, "dtype": str(dtype).removeprefix("torch."), **row}
                    | {"median_ms": round(median, 6), "p20_ms": round(low, 6), "p80_ms": round(high, 6)}
                    | {"gb_per_s": round(speed, 1), "share_of_copy": round(speed / limit, 3)}
                    | {"device": name, "torch": torch.__version__, "triton": version}
                )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Written under another name first, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def traffic_table(op_names: list[str]) -> Table:
    """Forward and backward of each op, per layer's largest shape, in units of its state."""
    table = Table(
        title="One training pass of an op: megabytes and launches (float32, layer D4 of the paper at batch 32)"
    )
    for heading in (
        "op",
        "eager MB",
        "eager launches",
        "fused MB",
        "fused launches",
        "floor MB",
        "fused / eager",
        "fused / floor",
    ):
        table.add_column(heading, justify="left" if heading == "op" else "right", no_wrap=heading == "op")
    shape = static.table_shape()
    for op in traffic.OPS:
        if op.name in op_names:
            plain, ours, least = traffic.eager(op, shape), traffic.fused(op, shape), traffic.floor(op, shape)
            megabytes = (f"{n / 1e6:.1f}" for n in (plain.bytes, ours.bytes, least))
            a, b, c = megabytes
            ratios = f"{ours.bytes / plain.bytes:.2f}", f"{ours.bytes / least:.2f}"
            table.add_row(op.name, a, str(plain.launches), b, str(ours.launches), c, *ratios)
    return table


def iteration_table() -> Table:
    """One further training iteration of each network and unit, convolutions and all."""
    table = Table(title="One further training iteration, forward and backward, batch 32 of 32x32 (float32)")
    for heading in ("network", "unit", "eager MB", "launches", "fused MB", "launches", "multiply-adds (10^9)"):
        table.add_column(heading, justify="left" if heading in ("network", "unit") else "right")
    for network in shapes.NETWORKS:
        for unit in traffic.UNITS:
            plain, ours = (traffic.iteration(network, unit, kernels) for kernels in (False, True))
            cells = [(f"{t.bytes / 1e6:.1f}", str(t.launches)) for t in (plain.total, ours.total)]
            table.add_row(network, unit, *cells[0], *cells[1], f"{ours.multiply_adds / 1e9:.2f}")
    return table


def kernel_table(kernels: dict[str, Any]) -> Table:
    """Registers, and spilled bytes where there are any, of every kernel on each target."""
    table = Table(title="Registers (+ bytes spilled) a thread")
    table.add_column("kernel")
    for target in static.TARGETS:
        table.add_column(target, justify="right")
    for name in kernels[static.TARGETS[0]]:
        found = [kernels[target][name] for target in static.TARGETS]
        table.add_row(name, *(f"{f['registers']}" + (f" + {f['local']}" if f["local"] else "") for f in found))
    return table


def plot(path: Path) -> Path:
    """Draw the CSV at `path`: achieved share of the copy bandwidth over bytes, a panel an op; returns the picture's
    path."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with path.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["pass"] == "forward+backward"]
    names = sorted({r["op"] for r in rows})
    figure, axes = plt.subplots(
        1, len(names), figsize=(4 * len(names), 3.5), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, name in zip(axes[0], names, strict=True):
        for provider in PROVIDERS:
            for dtype, style in (("float32", "-o"), ("bfloat16", "--s")):
                points = sorted(
                    (int(r["bytes"]), float(r["share_of_copy"]))
                    for r in rows
                    if (r["op"], r["provider"], r["dtype"]) == (name, provider, dtype)
                )
                axis.plot(*zip(*points, strict=True), style, label=f"{provider} {dtype}")
        axis.set(title=name, xscale="log", xlabel="bytes the kernels move")
    axes[0][0].set_ylabel("share of copy bandwidth")
    axes[0][-1].legend(fontsize="x-small")
    target = path.with_suffix(".svg")
    figure.savefig(target)
    plt.close(figure)
    return target


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", action="append", choices=list(traffic.BY_NAME), help="only this op; may be repeated")
    parser.add_argument("--csv", type=Path, help="where the times go (default: kernels/benchmarks/results/DEVICE.csv)")
    parser.add_argument("--plot", action="store_true", help="draw the CSV beside it, as SVG")
    parser.add_argument("--json", type=Path, help="write the static part (bytes, launches, registers) there")
    parser.add_argument("--against", type=Path, help="compare the static part with this JSON; 1 where a number grew")
    options = parser.parse_args(arguments)
    old = None
    if options.against is not None:
        try:
            old = json.loads(options.against.read_text())
        except (OSError, ValueError) as error:
            parser.error(f"--against {options.against}: {error}; it is a file that --json wrote")
    names = options.op or list(traffic.BY_NAME)
    if importlib.util.find_spec("triton") is None:
        parser.error("what kernels move is read from what Triton makes of them: pip install triton (Linux)")
    console = Console(width=max(Console().width, 100))  # the tables' width: a figure must not be cut
    found = static.measure()
    console.print(traffic_table(names), iteration_table(), kernel_table(found["kernels"]))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if old is not None and (lines := list(static.worse(old, found))):
        console.print(f"Worse than {options.against}:", *lines, sep="\n", markup=False)
        return 1
    if not torch.cuda.is_available():
        console.print("No CUDA device: nothing was timed.")
        if options.plot:
            if options.csv is None or not options.csv.exists():
                console.print("--plot without a GPU draws times measured elsewhere: name them with --csv PATH")
                return 2
            console.print(f"Drew {plot(options.csv)}")
        return 0
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", str(HERE.parents[1] / "tests" / "kernels")], check=False
    )
    if tests.returncode:
        console.print("The ops' tests fail: nothing was timed.")
        return 1
    from triton.testing import do_bench

    name = torch.cuda.get_device_name()
    rows = benchmark(names, "cuda", lambda f: tuple(do_bench(f, quantiles=[0.5, 0.2, 0.8])), name)
    path = options.csv or HERE / "results" / f"{name.replace(' ', '-')}.csv"
    write_csv(path, rows)
    console.print(f"Wrote {len(rows)} rows to {path}")
    if options.plot:
        console.print(f"Drew {plot(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
