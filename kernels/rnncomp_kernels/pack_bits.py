"""Codes as packed bits, for the codec: what leaves a GPU is 1 bit a code instead of 32.

Order: raster over positions, all `bits` channels of a position together, most significant bit first, zeros at the end of the last byte.
Forward reads 1 element a code and writes 1/8 byte; the inverse the other way about. Not differentiable.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import reference
from ._launch import DEVICE_TYPES, TILE, WARPS, jit, on_device, tl, use_kernels


@jit
def _place(size, positions, bits, BYTES: tl.constexpr):  # type: ignore[no-untyped-def]
    """This program's bytes `(BYTES,)` of one picture, and for each of their bits `(BYTES, 8)` its element's offset and mask."""
    byte = tl.program_id(0) * BYTES + tl.arange(0, BYTES)
    number = byte[:, None] * 8 + tl.arange(0, 8)[None, :]
    return byte, (number % bits) * positions + number // bits, number < size


@jit
def _pack_kernel(codes, packed, size, length, positions, bits, BYTES: tl.constexpr):  # type: ignore[no-untyped-def]
    byte, offset, mask = _place(size, positions, bits, BYTES)
    picture = tl.program_id(1).to(tl.int64)
    one = tl.load(codes + picture * size + offset, mask=mask, other=-1.0) >= 0
    value = tl.sum(one.to(tl.int32) << (7 - tl.arange(0, 8))[None, :], axis=1)
    tl.store(packed + picture * length + byte, value.to(tl.uint8), mask=byte < length)


@jit
def _unpack_kernel(packed, codes, size, length, positions, bits, BYTES: tl.constexpr):  # type: ignore[no-untyped-def]
    byte, offset, mask = _place(size, positions, bits, BYTES)
    picture = tl.program_id(1).to(tl.int64)
    value = tl.load(packed + picture * length + byte, mask=byte < length, other=0).to(tl.int32)
    one = (value[:, None] >> (7 - tl.arange(0, 8))[None, :]) & 1
    tl.store(codes + picture * size + offset, tl.where(one == 1, 1.0, -1.0), mask)


def _launch(kernel: object, source: Tensor, target: Tensor, codes: Tensor, packed: Tensor) -> None:
    batch, bits, height, width = codes.shape
    length = packed.shape[1]
    if batch and length:
        count = TILE // 8
        with on_device(codes):
            kernel[(-(-length // count), batch)](  # type: ignore[index]
                source, target, bits * height * width, length, height * width, bits, BYTES=count, num_warps=WARPS
            )


@torch.library.custom_op("rnncomp::pack_bits", mutates_args=(), device_types=DEVICE_TYPES)
def _pack(codes: Tensor) -> Tensor:
    batch, bits, height, width = codes.shape
    packed = codes.new_empty(batch, (bits * height * width + 7) // 8, dtype=torch.uint8)
    codes = codes.contiguous()
    _launch(_pack_kernel, codes, packed, codes, packed)
    return packed


@torch.library.custom_op("rnncomp::unpack_bits", mutates_args=(), device_types=DEVICE_TYPES)
def _unpack(packed: Tensor, bits: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    codes = packed.new_empty(len(packed), bits, height, width, dtype=dtype)
    packed = packed.contiguous()
    _launch(_unpack_kernel, packed, codes, codes, packed)
    return codes


@_pack.register_fake
def _(codes: Tensor) -> Tensor:
    batch, bits, height, width = codes.shape
    return codes.new_empty(batch, (bits * height * width + 7) // 8, dtype=torch.uint8)


@_unpack.register_fake
def _(packed: Tensor, bits: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    return packed.new_empty(packed.shape[0], bits, height, width, dtype=dtype)


def pack_bits(codes: Tensor) -> Tensor:
    """Signs as bits: uint8 `(B, ceil(bits * H * W / 8))` from `codes` `(B, bits, H, W)`.

    Zero and above is a 1, so pre-activations serve as well as codes. Raises `ValueError` unless `codes` has four dimensions.
    """
    if codes.ndim != 4:
        raise ValueError(f"pack_bits: codes has shape {tuple(codes.shape)}, expected (B, bits, H, W)")
    return _pack(codes) if use_kernels(codes) else reference.pack_bits(codes)


def unpack_bits(packed: Tensor, bits: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Codes in {-1, +1}, `(B, bits, height, width)` of type `dtype`, from what `pack_bits` made of them.

    Raises `ValueError` when `packed` is not uint8 `(B, ceil(bits * height * width / 8))`.
    """
    length = (bits * height * width + 7) // 8
    if packed.dtype != torch.uint8 or packed.ndim != 2 or packed.shape[1] != length:
        raise ValueError(f"unpack_bits: packed is {packed.dtype} of shape {tuple(packed.shape)}, expected uint8 (B, {length})")
    return _unpack(packed, bits, height, width, dtype) if use_kernels(packed) else reference.unpack_bits(packed, bits, height, width, dtype)
