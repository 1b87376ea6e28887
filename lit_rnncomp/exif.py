"""How a picture is to be turned, from Exif bytes of which other values may be malformed."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress

from PIL import ExifTags, Image

_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""Types of TIFF that are whole numbers."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its metadata say; itself where they say nothing that can be read, or nothing to do."""
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """1 to 8: of Exif, else of XMP, else 1. Values outside this range count as 1."""
    raw = image.info.get("exif")
    found = of_bytes(raw) if isinstance(raw, bytes) else None
    if found is None:
        # Pillow knows more places (XMP, text of a PNG); its parser is not for damaged values.
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = image.getexif().get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and found in _TURNS else 1


def of_bytes(exif: bytes) -> int | None:
    """The orientation in the first directory of Exif bytes, whatever else is in there; None without one."""
    exif = exif.removeprefix(_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == _ORIENTATION and kind in _NUMBERS:
                return int(struct.unpack_from(order + _NUMBERS[kind], exif, entry + 8)[0])
    except struct.error:
        pass  # the directory is cut
    return None
