"""`lit-rnncomp bench PHOTO`: where the seconds of an encode and a decode go, and their memory, at 1 and 2 threads."""

import json as _json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Codec

STAGES = ("start-up", "network", "entropy coding", "files")


def bench(
    photo: str,
    model: str | None = None,
    bpp: float = 0.5,
    threads: list[int] | None = None,
    repeats: int = 3,
    paper: bool = True,
    json: bool = False,
) -> None:
    """Time the stages of `encode --bpp` and of `decode` on a picture: wall seconds, the fastest of some runs.

    Each thread count runs in a process of its own. "command" is the whole command in a fresh process, "start-up" what
    of it no other stage explains: Python, the libraries, the weights. "paper" is the network of the paper at width 1.0
    (residual GRU, untrained: time does not depend on the weights) for as many iterations; it needs torch.

    Args:
        photo: the picture.
        model: a checkpoint (.ckpt), a weights file (.safetensors) or the name of a shipped model.
        bpp: at most this many bits per pixel.
        threads: the numbers of threads; 1 and 2 when not given.
        repeats: runs of which the fastest counts.
        paper: time the paper's network too: some ten seconds an iteration.
        json: print the result as JSON.
    """
    from rich.console import Console

    if repeats < 1:
        raise ValueError(f"repeats={repeats} is below 1")
    if paper and find_spec("torch") is None:
        print("without torch the paper's network is not timed: pip install 'lit-rnncomp[train]'", file=sys.stderr)
        paper = False
    counts = threads or [1, 2]
    if min(counts) < 1:
        raise ValueError(f"threads={min(counts)} is below 1")
    rows = []
    with Console(stderr=True).status("timing ...") as status:
        for count in counts:
            status.update(f"timing at {count} threads ...")
            rows += _in_process(count, {"photo": photo, "model": model, "bpp": bpp, "repeats": repeats, "paper": paper})
    if json:
        print(_json.dumps(rows))
    else:
        _print(photo, rows)


def _in_process(threads: int, options: dict[str, Any]) -> list[dict[str, Any]]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", __name__, _json.dumps(options)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().split("\n")[-1].removeprefix("ValueError: "))
    rows: list[dict[str, Any]] = _json.loads(done.stdout.strip().split("\n")[-1])
    return [{"threads": threads, **row} for row in rows]


def _measure(photo: str, model: str | None, bpp: float, repeats: int, paper: bool) -> list[dict[str, Any]]:
    """One row for encode and one for decode; runs in a process of its own."""
    from . import container
    from .api import load

    codec = load(model)
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder) / "file.rnnc", Path(folder) / "picture.png"
        chosen = ["--model", model] if model else []
        runs = {
            "encode": (
                _command("encode", photo, str(coded), "--bpp", str(bpp), "-f", *chosen),
                lambda: _encode(codec, photo, bpp, coded),
            ),
            "decode": (
                _command("decode", str(coded), str(decoded), "-f", *chosen),
                lambda: _decode(codec, coded, decoded),
            ),
        }
        rows = []
        for verb, (command, stages) in runs.items():
            whole, memory = min(_run(command) for _ in range(repeats))
            parts = min((stages() for _ in range(repeats)), key=lambda seconds: sum(seconds.values()))
            rows.append(
                {"verb": verb, "command": whole, "start-up": whole - sum(parts.values()), **parts, "peak_mib": memory}
            )
        size = coded.stat().st_size
        iterations = len(container.parse(coded.read_bytes()).iterations)
    for row in rows:
        row |= {"bytes": size, "iterations": iterations}
    if paper:
        for row, seconds in zip(rows, _paper(photo, iterations), strict=True):
            row["paper_network"] = seconds
    return rows


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *arguments]


# A process in between: what a command is said to have held at most counts what its parent held when it was started.
_WATCHED = """
import json, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
seconds, peak = time.perf_counter() - start, 0
try:
    import resource
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
except ImportError:
    pass
print(json.dumps([seconds, peak / 1024, done.returncode, done.stderr]))
"""


def _run(command: list[str]) -> tuple[float, float]:
    """Wall seconds, and the largest resident memory of the command in MiB (0 where the system does not tell)."""
    watched = [sys.executable, "-I", "-S", "-c", _WATCHED, *command]
    said = subprocess.run(watched, capture_output=True, text=True, check=True).stdout
    seconds, peak, code, error = _json.loads(said)
    if code:
        raise ValueError(error.strip().removeprefix("lit-rnncomp: error: "))
    return seconds, peak


def _encode(codec: "Codec", photo: str, bpp: float, out: Path) -> dict[str, float]:
    """Seconds of the stages of `Codec.encode`."""
    from ..files import write_bytes
    from ..images import read_image
    from .pixels import as_pixels

    watch = _Watch()
    array = as_pixels(watch("files", lambda: read_image(photo)))
    data = _with_coder_timed(codec, watch, lambda: codec.encode(array, bpp=bpp))
    watch("files", lambda: write_bytes(out, data))
    return watch.seconds


def _decode(codec: "Codec", file: Path, out: Path) -> dict[str, float]:
    """Seconds of the stages of `Codec.decode`."""
    watch = _Watch()
    data = watch("files", file.read_bytes)
    image = _with_coder_timed(codec, watch, lambda: codec.decode(data))
    watch("files", lambda: image.save(out))
    return watch.seconds


def _with_coder_timed(codec: "Codec", watch: "_Watch", run: Callable[[], Any]) -> Any:
    """`run()`, its seconds divided into what the entropy coder spends and the rest, the network."""
    make = codec.coder
    watch.seconds["entropy coding"] = 0.0

    def timed(*layout: Any) -> Any:
        coder = make(*layout)
        for name in ("encode", "decode"):
            method = getattr(coder, name)
            setattr(
                coder,
                name,
                lambda *args, method=method, **named: watch("entropy coding", lambda: method(*args, **named)),
            )
        return coder

    codec.coder = timed  # type: ignore[method-assign, assignment]
    try:
        result = watch("network", run)
    finally:
        codec.coder = make  # type: ignore[method-assign]
    watch.seconds["network"] -= watch.seconds["entropy coding"]
    return result


def _paper(photo: str, iterations: int) -> tuple[float, float]:
    """Seconds that the paper's network takes for so many iterations to encode and to decode; one iteration is timed."""
    import torch

    from ..images import read_image
    from ..models.config import CodecConfig
    from ..models.recurrent_codec import RecurrentCodec
    from . import geometry
    from .pixels import as_pixels
    from .torch_engine import TorchEngine

    torch.manual_seed(0)
    engine = TorchEngine(RecurrentCodec(CodecConfig(unit="residual_gru", reconstruction="one_shot")))
    array, config = as_pixels(read_image(photo)), engine.config
    tiling = geometry.plan(array.shape[0], array.shape[1], config.code_stride, config.multiple)
    image = geometry.pixels(array, next(tiling.windows()), config.code_stride)
    watch = _Watch()
    codes, _ = watch("encode", lambda: next(engine.encode(image, 1)))
    watch("decode", lambda: next(engine.decode([codes])))
    share = array.size / image.size
    return watch.seconds["encode"] * iterations * share, watch.seconds["decode"] * iterations * share


class _Watch:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = run()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return result


def _print(photo: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    first = rows[0]
    heads = ("command", "start-up", "network", "coding", "files", "MiB")
    table = Table(
        "threads",
        "verb",
        *heads,
        title_justify="left",
        caption="Seconds; MiB at the peak; the paper's network at width 1.0.",
    )
    table.title = f"{photo}: {first['bytes']:,} bytes, {first['iterations']} iterations"
    if "paper_network" in first:
        table.add_column("paper")
    for row in rows:
        cells = [f"{row[name]:.2f}" for name in ("command", *STAGES)]
        extra = [f"{row['paper_network']:.1f}"] if "paper_network" in row else []
        table.add_row(str(row["threads"]), row["verb"], *cells, f"{row['peak_mib']:.0f}", *extra)
    for column in table.columns[2:]:
        column.justify = "right"
    Console(markup=False, emoji=False).print(table)


if __name__ == "__main__":
    print(_json.dumps(_measure(**_json.loads(sys.argv[1]))))
