"""Picture files written by hand, byte by byte, in the layouts that no library writes."""

from __future__ import annotations

import lzma
import struct
import zlib

import numpy as np


def chunk(kind: bytes, body: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    rows: np.ndarray, depth: int, colour: int, *extra: bytes, trns: bytes | None = None, after: bytes = b""
) -> bytes:
    """`rows`: `(height, values)`, the samples of each row; `extra`: chunks before the pixels, `after`: behind them."""
    height, channels = len(rows), {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    width = rows.shape[1] // channels
    lines = b"".join(b"\0" + packed(row, depth, ">") for row in rows)
    transparent = b"" if trns is None else chunk(b"tRNS", trns)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + b"".join(extra)
        + transparent
        + chunk(b"IDAT", zlib.compress(lines))
        + after
        + chunk(b"IEND", b"")
    )


def packed(values: np.ndarray, bits: int, order: str) -> bytes:
    """Samples one after the other, filled up to a whole byte."""
    if bits in (8, 16, 32):
        return np.asarray(values).astype(f"{order}u{bits // 8}").tobytes()
    text = "".join(f"{int(value):0{bits}b}" for value in values)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    planar: bool = False,
    fill_order: int = 1,
    compression: int = 1,
    predictor: int = 1,
    rows_per_strip: int | None = None,
    tile: tuple[int, int] | None = None,
    big: bool = False,
    extra: dict[int, tuple[int, ...]] | None = None,
    raw: dict[int, tuple[int, int, bytes]] | None = None,
) -> bytes:
    """`samples`: `(height, width, samples of a pixel)`; `tile`: height, width; `extra`: more tags, of integers; `raw`:
    more entries as type, count, value."""
    height, width, each = samples.shape
    values = np.asarray(samples).astype(np.uint64)
    down, across = tile or (rows_per_strip or height, width)
    pieces = []
    for plane in range(each) if planar else [slice(None)]:
        part = values[..., plane].reshape(height, width, -1)
        for top in range(0, height, down):
            for left in range(0, width, across):
                piece = part[top : top + down, left : left + across]
                if tile:
                    piece = np.pad(piece, ((0, down - piece.shape[0]), (0, across - piece.shape[1]), (0, 0)))
                if predictor == 2:
                    first = np.zeros_like(piece[:, :1])
                    piece = np.diff(piece.astype(np.int64), axis=1, prepend=first.astype(np.int64)) % (1 << bits)
                data = b"".join(packed(row.ravel(), bits, order) for row in piece)
                data = {1: bytes, 8: zlib.compress, 32773: pack_bits, 5: lzw, 34925: lzma.compress}[compression](data)
                if fill_order == 2:
                    data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
                pieces.append(data)
    start = 16 if big else 8
    offsets = [start + sum(len(piece) + len(piece) % 2 for piece in pieces[:k]) for k in range(len(pieces))]
    body = b"".join(piece + bytes(len(piece) % 2) for piece in pieces)
    tags: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: (bits,) * each,
        259: (compression,),
        262: (photometric,),
        266: (fill_order,),
        277: (each,),
        284: (2 if planar else 1,),
        317: (predictor,),
    }
    counts = tuple(map(len, pieces))
    if tile:
        tags |= {322: (across,), 323: (down,), 324: tuple(offsets), 325: counts}
    else:
        tags |= {273: tuple(offsets), 278: (down,), 279: counts}
    tags |= extra or {}
    shorts = {258, 262, 266, 277, 284, 317, 320, 330, 332, 338, 339, 274, 530}
    entries = {tag: (3 if tag in shorts else 4, len(said), said) for tag, said in tags.items() if said}
    coded = {
        tag: (kind, count, struct.pack(f"{order}{count}{'H' if kind == 3 else 'I'}", *said))
        for tag, (kind, count, said) in entries.items()
    }
    coded |= raw or {}
    word, inline, one = ("Q", 8, f"{order}HHQ") if big else ("I", 4, f"{order}HHI")
    directory = struct.pack(f"{order}{'Q' if big else 'H'}", len(coded))
    at = start + len(body)
    beyond = at + len(directory) + len(coded) * (struct.calcsize(one) + inline) + inline
    tail = b""
    for tag in sorted(coded):
        kind, count, value = coded[tag]
        if len(value) <= inline:
            where = value.ljust(inline, b"\0")
        else:
            where = struct.pack(f"{order}{word}", beyond + len(tail))
            tail += value + bytes(len(value) % 2)
        directory += struct.pack(one, tag, kind, count) + where
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, at) if big else struct.pack(f"{order}HI", 42, at)
    return mark + head + body + directory + bytes(inline) + tail


def pack_bits(data: bytes) -> bytes:
    """Literal runs only, and one repeated one where the data begin with a run."""
    out = b""
    for at in range(0, len(data), 128):
        part = data[at : at + 128]
        run = len(part) > 1 and len(set(part)) == 1
        out += bytes([257 - len(part)]) + part[:1] if run else bytes([len(part) - 1]) + part
    return out


def lzw(data: bytes) -> bytes:
    """TIFF's, with the table cleared before codes grow beyond nine bits."""
    codes = [256]
    for at in range(0, len(data), 200):
        codes += [*data[at : at + 200], 256]
    return packed(np.array([*codes, 257]), 9, ">")


def exif(*entries: bytes, order: str = "<", beyond: bytes = b"") -> bytes:
    """An Exif block with a directory of `entries`, 12 bytes each; `beyond` follows it."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}I", 8)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4) + beyond


def segment(marker: int, body: bytes) -> bytes:
    """Of a JPEG file."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def tga(
    pixels: bytes, width: int, height: int, depth: int, kind: int, attributes: int, area: int | None = None
) -> bytes:
    """From the top down; `area`: what an extension area says of alpha."""
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, width, height, depth, 0x20 | attributes)
    if area is None:
        return head + pixels
    extension = struct.pack("<H", 495) + bytes(492) + bytes([area])
    return head + pixels + extension + struct.pack("<II", len(head + pixels), 0) + b"TRUEVISION-XFILE.\0"


def bits_of_gif(indices: np.ndarray) -> bytes:
    """Indices below 4 as GIF stores them, with the table cleared before each."""
    codes = [code for index in indices.ravel() for code in (4, int(index))] + [5]
    bits = "".join(f"{code:03b}"[::-1] for code in codes)
    data = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    blocks = (data[at : at + 255] for at in range(0, len(data), 255))
    return b"\2" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
