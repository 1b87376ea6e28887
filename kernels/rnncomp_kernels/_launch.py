"""How an element-wise kernel meets its tensors: where kernels run, how a tensor is cut into tiles, how a launch is
made.

All tensors of an op hold a whole number of blocks of `C` channels (the gates). Seen as `rows` of `blocks * inner`
adjacent elements, both memory formats are one case: contiguous has `rows = B`, `inner = C * H * W`; channels last has
`rows = B * H * W`, `inner = C`. Element `e` of block `k` in row `r` lies at `(r * blocks + k) * inner + e`, so no
kernel divides by a tensor's size to find a gate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "DEVICE_TYPES",
    "MOST",
    "THREADS",
    "TILE",
    "WARPS",
    "Plane",
    "jit",
    "kernels_chosen",
    "launch",
    "needs_grad",
    "on_device",
    "tile_of",
    "tl",
    "use_kernels",
]

try:
    import triton
    import triton.language as tl
except ImportError:  # the reference is the path taken then
    triton = tl = None

# In Triton's interpreter kernels run on CPU tensors, so there the ops take the kernels' path on a CPU too: that is how
# they are tested.
INTERPRETED = triton is not None and os.environ.get("TRITON_INTERPRET") == "1"
DEVICE_TYPES = ("cpu", "cuda") if INTERPRETED else "cuda"

# Elements and threads of a program: 8 elements a thread, so that even two-byte elements move 16 bytes at a time.
# AMD's warps have 64 threads.
TILE = 1024
THREADS = 128
WARPS = THREADS // (64 if torch.version.hip else 32)
# Rows, columns and the first elements of blocks are 32-bit numbers in kernels, the last tile of them padded; only what
# they are multiplied into, the address, has 64 bits.
MOST = (1 << 31) - 1 - TILE


def jit(function: Callable) -> Any:
    """`triton.jit`, or the function itself where Triton is absent: the module still imports."""
    return function if triton is None else triton.jit(function)


_chosen: bool | None = None


def use_kernels(x: Tensor) -> bool:
    """Whether an op on `x` launches kernels; otherwise its public function calls the reference."""
    if _chosen is not None:
        return _chosen
    return triton is not None and (x.is_cuda or INTERPRETED)


@contextmanager
def kernels_chosen(chosen: bool = True) -> Iterator[None]:
    """The ops take the path of a GPU, wherever their tensors are: to count on tensors without data. Or, not `chosen`,
    the reference, on a GPU too: to time what kernels are compared with."""
    global _chosen
    before, _chosen = _chosen, chosen
    try:
        yield
    finally:
        _chosen = before


class Plane(NamedTuple):
    """`rows` and `inner` as in the module's docstring, and the memory format all tensors of the launch are brought
    to."""

    rows: int
    inner: int
    memory_format: torch.memory_format

    @classmethod
    def of(cls, x: Tensor, blocks: int) -> Plane:
        """The plane of `x`, `(B, blocks * C, H, W)`: channels last if that is how `x` lies in memory, else
        contiguous."""
        batch, channels, height, width = x.shape
        inner = channels // blocks
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            return cls(batch * height * width, inner, torch.channels_last)
        return cls(batch, inner * height * width, torch.contiguous_format)

    def dense(self, x: Tensor | None) -> Tensor | None:
        """`x` in this plane's memory format; copied only if it is not."""
        return None if x is None else x.contiguous(memory_format=self.memory_format)

    def empty(self, like: Tensor, channels: int) -> Tensor:
        """An uninitialised `(B, channels, H, W)` tensor of the type of `like`."""
        batch, _, height, width = like.shape
        return torch.empty(
            batch, channels, height, width, dtype=like.dtype, device=like.device, memory_format=self.memory_format
        )


def tile_of(inner: int) -> tuple[int, int]:
    """`(ROWS, COLS)` of a program's tile: `TILE` elements, as wide as the row allows."""
    columns = min(TILE, 1 << max(inner - 1, 0).bit_length())
    return TILE // columns, columns


def launch(kernel: Any, plane: Plane, *arguments: Any, **constants: Any) -> None:
    """Run `kernel(*arguments, rows, inner, **constants, ROWS, COLS)` once for each tile of `plane`; None becomes an
    unused pointer. Raises `ValueError` where a kernel's numbers of rows, or of elements in all blocks of one, wrap."""
    if plane.rows == 0 or plane.inner == 0:
        return
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    anchor, largest = tensors[0], max(tensors, key=Tensor.numel)
    if max(plane.rows, largest.numel() // plane.rows) > MOST:
        raise ValueError(
            f"a tensor of shape {tuple(largest.shape)} is too large for a kernel, which numbers at most {MOST} "
            f"elements of a picture (in channels last: pixels of a batch): cut pictures into tiles, or take fewer"
        )
    rows, columns = tile_of(plane.inner)
    grid = (-(-plane.inner // columns) * -(-plane.rows // rows),)
    pointers = (anchor if a is None else a for a in arguments)
    with on_device(anchor):
        kernel[grid](*pointers, plane.rows, plane.inner, **constants, ROWS=rows, COLS=columns, num_warps=WARPS)


def on_device(x: Tensor) -> Any:
    """Triton launches on the current device; make it that of `x`."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def needs_grad(*tensors: Tensor | None) -> bool:
    """Whether autograd will ask for a backward pass through an op on `tensors`."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
