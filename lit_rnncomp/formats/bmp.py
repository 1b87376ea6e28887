"""BMP, and the icons made of it: a fourth channel that says nothing, and the colour profile."""

from __future__ import annotations

import struct

from PIL import Image

FORMATS = {"BMP", "DIB", "ICO"}


def settle_alpha(image: Image.Image) -> Image.Image:
    """A picture that Pillow decoded, opaque where it is transparent everywhere: many programs declare an alpha channel
    and leave it at 0."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image


def metadata(data: bytes) -> dict[str, bytes]:
    """`icc_profile`, where one is embedded (version 5)."""
    if data[:2] != b"BM" or data[70:74] != b"DEBM" or len(data) < 138:
        return {}
    start, size = struct.unpack_from("<II", data, 126)
    return {"icc_profile": data[14 + start : 14 + start + size]}
