"""Picture files byte by byte, in kinds that no library here writes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def packed(rows: np.ndarray, bits: int, order: str) -> bytes:
    """Whole samples `(rows, n)` of 1 to 32 bits, each row in whole bytes."""
    if bits in (8, 16, 32):
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    parts = []
    for row in rows:
        digits = "".join(format(int(sample), f"0{bits}b") for sample in row)
        digits += "0" * (-len(digits) % 8)
        parts.append(bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8)))
    return b"".join(parts)


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    order: str = "<",
    planes: bool = False,
    deflate: bool = False,
    tags: Mapping[int, Sequence[int]] | None = None,
) -> io.BytesIO:
    """A TIFF of samples `(h, w, n)`; `tags` are of 16-bit numbers."""
    height, width, count = samples.shape
    parts = [samples[..., c] for c in range(count)] if planes else [samples.reshape(height, -1)]
    strips = [packed(part, bits, order) for part in parts]
    if deflate:
        strips = [zlib.compress(strip) for strip in strips]
    starts = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    longs = {256: [width], 257: [height], 273: starts, 278: [height], 279: [len(strip) for strip in strips]}
    shorts = {258: [bits] * count, 259: [8 if deflate else 1], 262: [photometric], 277: [count], 284: [1 + planes]}
    shorts |= {tag: list(values) for tag, values in (tags or {}).items()}
    entries = sorted([(tag, 4, values) for tag, values in longs.items()] + [(t, 3, v) for t, v in shorts.items()])
    data = b"".join(strips)
    data += bytes(len(data) % 2)
    directory, beyond = struct.pack(f"{order}H", len(entries)), b""
    after = 8 + len(data) + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        body = struct.pack(f"{order}{len(values)}{'I' if kind == 4 else 'H'}", *values)
        directory += struct.pack(f"{order}HHI", tag, kind, len(values))
        if len(body) > 4:
            directory += struct.pack(f"{order}I", after + len(beyond))
            beyond += body
        else:
            directory += body.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}I", 8 + len(data))
    return io.BytesIO(head + data + directory + bytes(4) + beyond)


def chunk(tag: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def png(samples: np.ndarray, bits: int, kind: int, *chunks: bytes, after: bytes = b"") -> io.BytesIO:
    """A PNG of samples `(h, w, n)`; `chunks` come before the picture's data, `after` behind it."""
    height, width, _ = samples.shape
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    rows = b"".join(b"\0" + packed(row.reshape(1, -1), bits, ">") for row in samples)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), after]
    return io.BytesIO(b"".join(parts) + chunk(b"IEND", b""))


def tga(kind: int, depth: int, descriptor: int, samples: np.ndarray) -> io.BytesIO:
    """A TGA without palette, rows from the top (descriptor 0x20); `samples` as they are in the file."""
    height, width = samples.shape[:2]
    return io.BytesIO(
        struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, width, height, depth, descriptor) + samples.tobytes()
    )


def exif(*entries: bytes, order: str = "<", beyond: bytes = b"") -> bytes:
    """An Exif block with a directory of `entries`, 12 bytes each; `beyond` follows it."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}I", 8)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4) + beyond
