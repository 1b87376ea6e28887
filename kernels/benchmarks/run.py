"""What ops, layers, training steps and encodings cost: `python kernels/benchmarks/run.py [--only KIND] [--plot]`.

Everywhere the static part: bytes, launches, multiply-adds, registers; `--json` writes it. With a GPU then the tests of
the kernels (nothing is timed on red), and every case by every provider with `triton.testing.do_bench`: ops, recurrent
layers, whole training steps and encodings, with peak memory and the share of the device's roofline. Rows go into a CSV,
which `--plot` draws, and with the static part into a JSON beside it; `--against` compares with such a JSON, or with one
of `--json`, and exits with 1 where a number grew. Without a GPU, a line says that nothing was timed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gate
import layers
import ops
import static
import tables
import timing
import torch
import traffic
import whole
from plots import plot
from rich.console import Console

from lit_rnncomp.files import replacing, write_json
from lit_rnncomp.rehearsal.peak import peak

HERE = Path(__file__).resolve().parent
KINDS = ("ops", "layers", "steps", "encode")


def chosen(kinds: Iterable[str], op_names: list[str], device: str) -> list[timing.Run]:
    """The runs of these kinds."""
    runs = {
        "ops": lambda: ops.runs(op_names),
        "layers": layers.runs,
        "steps": lambda: whole.steps(device),
        "encode": lambda: whole.encodes(device),
    }
    return [run for kind in KINDS if kind in kinds for run in runs[kind]()]


def bench(function: timing.Function, milliseconds: int) -> tuple[float, float, float]:
    """The clock of a GPU, between whose readings caches are cleared."""
    from triton.testing import do_bench

    return tuple(do_bench(function, rep=milliseconds, quantiles=[0.5, 0.2, 0.8]))


def most_bytes(function: timing.Function) -> int:
    """The meter of a GPU."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def write(path: Path, static_part: dict[str, Any], times: dict[str, Any]) -> None:
    """The CSV at `path` and the JSON beside it: each whole, so that what was timed so far can be read at any time."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, timing.FIELDS)
        writer.writeheader()
        writer.writerows(times["rows"])
    write_json(path.with_suffix(".json"), {**static_part, "times": times})


def time_all(runs: list[timing.Run], path: Path, static_part: dict[str, Any], device: str, name: str) -> dict[str, Any]:
    """All rows, written as they come; with the device, the versions, and the limits that they are shares of."""
    found = peak(device)
    limits = timing.Limits(found["copied_bytes_per_second"], found["operations_per_second"])
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    times: dict[str, Any] = {"device": name, "versions": versions, "limits": found, "rows": []}
    for row in timing.rows(runs, device, bench, most_bytes, limits, name):
        times["rows"].append(row)
        write(path, static_part, times)
    return times


def gpu() -> str | None:
    """Its name; None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def check_paths(parser: argparse.ArgumentParser, options: argparse.Namespace, beside: Path) -> None:
    """Refuses names at which the times would replace another file of this run, or can't be written."""
    for option in ("csv", "json", "against"):
        given = getattr(options, option)
        if given is not None and given.resolve() == beside.resolve():
            parser.error(f"--{option} {given}: the times go there as JSON; name another file with --csv")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--csv: cannot write into {beside.parent}: {error.strerror}")


def say(console: Console, title: str, lines: list[str]) -> None:
    """Prints the lines under their title, if there are any."""
    if lines:
        console.print(title, *lines, sep="\n", soft_wrap=True)


def read(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    """The JSON that `--against` names."""
    hint = "it is a file that --json wrote, or the JSON beside a CSV"
    try:
        old = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        parser.error(f"--against {path}: {error}; {hint}")
    if not isinstance(old, dict) or not {"ops", "iterations", "kernels"} <= old.keys():
        parser.error(f"--against {path}: it has no ops, iterations and kernels; {hint}")
    return old


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=KINDS, help="time only these; may be repeated")
    parser.add_argument("--op", action="append", choices=list(traffic.BY_NAME), help="only this op; may be repeated")
    parser.add_argument("--csv", type=Path, help="where the times go (default: kernels/benchmarks/results/DEVICE.csv)")
    parser.add_argument("--plot", action="store_true", help="draw the CSV beside it, as SVG")
    parser.add_argument("--json", type=Path, help="write the static part (bytes, launches, registers) there")
    parser.add_argument("--against", type=Path, help="compare with this JSON; 1 where a number grew")
    parser.add_argument(
        "--tolerance", type=float, default=0.1, help="how much times and memory may grow (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if not options.tolerance >= 0:
        parser.error(f"--tolerance {options.tolerance}: a fraction, 0 or more")
    kinds = options.only or (["ops"] if options.op else KINDS)
    if options.op and "ops" not in kinds:
        parser.error(f"--op {options.op[0]} with --only {kinds[0]}: leave one of them out, or add --only ops")
    old = {} if options.against is None else read(parser, options.against)
    names, name = options.op or list(traffic.BY_NAME), gpu()
    path = options.csv or HERE / "results" / f"{name}.csv".replace(" ", "-")
    if name is None and options.plot and options.csv is None:
        parser.error("--plot without a GPU draws times measured elsewhere: name them with --csv PATH")
    if name is not None:
        check_paths(parser, options, path.with_suffix(".json"))
    if importlib.util.find_spec("triton") is None:
        parser.error("what kernels move is read from what Triton makes of them: pip install triton (Linux)")
    console = Console(width=max(Console().width, 100), markup=False)  # the tables' width: a figure must not be cut
    found = static.measure()
    console.print(tables.traffic_table(names), tables.iteration_table(), tables.kernel_table(found["kernels"]))
    if options.json is not None:
        write_json(options.json, found)
    before = old.pop("times", None)
    larger, times, failed, slower = list(static.worse(old, found)), None, [], []
    say(console, f"Worse than {options.against}:", larger)
    if name is None:
        console.print("No CUDA device: nothing was timed.")
    else:
        tests = subprocess.run(
            [sys.executable, "-m", "pytest", "-n0", str(HERE.parents[1] / "tests" / "kernels")], check=False
        )
        if tests.returncode:
            console.print("The tests of the kernels fail: nothing was timed.")
            return 1
        times = time_all(chosen(kinds, names, "cuda"), path, found, "cuda", name)
        failed = [f"{timing.name_of(row)}: {row['error']}" for row in times["rows"] if row["error"]]
        console.print(f"Wrote {len(times['rows'])} rows to {path}, and as JSON beside it.", soft_wrap=True)
    if before is not None and (times is None or times["device"] != before["device"]):
        console.print(f"Times were not compared: those of {options.against} are of {before['device']}.", soft_wrap=True)
    elif before is not None and times is not None:
        compared = sum(1 for _ in gate.pairs(before, times))
        console.print(f"{compared} of {len(times['rows'])} rows have a time in {options.against}.", soft_wrap=True)
        slower = list(gate.worse(before, times, options.tolerance))
    say(console, "Failed:", failed)
    say(console, f"Worse than {options.against}:", slower)
    code = 1 if larger or failed or slower else 0
    if options.plot:
        try:
            console.print(f"Drew {plot(path)}", soft_wrap=True)
        except (OSError, ValueError) as error:
            console.print(f"Cannot draw {path}: {error}", soft_wrap=True)
            return code or 2
    return code


if __name__ == "__main__":
    sys.exit(main())
