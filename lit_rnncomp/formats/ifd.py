"""Directories of tags, as TIFF and Exif have them, read without believing them: a damaged tag costs no other one."""

from __future__ import annotations

import struct
from typing import NamedTuple

ORIENTATION = 0x112

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


class Entry(NamedTuple):
    """A tag's type and number of values, where they are, and where the entry itself is, in bytes."""

    type: int
    values: int
    at: int
    entry: int


class Directory(NamedTuple):
    """The first directory of a file. `big`: offsets of 8 bytes (BigTIFF); `followed`: another one is after it."""

    data: bytes
    order: str
    big: bool
    entries: dict[int, Entry]
    followed: bool

    def integers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag; none where it is missing, cut or of another type."""
        entry = self.entries.get(tag)
        if entry is None or entry.type not in INTEGERS:
            return ()
        size = _SIZES[entry.type] * entry.values
        values = self.data[entry.at : entry.at + size]
        if len(values) < size:
            return ()
        return struct.unpack(f"{self.order}{entry.values}{INTEGERS[entry.type]}", values)

    def bytes(self, tag: int) -> bytes:
        """A tag's values as they stand in the file."""
        entry = self.entries.get(tag)
        return b"" if entry is None else self.data[entry.at : entry.at + _SIZES[entry.type] * entry.values]

    @property
    def orientation(self) -> int:
        """1 to 8; 1 where the file says nothing that makes sense."""
        said = self.integers(ORIENTATION)[:1]
        return said[0] if said and 1 <= said[0] <= 8 else 1


def read_directory(data: bytes) -> Directory | None:
    """The first directory of a TIFF file or an Exif block; None where there is none. Entries that reach beyond the end
    of the data, or of unknown types, are left out."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    version = struct.unpack_from(f"{order}H", data, 2)[0]
    big = version == 43
    if version not in (42, 43) or (big and len(data) < 16):
        return None
    start = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    head, one, inline = (8, f"{order}HHQ", 8) if big else (2, f"{order}HHI", 4)
    if start + head > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, start)
    step = struct.calcsize(one) + inline
    entries: dict[int, Entry] = {}
    for at in range(start + head, min(start + head + min(count, 65535) * step, len(data) - step + 1), step):
        tag, kind, number = struct.unpack_from(one, data, at)
        size = _SIZES.get(kind, 0) * number
        where = at + step - inline
        if size > inline:
            (where,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, where)
        if size and where + size <= len(data):
            entries.setdefault(tag, Entry(kind, number, where, at))
    after = start + head + count * step
    return Directory(data, order, big, entries, any(data[after : after + inline]))
