"""TIFF's samples of any depth to 16 bits, and 32, in strips or tiles, planes, pixels or blocks of subsampled colours:
what Pillow reads of 8 bits."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .ifd import Directory
from .limit import check_size
from .tiff_layout import Layout, Photometric
from .tiff_ycbcr import YCbCr, interpolate, pixels_of, read_ycbcr, to_rgb

_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA = 1, 5, 8, 32946, 32773, 34925
OWN = (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS, _LZMA)
"""Compressions that keep samples as they are."""

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_AT_ONCE = 1 << 20


def from_samples(directory: Directory, layout: Layout) -> Image.Image:
    """The picture in one of Pillow's modes of 8-bit channels. Raises `ValueError`."""
    if not (1 <= layout.bits <= 16 or layout.bits == 32):
        raise ValueError(f"its samples have {layout.bits} bits; convert the picture first")
    if layout.predictor not in (1, 2) or (layout.predictor == 2 and layout.bits not in (8, 16, 32)):
        raise ValueError(f"its predictor {layout.predictor} for {layout.bits} bits has no rule")
    ycbcr = read_ycbcr(directory, layout.bits) if layout.photometric == Photometric.YCBCR else None
    if ycbcr is not None and ycbcr.subsampled:
        _check_subsampled(directory, layout)
    samples = _read(directory, layout, ycbcr)
    if ycbcr is not None and ycbcr.subsampled and ycbcr.cosited:
        interpolate(samples, ycbcr)
    if layout.bits == 32 and 0 < samples.max(initial=0) < 1 << 24:
        raise ValueError(
            f"its 32-bit samples are at most {samples.max()}, so that their range is unknown; convert the picture first"
        )
    if layout.photometric == Photometric.PALETTE:
        colours = _looked_up(directory, layout, samples[..., 0])
    elif ycbcr is not None and not ycbcr.is_jpegs(layout.bits):
        colours = to_rgb(samples[..., : layout.channels], ycbcr)
        layout = layout._replace(photometric=Photometric.RGB)
    else:
        colours = _eight_bits(samples[..., : layout.channels], layout.bits)
    if layout.photometric == Photometric.WHITE_IS_ZERO:
        colours = 255 - colours
    alpha = None if layout.alpha is None else _eight_bits(samples[..., layout.alpha], layout.bits)
    return _image(directory, layout, np.ascontiguousarray(colours), alpha)


def _image(
    directory: Directory, layout: Layout, colours: NDArray[np.uint8], alpha: NDArray[np.uint8] | None
) -> Image.Image:
    if layout.photometric == Photometric.YCBCR:
        image = Image.frombytes("YCbCr", (layout.width, layout.height), colours.tobytes()).convert("RGB")
    elif layout.photometric in (Photometric.LAB, Photometric.ICCLAB):
        if layout.bits not in (8, 16):
            raise ValueError(f"its L*a*b* colours have {layout.bits} bits; convert the picture first")
        if layout.photometric == Photometric.ICCLAB:
            colours = colours ^ np.array([0, 128, 128], np.uint8)  # a and b from 0 on, where TIFF's own are signed
        image = Image.frombytes("LAB", (layout.width, layout.height), colours.tobytes())
    elif layout.photometric == Photometric.CMYK:
        image = Image.frombytes("CMYK", (layout.width, layout.height), colours.tobytes())
    else:
        image = Image.fromarray(colours[..., 0] if colours.shape[2] == 1 else colours)
    if alpha is None:
        return image
    if image.mode in ("CMYK", "LAB"):
        raise ValueError(f"its {image.mode} colours have an alpha channel; convert the picture first")
    if layout.premultiplied:
        parts = np.asarray(image.convert("RGB")).astype(np.int32)
        full = np.maximum(alpha, 1)[..., None].astype(np.int32)
        image = Image.fromarray(np.minimum((parts * 255 + full // 2) // full, 255).astype(np.uint8)).convert(image.mode)
    image.putalpha(Image.fromarray(alpha))
    return image


def _check_subsampled(directory: Directory, layout: Layout) -> None:
    """Raises `ValueError` for subsampled colours in a layout of which TIFF says nothing."""
    if layout.bits not in (8, 16) or layout.planar or layout.samples != 3 or layout.predictor != 1:
        raise ValueError(
            f"its subsampled YCbCr colours of {layout.samples} samples of {layout.bits} bits, planar configuration "
            f"{1 + layout.planar} and predictor {layout.predictor} have no rule; convert the picture first"
        )


def _eight_bits(samples: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """On the 0..255 scale: the high byte, or all of a shorter range."""
    if bits >= 8:
        return (samples >> (bits - 8)).astype(np.uint8)
    top = (1 << bits) - 1
    return ((samples.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8)


def _looked_up(directory: Directory, layout: Layout, indices: NDArray[Any]) -> NDArray[np.uint8]:
    values = np.array(directory.integers(320), np.int64)
    if layout.bits > 16 or len(values) != 3 << layout.bits:
        raise ValueError(f"its colour map has {len(values)} values, not three for each of {layout.bits} bits")
    # As libtiff does: some programs write 8-bit values.
    table = (values >> 8 if values.max() > 255 else values).astype(np.uint8).reshape(3, -1)
    return np.stack([channel[indices] for channel in table], axis=-1)


def _read(directory: Directory, layout: Layout, ycbcr: YCbCr | None) -> NDArray[Any]:
    """`(height, width, samples)` unsigned."""
    width, height, each = layout.width, layout.height, 1 if layout.planar else layout.samples
    if layout.tiles:
        across, down = (directory.integers(tag)[:1] or (0,) for tag in (322, 323))
        wide, tall = across[0], down[0]
    else:
        wide, tall = width, min((directory.integers(278) or (height,))[0], height)
    if not 0 < wide <= 1 << 24 or not 0 < tall <= 1 << 24:
        raise ValueError(f"it claims strips or tiles of {wide}x{tall} pixels")
    check_size(wide * tall * layout.weight)
    offsets = directory.integers(324 if layout.tiles else 273)
    counts = directory.integers(325 if layout.tiles else 279)
    values, unit = wide * each, 1
    if ycbcr is not None and ycbcr.subsampled:  # a row of data units stands for some rows of pixels
        values, unit = -(-wide // ycbcr.across) * (ycbcr.across * ycbcr.down + 2), ycbcr.down
        cut = wide % ycbcr.across or tall % unit if layout.tiles else tall % unit and tall < height
        if cut:
            raise ValueError(f"its strips or tiles of {wide}x{tall} pixels end amid a sample of its YCbCr colours")
    row_bytes = -(-values * layout.bits // 8)
    columns, rows = -(-width // wide), -(-height // tall)
    planes = layout.samples if layout.planar else 1
    if not counts and layout.compression == _NONE:
        counts = (row_bytes * -(-tall // unit),) * len(offsets)
    if len(offsets) < planes * rows * columns or len(counts) < planes * rows * columns:
        raise ValueError(f"it lists {len(offsets)} strips or tiles of {planes * rows * columns}")
    dtype = np.uint32 if layout.bits == 32 else np.uint16 if layout.bits > 8 else np.uint8
    picture = np.empty((height, width, layout.samples), dtype)
    for index in range(planes * rows * columns):
        plane, place = divmod(index, rows * columns)
        top, left = place // columns * tall, place % columns * wide
        lines = tall if layout.tiles else min(tall, height - top)
        stored = directory.data[offsets[index] : offsets[index] + counts[index]]
        if layout.fill_order == 2:
            stored = stored.translate(_REVERSED)
        if ycbcr is not None and ycbcr.assumed:
            _check_assumed(stored, layout, wide, lines)
        units = -(-lines // unit)
        raw = _decompress(stored, layout.compression, row_bytes, units)
        if len(raw) < row_bytes * units:
            raise ValueError("the file is cut: a strip or tile of it is shorter than its pixels")
        block = _unpack(raw[: row_bytes * units], units, values, layout.bits, directory.order, dtype)
        if ycbcr is not None and ycbcr.subsampled:
            block = pixels_of(block, ycbcr)
        else:
            block = block.reshape(lines, wide, each)
        if layout.predictor == 2:
            block = np.cumsum(block, axis=1, dtype=dtype)
        bottom, right = min(top + lines, height), min(left + wide, width)
        channels = slice(plane, plane + 1) if layout.planar else slice(None)
        picture[top:bottom, left:right, channels] = block[: bottom - top, : right - left]
    return picture


def _check_assumed(stored: bytes, layout: Layout, wide: int, lines: int) -> None:
    """Raises `ValueError` for a strip or tile that holds all samples of chroma, where the file says nothing of it."""
    row_bytes = wide * 3 * layout.bits // 8
    with suppress(OSError):
        if len(_decompress(stored, layout.compression, row_bytes, lines)) >= row_bytes * lines:
            raise ValueError("it does not say how its YCbCr colours are subsampled; convert the picture first")


def _unpack(raw: bytes, rows: int, columns: int, bits: int, order: str, dtype: Any) -> NDArray[Any]:
    """`(rows, columns)` of rows that begin at whole bytes; samples of other than whole bytes run from high bits to low
    ones whatever the order of bytes."""
    if bits in (8, 16, 32):
        return np.frombuffer(raw, f"{order}u{bits // 8}").reshape(rows, columns).astype(dtype)
    lines = np.frombuffer(raw, np.uint8).reshape(rows, -1)
    out = np.empty((rows, columns), dtype)
    # Bits take eight times their bytes: some rows at a time.
    step = max(1, _AT_ONCE // (columns * bits))
    for top in range(0, rows, step):
        spread = np.unpackbits(lines[top : top + step], axis=1)[:, : columns * bits]
        spread = spread.reshape(len(spread), columns, bits)
        value = np.zeros(spread.shape[:2], dtype)
        for place in range(bits):
            value = (value << 1) | spread[..., place]
        out[top : top + step] = value
    return out


def _decompress(data: bytes, compression: int, row_bytes: int, rows: int) -> bytes:
    if compression == _NONE:
        return data
    if compression in (_DEFLATE, _OLD_DEFLATE):
        return zlib.decompressobj().decompress(data, row_bytes * rows)
    # LZW, PackBits and LZMA: libtiff unpacks them, of a grey picture that is as many bytes wide.
    tags = [(256, row_bytes), (257, rows), (258, 8), (259, compression), (262, 1)]
    tags += [(273, 8), (277, 1), (278, rows), (279, len(data))]
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = struct.pack("<4sI", b"II*\0", 8 + len(data) + len(data) % 2)
    file = head + data + bytes(len(data) % 2) + struct.pack("<H", len(tags)) + listed + bytes(4)
    with Image.open(io.BytesIO(file), formats=["TIFF"]) as image:
        return image.tobytes()
