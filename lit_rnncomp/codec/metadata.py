"""What a file says of its picture beside the codes: colour profile, Exif and XMP, as one chunk.

The payload is a list of entries: 1 byte for the kind (its place in `KINDS`), a varint with the number of bytes that
follow, and those, compressed by zlib.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from .container import BitstreamError, read_varint, varint

KINDS = ("icc_profile", "exif", "xmp")
"""As Pillow calls them. A file stores the index: append, never reorder."""

LARGEST = 1 << 24
"""Bytes of an entry before compression."""


def to_bytes(entries: Mapping[str, bytes]) -> bytes:
    """The chunk's payload. Raises `ValueError` for an entry of another kind or above `LARGEST`."""
    payload = b""
    for kind, value in entries.items():
        if kind not in KINDS or len(value) > LARGEST:
            raise ValueError(
                f"metadata {kind!r} of {len(value)} bytes: kinds are {', '.join(KINDS)}, {LARGEST} bytes at most"
            )
        packed = zlib.compress(value, 9)
        payload += bytes([KINDS.index(kind)]) + varint(len(packed)) + packed
    return payload


def from_bytes(payload: bytes) -> dict[str, bytes]:
    """The entries; those of a kind that this version does not know are left out. Raises `BitstreamError`."""
    entries, at = {}, 0
    while at < len(payload):
        kind = payload[at]
        try:
            size, at = read_varint(payload, at + 1)
        except IndexError as error:
            raise BitstreamError("the metadata end inside an entry") from error
        if size > len(payload) - at:
            raise BitstreamError("the metadata end inside an entry")
        inflate = zlib.decompressobj()
        try:
            value = inflate.decompress(payload[at : at + size], LARGEST)
        except zlib.error as error:
            raise BitstreamError("the metadata are not readable") from error
        if not inflate.eof:
            raise BitstreamError(f"an entry of the metadata is cut, or has more than {LARGEST} bytes")
        if kind < len(KINDS):
            entries[KINDS[kind]] = value
        at += size
    return entries
