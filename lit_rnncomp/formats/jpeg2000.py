"""JPEG 2000: how many bits its samples have, and of which colours they are."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

_CODESTREAM = b"\xff\x4f\xff\x51"
SIGNATURES = (b"\0\0\0\x0cjP  ", _CODESTREAM)
_CMYK, _SRGB, _GREY, _SYCC = 12, 16, 17, 18


def check(data: bytes) -> None:
    """Refuse what Pillow would read wrong. Raises `ValueError`."""
    depths = _depths(data)
    if len(set(depths)) > 1:
        raise ValueError(f"its channels have {', '.join(map(str, depths))} bits; convert the picture first")
    if depths and depths[0] > 16:
        raise ValueError(f"its channels have {depths[0]} bits; convert the picture first")
    at = data.find(b"colr", 0, max(data.find(_CODESTREAM), 0))
    if at >= 0 and data[at + 4 : at + 5] == b"\1":
        colours = int.from_bytes(data[at + 7 : at + 11], "big")
        if colours not in (_CMYK, _SRGB, _GREY, _SYCC):
            raise ValueError(f"its colour space {colours} has no rule; convert the picture first")


def stretch(image: Image.Image, data: bytes) -> Image.Image:
    """A picture that Pillow decoded of the file `data`: of samples of less than 8 bits Pillow fills up the low bits
    with 0, so that white is grey."""
    depth = (_depths(data) or [8])[0]
    if depth >= 8 or image.mode not in ("L", "LA", "RGB", "RGBA"):
        return image
    top = (1 << depth) - 1
    samples = np.asarray(image) >> (8 - depth)
    return Image.fromarray(((samples.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8), image.mode)


def _depths(data: bytes) -> list[int]:
    at = data.find(_CODESTREAM)
    if at < 0 or len(data) < at + 42:
        return []
    (count,) = struct.unpack_from(">H", data, at + 40)
    return [(byte & 127) + 1 for byte in data[at + 42 : at + 42 + 3 * count : 3]]
