"""How a picture is to be turned, by its Exif or XMP, whatever else is wrong with them."""

from __future__ import annotations

import re
import struct
from contextlib import suppress

from PIL import ExifTags, Image

from .ifd import INTEGERS, ORIENTATION, read_directory

_PREFIX = b"Exif\0\0"
_SAID_BY_XMP = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>)\s*)([1-8])(\s*[\"'<])")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it is meant to be seen."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def orientation(image: Image.Image) -> int:
    """1 to 8: of Exif, else of XMP, else 1. Values outside this range count as 1."""
    raw, xmp = image.info.get("exif"), image.info.get("xmp")
    found = of_bytes(raw) if isinstance(raw, bytes) else None
    if found is None and raw is None:
        # A program may have set it on an opened picture.
        with suppress(Exception):
            found = image.getexif().get(ExifTags.Base.Orientation)
    if found is None and isinstance(xmp, bytes) and (said := _SAID_BY_XMP.search(xmp)):
        found = int(said[2])
    return found if isinstance(found, int) and found in _TURNS else 1


def of_bytes(exif: bytes) -> int | None:
    """The orientation in the first directory of Exif bytes, whatever else is in there; None without one."""
    directory = read_directory(exif.removeprefix(_PREFIX))
    said = () if directory is None else directory.integers(ORIENTATION)
    return said[0] if said else None


def upright_bytes(exif: bytes) -> bytes:
    """The same Exif bytes of a picture that has been turned: the orientation is 1, all else stays, also what is
    malformed. Empty where nothing else is said."""
    body = exif.removeprefix(_PREFIX)
    directory = read_directory(body)
    if directory is None or set(directory.entries) <= {ORIENTATION}:
        return b""
    entry = directory.entries.get(ORIENTATION)
    if entry is None:
        return exif
    if entry.type in INTEGERS:
        one = struct.pack(f"{directory.order}{INTEGERS[entry.type]}", 1)
        body = body[: entry.at] + one + body[entry.at + len(one) :]
    return exif[: len(exif) - len(body)] + body


def upright_xmp(xmp: bytes) -> bytes:
    """Likewise an XMP packet."""
    return _SAID_BY_XMP.sub(rb"\g<1>1\g<3>", xmp)
