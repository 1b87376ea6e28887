"""What the device reaches at best, measured: nothing here is a manufacturer's number."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from .machine import clocks

_SECONDS = 0.5


def peak(device: str) -> dict[str, Any]:
    """Operations a second of a large matrix product by type, a multiply-add being two, and bytes a second of a copy,
    read and written; and the clocks at once after.

    float32 is as convolutions have it: on a GPU in TF32, where PyTorch's default lets them.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    side, size = (8192, 1 << 30) if device == "cuda" else (512, 1 << 25)
    operations = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        name = str(dtype).removeprefix("torch.")
        operations[name] = 2 * side**3 / _seconds(lambda a=a, b=b: a @ b, device)  # type: ignore[misc]
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copied = 2 * size / _seconds(lambda: target.copy_(source), device)
    return {"operations_per_second": operations, "copied_bytes_per_second": copied, "clocks": clocks()}


def _seconds(run: Callable[[], Any], device: str) -> float:
    """The shortest of the times that fit in half a second, after one that is not counted."""
    times: list[float] = []
    run()
    end = time.perf_counter() + _SECONDS
    while not times or time.perf_counter() < end:
        start = _now(device)
        run()
        times.append(_now(device) - start)
    return min(times)


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
