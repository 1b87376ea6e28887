"""Validation at the public edge: one line that names the op, the tensor and what was expected."""

from __future__ import annotations

from torch import Tensor


def gates_of(op: str, gates: Tensor, blocks: int) -> tuple[int, int, int, int]:
    """`(B, C, H, W)` for `gates` `(B, blocks * C, H, W)`; raises `ValueError` when it is not that."""
    if gates.ndim != 4 or gates.shape[1] % blocks:
        raise ValueError(f"{op}: gates has shape {tuple(gates.shape)}, expected (B, {blocks} * C, H, W)")
    batch, channels, height, width = gates.shape
    return batch, channels // blocks, height, width


def matches(op: str, name: str, x: Tensor | None, like: Tensor, channels: int) -> None:
    """Raises `ValueError` unless `x` is None or `(B, channels, H, W)` beside `like`, with its dtype and device."""
    if x is None:
        return
    expected = (like.shape[0], channels, *like.shape[2:])
    if tuple(x.shape) != expected:
        raise ValueError(f"{op}: {name} has shape {tuple(x.shape)}, expected {expected}")
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(f"{op}: {name} is {x.dtype} on {x.device}, expected {like.dtype} on {like.device}")


def together(op: str, **tensors: Tensor | None) -> None:
    """Raises `ValueError` unless all of `tensors` are given, or none."""
    missing = [name for name, x in tensors.items() if x is None]
    if missing and len(missing) < len(tensors):
        raise ValueError(f"{op}: {', '.join(missing)} missing; {', '.join(tensors)} are given together or not at all")
