"""How long the entropy stage takes: front by front, and position by position.

    python -m lit_rnncomp.codec.benchmark_entropy
    python -m lit_rnncomp.codec.benchmark_entropy --model entropy.safetensors --json

The codes are drawn from the model itself, so they compress as codes of photographs would under a model that fits them.
Each figure is processor seconds (with OMP_NUM_THREADS=1: seconds of one core that does nothing else), the fastest of
`repeats` runs. "fronts" is the network alone, without the range coder; "single" the same code, one position at a time;
"line" one position at a time where a decoder must, while what depends on earlier iterations alone is still computed for
whole pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import entropy_weights
from .container import PLAIN
from .entropy import EntropyCoder
from .entropy_network import Context
from .entropy_schedule import fronts, raster

Schedule = Callable[[int, int], Iterable[slice]]


def main(arguments: list[str] | None = None) -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--model", help="safetensors or checkpoint of an entropy model; without it, untrained models of several sizes"
    )
    parser.add_argument("--rows", type=int, default=64, help="rows of positions: 64 for 512 pixels at stride 8")
    parser.add_argument("--columns", type=int, default=96, help="columns of positions: 96 for 768 pixels at stride 8")
    parser.add_argument("--iterations", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    coders = (
        {options.model: entropy_weights.load(options.model)} if options.model else dict(untrained(options.iterations))
    )
    size = (options.iterations, options.rows, options.columns)
    results = [{"model": name, **measure(coder, *size, options.repeats)} for name, coder in coders.items()]
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "threads": threads}
        print(json.dumps({**machine, "rows": options.rows, "columns": options.columns, "results": results}, indent=1))
        return
    print(f"{options.rows}x{options.columns} positions, {options.iterations} iterations, {threads} threads")
    names = ("encode s", "decode s", "fronts s", "line s", "single s")
    print(f"{'model':24} {'bytes':>8} {'bits/bit':>8} " + " ".join(f"{name:>9}" for name in names) + "  ratio")
    for row in results:
        print(
            f"{row['model']:24} {row['model_bytes']:8} {row['bits_per_bit']:8.3f} {row['encode_s']:9.3f} "
            f"{row['decode_s']:9.3f} "
            f"{row['fronts_s']:9.3f} {row['line_s']:9.3f} {row['single_s']:9.3f} "
            f"{row['single_s'] / row['fronts_s']:6.1f}"
        )


def untrained(iterations: int, bits: int = 8) -> Iterator[tuple[str, EntropyCoder]]:
    """Models of the shapes worth comparing, with random weights: time does not depend on what they learnt."""
    import torch

    from ..models.binary_rnn import BinaryRNN, BinaryRNNConfig

    for line in ("conv", "lstm"):
        for width in (32, 48, 64):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = BinaryRNN(BinaryRNNConfig(bits=bits, iterations=iterations, width=width, line=line))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(2.5)
            yield f"{line} {width}", EntropyCoder.from_model(model)


def measure(coder: EntropyCoder, iterations: int, rows: int, columns: int, repeats: int) -> dict[str, Any]:
    """Processor seconds to encode and to decode, and of the probabilities alone by fronts and by single positions (one
    repeat)."""
    codes = sample(coder, iterations, rows, columns)
    chunks = coder.encode(codes)
    if (coder.decode(chunks, rows, columns) != codes).any():
        raise AssertionError("what was decoded is not what was encoded: no figures")
    return {
        "model_bytes": sum(tensor.nbytes for tensor in coder.tensors.values()),
        "bits_per_bit": sum(8 * len(chunk.payload) for chunk in chunks) / codes.size,
        "raw_chunks": sum(chunk.kind == PLAIN for chunk in chunks),
        "encode_s": fastest(lambda: coder.encode(codes), repeats),
        "decode_s": fastest(lambda: coder.decode(chunks, rows, columns), repeats),
        "fronts_s": fastest(lambda: probabilities(coder, codes, fronts), repeats),
        "line_s": fastest(lambda: probabilities(coder, codes, raster), 1),
        "single_s": fastest(lambda: probabilities(coder, codes, raster, band=1), 1),
    }


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Processor seconds of the fastest run."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def probabilities(coder: EntropyCoder, codes: NDArray[np.int8], schedule: Schedule, band: int = 384) -> None:
    """All probabilities of `codes` as a decoder computes them, without the range decoder."""
    context = Context(coder.network, codes.shape[2], codes.shape[3], band)
    for index, iteration in enumerate(codes):
        if index:
            context.advance()
        context.put_all(iteration.transpose(1, 2, 0))
        for group in schedule(*codes.shape[2:]):
            context.probabilities(group)


def sample(coder: EntropyCoder, iterations: int, rows: int, columns: int, seed: int = 0) -> NDArray[np.int8]:
    """Codes `(iterations, bits, rows, columns)` drawn from the model's own distribution."""
    random = np.random.default_rng(seed)
    context, codes = Context(coder.network, rows, columns), []
    for index in range(iterations):
        if index:
            context.advance()
        for front in fronts(rows, columns):
            positive = context.probabilities(front)
            context.put(front, np.where(random.random(positive.shape) * 65536 < positive, 1, -1))
        codes.append(context.codes().transpose(2, 0, 1))
    return np.stack(codes)


if __name__ == "__main__":
    main()
