"""Implicit-GEMM convolution: a tile of output positions times a block of channels, whose gates lie side by side in the
accumulator.

Tensors are channels last. A program owns `BM` positions and `BN` channels; its accumulator is `(BM, 4 * BN)`, column `4
c + g` being gate g of channel c, so the gate update is an epilogue on registers and the gates never reach memory. No
im2col: each tap of the kernel is one gather of rows of `x`, zeros outside the picture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._launch import MOST, jit, tl

# Positions and channels of a tile. Small enough for two programs a multiprocessor, and multiples of the tensor cores'
# 16.
BM, BN = 64, 32
# Its depth, warps and stages of the pipeline: on tensor cores, and for float32 multiplied in full, without them. There
# threads hold operands beside the accumulator: half the depth, twice the threads and nothing loaded ahead keep that
# within 128 registers a thread, where the other tile takes all 255 and spills (`tests/kernels/registers.json`).
TENSOR_CORES, FULL_FLOAT32 = (32, 4, 2), (16, 8, 1)


class Geometry(NamedTuple):
    """Sizes of one convolution: what goes in, `(batch, in_channels, height, width)`, and the height and width of what
    comes out."""

    batch: int
    in_channels: int
    height: int
    width: int
    out_height: int
    out_width: int

    @classmethod
    def of(cls, x: Tensor, stride: int) -> Geometry:
        """For an odd kernel with `(kernel - 1) / 2` zeros around the picture: each side shrinks by `stride`, rounding
        up."""
        batch, channels, height, width = x.shape
        return cls(batch, channels, height, width, (height + stride - 1) // stride, (width + stride - 1) // stride)

    def fits(self) -> bool:
        """Whether every pixel of the batch has a number of 32 bits, as the kernels count them."""
        return self.batch * self.height * self.width <= MOST


@jit
def positions(count, out_height, out_width, BM: tl.constexpr):  # type: ignore[no-untyped-def]
    """This program's flat output positions `(BM,)` in 64 bits, their picture, row and column, and which of them
    exist."""
    flat = tl.program_id(0) * BM + tl.arange(0, BM)
    column = flat % out_width
    row = (flat // out_width) % out_height
    return flat.to(tl.int64), flat // (out_width * out_height), row, column, flat < count


@jit
def convolve(  # type: ignore[no-untyped-def]
    acc, x, weight, picture, top, left, exists, filters, filter_exists, depth, height, width,
    KERNEL: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """`acc` plus the convolution whose receptive fields begin at (`top`, `left`); `filters`: the row of `weight` for
    each column."""
    for tap in range(KERNEL * KERNEL):
        y = top + tap // KERNEL
        across = left + tap % KERNEL
        inside = exists & (y >= 0) & (y < height) & (across >= 0) & (across < width)
        pixel = ((picture * height + y) * width + across).to(tl.int64) * depth
        taps = (filters * (KERNEL * KERNEL) + tap) * depth
        for start in range(0, depth, BK):
            k = start + tl.arange(0, BK)
            a = tl.load(x + pixel[:, None] + k[None, :], mask=inside[:, None] & (k < depth)[None, :], other=0.0)
            b = tl.load(
                weight + taps[None, :] + k[:, None], mask=filter_exists[None, :] & (k < depth)[:, None], other=0.0
            )
            acc = tl.dot(a, b, acc, input_precision=PRECISION)
    return acc


@jit
def four_gates(acc, BM: tl.constexpr, BN: tl.constexpr):  # type: ignore[no-untyped-def]
    """The accumulator's four gates, `(BM, BN)` each."""
    even, odd = tl.split(tl.reshape(acc, (BM, BN, 2, 2)))
    g0, g2 = tl.split(even)
    g1, g3 = tl.split(odd)
    return g0, g1, g2, g3


def precision() -> str:
    """How float32 is multiplied: as cuDNN would, so that fused and unfused agree.

    Since torch 2.9 convolutions have a setting of their own, and `allow_tf32` raises where RNNs have another.
    """
    convolution = getattr(torch.backends.cudnn, "conv", None)
    if convolution is None:
        return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
    return "tf32" if convolution.fp32_precision == "tf32" else "ieee"


def constants(dtype: torch.dtype) -> dict[str, Any]:
    """What every kernel of a convolution of `dtype` is launched with."""
    multiply = precision()
    full = dtype == torch.float32 and multiply == "ieee"
    depth, warps, stages = FULL_FLOAT32 if full else TENSOR_CORES
    return {"PRECISION": multiply, "BM": BM, "BN": BN, "BK": depth, "num_warps": warps, "num_stages": stages}


def last(x: Tensor | None) -> Tensor | None:
    """Channels last, copied only if it is not."""
    return None if x is None else x.contiguous(memory_format=torch.channels_last)


def empty_last(like: Tensor, channels: int, g: Geometry) -> Tensor:
    """An uninitialised channels-last `(B, channels, out_height, out_width)` of the type of `like`."""
    size = (g.batch, channels, g.out_height, g.out_width)
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
