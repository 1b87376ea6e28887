"""Where a rehearsal was: devices, driver, clocks, versions, commit."""

from __future__ import annotations

import csv
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_FIELDS = (
    *("index", "name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem"),
    *("power.limit", "temperature.gpu", "memory.total"),
)
_PACKAGES = ("lit-rnncomp", "torch", "triton", "lightning", "pytorch_optimizer", "numpy")


def machine() -> dict[str, Any]:
    """All of it; what is not there is null."""
    import torch

    from ..training.provenance import device_name, source_state

    commit, changes = source_state(Path(__file__).parents[1])
    return {
        "commit": commit,
        "changed": bool(changes),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "processor": device_name(torch.device("cpu")),
        "clocks": clocks(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def clocks() -> list[dict[str, str]] | None:
    """What `nvidia-smi` says of each device now, clocks in MHz among it, in its own words; None where there is none."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [dict(zip(_FIELDS, row, strict=True)) for row in rows]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
