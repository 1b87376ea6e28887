"""`python -m lit_rnncomp.training.benchmark`: memory and time of a training step, by option or by network."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch

from . import compressors

NETWORKS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "associative LSTM": {"variant": "AssociativeLSTMCompressor"},
    "GRU": {"variant": "GRUCompressor"},
    "residual GRU": {"variant": "ResidualGRUCompressor"},
    "LSTM of 2016": {
        "layers": "toderici2016",
        "reconstruction": "one_shot",
        "code_stride": 4,
        "bits": 2,
        "output": "tanh",
    },
}
CASES: dict[str, dict[str, Any]] = {
    "all activations kept": {},
    "recompute": {"recompute": True},
    "truncate 4": {"truncate": 4},
    "truncate 1": {"truncate": 1},
    "recompute, truncate 4": {"recompute": True, "truncate": 4},
}


def benchmark(
    width: float = 0.25,
    batch: int = 8,
    patch: int = 32,
    iterations: int = 16,
    steps: int = 3,
    networks: bool = False,
) -> None:
    """Prints, for each option, the peak memory of a step of an additive LSTM above what the weights and the interpreter
    take, and its time: seconds of the process on one core, the median, so that other work on the machine matters less.
    Linux only.

    Args:
        width: of the network; 1 is the paper's.
        batch: patches a step.
        patch: pixels a side.
        iterations: iterations unrolled.
        steps: steps to time, after one that is not.
        networks: instead of options, for each unit, additive, and for the paper's baseline.
    """
    size = dict(width=width, batch=batch, patch=patch, iterations=iterations)
    print(
        ", ".join(f"{name} {value}" for name, value in size.items())
        + f"; one thread of {platform.machine()}, torch {torch.__version__}"
    )
    print(f"| {'network' if networks else 'option'} | peak memory, MB | seconds a step |\n|---|---|---|")
    for name, options in (NETWORKS if networks else CASES).items():
        # A process each: a peak does not come down again.
        with multiprocessing.get_context("fork").Pool(1) as pool:
            memory, seconds = pool.apply(measure, [options, width, batch, patch, iterations, steps])
        print(f"| {name} | {memory / 1e6:.0f} | {seconds:.2f} |", flush=True)


def measure(
    options: dict[str, Any], width: float, batch: int, patch: int, iterations: int, steps: int
) -> tuple[int, float]:
    """Peak bytes and median seconds of a training step; `variant` of the options names the module, `LSTMCompressor`
    where it is missing."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind = getattr(compressors, options.pop("variant", "LSTMCompressor"))
    module = kind(width=width, iterations=iterations, **options).train()
    module.trainer = L.Trainer(
        max_steps=1, logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False
    )
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]
    image = torch.rand(batch, 3, patch, patch) * 2 - 1
    before, times = _status("VmRSS"), []
    for _ in range(1 + steps):
        module.zero_grad()
        start = time.process_time()
        module.training_step(image, 0).backward()
        times.append(time.process_time() - start)
    gradients = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    return _status("VmHWM") - before - gradients, median(times[1:])


def _status(name: str) -> int:
    """A size in bytes from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    import logging

    from jsonargparse import auto_cli

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    auto_cli(benchmark)
