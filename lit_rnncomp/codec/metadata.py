"""What a file says of its picture beside the codes: colour profile, Exif, XMP and the alpha channel, as one chunk.

The payload is a list of entries: 1 byte for the kind (its place in `KINDS`), a varint with the number of bytes that
follow, and those, compressed by zlib.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from PIL import Image

from ..formats import exif
from .container import BitstreamError, read_varint, varint

if TYPE_CHECKING:
    from ..images import Photograph

KINDS = ("icc_profile", "exif", "xmp", "alpha")
"""As Pillow calls them; the alpha channel is a grey PNG of 8 bits and the picture's size. A file stores the index:
append, never reorder."""

LARGEST = 1 << 24
"""Bytes of an entry before compression."""


NAMES = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp", "alpha": "alpha"}
"""What a user calls the kinds."""


def kinds(keep: Iterable[str]) -> list[str]:
    """The kinds that a user names. Raises `ValueError` for a name that there is not."""
    for name in keep:
        if name not in NAMES:
            raise ValueError(f"keep: {name!r} is not one of {', '.join(NAMES)}")
    return [NAMES[name] for name in keep]


def of_photograph(photograph: Photograph, wanted: Collection[str]) -> tuple[Image.Image, dict[str, bytes]]:
    """What is coded of a photograph, and those entries of `wanted` kinds that it has: beside its alpha channel where
    that is kept, over white where not."""
    entries = {kind: photograph.metadata[kind] for kind in wanted if kind in photograph.metadata}
    if "alpha" in wanted and photograph.alpha is not None:
        return photograph.beside_alpha(), {**entries, "alpha": alpha_entry(photograph.alpha)}
    return photograph.over_white(), entries


def upright(entries: Mapping[str, bytes]) -> dict[str, bytes]:
    """The entries of a picture that has been turned: their orientation is 1, and Exif that says nothing else is left
    out."""
    turned = {"exif": exif.upright_bytes, "xmp": exif.upright_xmp}
    found = {kind: turned[kind](value) if kind in turned else value for kind, value in entries.items()}
    return {kind: value for kind, value in found.items() if value}


def check(entries: Mapping[str, bytes], size: tuple[int, int]) -> None:
    """Raises `ValueError` for an entry that is no bytes, or an alpha channel that is none of a picture of this size."""
    for kind, value in entries.items():
        if not isinstance(value, bytes):
            raise ValueError(f"metadata {kind!r} is {type(value).__name__}, not bytes")
    if "alpha" in entries:
        try:
            _alpha(entries["alpha"], size)
        except Exception as error:  # Pillow's parser raises whatever damaged bytes make it raise
            raise ValueError(f"metadata 'alpha' is no grey PNG of the picture's size: {error}") from error


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


def alpha_entry(alpha: Image.Image) -> bytes:
    """An alpha channel, mode `L`, as an entry, without loss."""
    file = io.BytesIO()
    alpha.save(file, "PNG", optimize=True)
    return file.getvalue()


def with_alpha(picture: Image.Image, entry: bytes) -> Image.Image:
    """A picture with the alpha channel of an entry: RGBA. Raises `BitstreamError` for an entry that is no such channel
    of the picture's size; nothing larger is decoded."""
    rgba = picture.copy()
    try:
        rgba.putalpha(_alpha(entry, picture.size))
    except Exception as error:  # Pillow's parser raises whatever damaged bytes make it raise
        raise BitstreamError(f"the alpha channel is not readable: {error}") from error
    return rgba


def _alpha(entry: bytes, size: tuple[int, int]) -> Image.Image:
    """Raises `ValueError` for another size or mode, and whatever Pillow does."""
    with Image.open(io.BytesIO(entry), formats=["PNG"]) as alpha:
        if (alpha.mode, alpha.size) != ("L", size):
            raise ValueError(f"it is {alpha.mode} of {alpha.width}x{alpha.height} pixels")
        alpha.load()
        return alpha
