"""Colour profiles of known colours, byte by byte."""

from __future__ import annotations

import struct


def profile(space: bytes, gamma: float, tags: dict[bytes, bytes] | None = None) -> bytes:
    """An ICC profile, version 2, of a gamma: grey, or of colours by the columns in `tags`."""
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    entries = {b"wtpt": xyz(0.9642, 1, 0.8249), b"desc": b"desc" + bytes(4) + struct.pack(">I5s78x", 5, b"test")}
    entries |= {b"kTRC": curve} if space == b"GRAY" else {name: curve for name in (b"rTRC", b"gTRC", b"bTRC")}
    entries |= tags or {}
    at, table, body = 128 + 4 + 12 * len(entries), b"", b""
    for name, value in entries.items():
        value += bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(value))
        body += value
    size = at + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(entries)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))


def parametric() -> bytes:
    """The curve of sRGB, as IEC 61966-2-1 has it."""
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">Hxx5i", 3, *(round(65536 * number) for number in numbers))


def display_p3() -> bytes:
    """The primaries of Display P3, adapted to D50, with the curve of sRGB."""
    columns = {
        b"rXYZ": (0.51512, 0.2412, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.1571, 0.06657, 0.78407),
    }
    curves = {name: parametric() for name in (b"rTRC", b"gTRC", b"bTRC")}
    return profile(b"RGB ", 2.2, {name: xyz(*column) for name, column in columns.items()} | curves)


def grey(gamma: float = 1.8) -> bytes:
    return profile(b"GRAY", gamma)
