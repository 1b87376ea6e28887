"""JPEG's segments: what the picture needs, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\xff\xd8\xff"

_LARGEST = (1 << 24) - 6
"""Bytes of Exif, of which the beginning says most."""

_EXIF, _XMP, _ICC = b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_APP0, _APP1, _APP2, _APP14, _APP15, _COMMENT, _SCAN = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE, 0xDA

_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


class Segment(NamedTuple):
    """A marker, and the bytes from it to the end of its body; `body` follows the two bytes of the length."""

    marker: int
    start: int
    end: int

    def body(self, data: bytes) -> bytes:
        """What the segment says."""
        return data[self.start + 4 : self.end]


def essential(data: bytes) -> bytes:
    """The file without what is said of the picture: nothing in there is a reason to refuse it. JFIF's segment and
    Adobe's stay, which say what the colours are."""
    kept, at = [data[:2]], 2
    for segment in _segments(data):
        if not (_APP1 <= segment.marker <= _APP15 and segment.marker != _APP14) and segment.marker != _COMMENT:
            kept.append(data[segment.start : segment.end])
        at = segment.end
    return b"".join([*kept, data[at:]])


def metadata(data: bytes) -> dict[str, bytes]:
    """`icc_profile`, `exif` and `xmp`, those that are there and whole."""
    found: dict[str, bytes] = {}
    exif = bytearray()
    profile: dict[int, bytes] = {}
    parts = 0
    for segment in _segments(data):
        body = segment.body(data)
        if segment.marker == _APP1 and body.startswith(_EXIF):
            # What is too long for one segment goes on in the next.
            exif += body[6:] if len(exif) + len(body) <= _LARGEST else b""
        elif segment.marker == _APP1 and body.startswith(_XMP):
            found.setdefault("xmp", body[len(_XMP) :])
        elif segment.marker == _APP2 and body.startswith(_ICC) and len(body) > 14:
            parts = body[13]
            profile.setdefault(body[12], body[14:])
    if exif:
        found["exif"] = b"Exif\0\0" + exif
    if profile and sorted(profile) == list(range(1, parts + 1)):
        found["icc_profile"] = b"".join(profile[number] for number in sorted(profile))
    return found


def check(data: bytes) -> None:
    """Raises `ValueError` for samples of other than 8 bits, which Pillow does not read."""
    for segment in _segments(data):
        body = segment.body(data)
        if segment.marker in _FRAMES and body and body[0] != 8:
            raise ValueError(f"its samples have {body[0]} bits, which Pillow does not read; convert the picture first")


def _segments(data: bytes) -> Iterator[Segment]:
    """Those before the first scan. Ends early where the file is not as it should be: the decoder will say so."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        while at + 1 < len(data) and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1] if at + 1 < len(data) else _SCAN
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN or marker < 0xC0 or 0xD0 <= marker <= 0xD9 or end < at + 4 or end > len(data):
            return
        yield Segment(marker, at, end)
        at = end
