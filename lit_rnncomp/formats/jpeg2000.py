"""JPEG 2000: how many bits its samples have, how many pixels one stands for, and of which colours they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

_CODESTREAM = b"\xff\x4f\xff\x51"
SIGNATURES = (b"\0\0\0\x0cjP  ", _CODESTREAM)
_ENUMERATED, _PROFILES = 1, (2, 3)
_CMYK, _SRGB, _GREY, _SYCC = 12, 16, 17, 18


def check(data: bytes) -> None:
    """Refuse what Pillow would read wrong. Raises `ValueError`."""
    depths = _depths(data)
    if len(set(depths)) > 1:
        raise ValueError(f"its channels have {', '.join(map(str, depths))} bits; convert the picture first")
    if depths and depths[0] > 16:
        raise ValueError(f"its channels have {depths[0]} bits; convert the picture first")
    _check_sampling(data)
    for method, body in _colours(data):
        colours = int.from_bytes(body[:4], "big")
        if method == _ENUMERATED and colours not in (_CMYK, _SRGB, _GREY, _SYCC):
            raise ValueError(f"its colour space {colours} has no rule; convert the picture first")


def metadata(data: bytes) -> dict[str, bytes]:
    """`icc_profile`, where there is one."""
    return next(({"icc_profile": body} for method, body in _colours(data) if method in _PROFILES), {})


def stretch(image: Image.Image, data: bytes) -> Image.Image:
    """A picture that Pillow decoded of the file `data`: of samples of less than 8 bits Pillow fills up the low bits
    with 0, so that white is grey."""
    depth = (_depths(data) or [8])[0]
    if depth >= 8 or image.mode not in ("L", "LA", "RGB", "RGBA"):
        return image
    top = (1 << depth) - 1
    samples = np.asarray(image) >> (8 - depth)
    return Image.fromarray(((samples.astype(np.uint16) * 255 + top // 2) // top).astype(np.uint8), image.mode)


def _check_sampling(data: bytes) -> None:
    """Pillow scales channels up whose samples stand for several pixels, but not where a part of one is left over."""
    at, components = _components(data)
    if not components:
        return
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    steps = [(across, down) for _, across, down in components]
    whole = all(x and y and not (right % x or left % x or bottom % y or top % y) for x, y in steps)
    if steps[0] != (1, 1) or not whole:
        raise ValueError(
            f"its channels are sub-sampled, {right - left}x{bottom - top} pixels by "
            f"{', '.join(f'{x}x{y}' for x, y in steps)}, which Pillow reads wrong; convert the picture first"
        )


def _depths(data: bytes) -> list[int]:
    return [(depth & 127) + 1 for depth, *_ in _components(data)[1]]


def _components(data: bytes) -> tuple[int, list[tuple[int, int, int]]]:
    """Where the codestream begins; of each channel the bits less 1 and a sign, and the pixels across and down that a
    sample stands for."""
    at = data.find(_CODESTREAM)
    if at < 0 or len(data) < at + 42:
        return at, []
    (count,) = struct.unpack_from(">H", data, at + 40)
    entries = data[at + 42 : at + 42 + 3 * count]
    return at, [(entries[i], entries[i + 1], entries[i + 2]) for i in range(0, len(entries) - 2, 3)]


def _colours(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Method and body of what the file says of its colours, before the codestream."""
    end = data.find(_CODESTREAM)
    at = data.find(b"colr", 0, max(end, 0))
    while at >= 4:
        size = int.from_bytes(data[at - 4 : at], "big")
        if at + 7 < end:
            yield data[at + 4], data[at + 7 : min(at - 4 + size, end)]
        at = data.find(b"colr", at + 4, end)
