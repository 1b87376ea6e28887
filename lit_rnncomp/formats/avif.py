"""AVIF: of which colours its samples are, where it says so by numbers."""

from __future__ import annotations

import struct

from . import profile

_NUMBERS, _PROFILES = b"colrnclx", (b"colrprof", b"colrrICC")


def metadata(data: bytes) -> dict[str, bytes]:
    """`icc_profile`, where the file has none and its colours are not those of sRGB.

    Raises `ValueError` for colours that no profile describes.
    """
    at = data.find(_NUMBERS)
    if at < 0 or len(data) < at + 12 or any(kind in data for kind in _PROFILES):
        return {}
    made = profile.of_code_points(*struct.unpack_from(">HH", data, at + len(_NUMBERS)))
    return {} if made is None else {"icc_profile": made}
