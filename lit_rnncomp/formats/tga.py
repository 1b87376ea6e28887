"""Targa: whether its fourth channel, or bit, says how opaque a pixel is."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

_NO_ALPHA, _USEFUL, _PREMULTIPLIED = (0, 1, 2), 3, 4
_FOOTER, _ATTRIBUTES = b"TRUEVISION-XFILE.\0", 494


def settle_alpha(image: Image.Image, data: bytes) -> Image.Image:
    """A picture that Pillow decoded of the file `data`, without alpha where the file has none.

    The header says how many bits there are, the end of a file of version 2 what they mean. Without that, a picture that
    is transparent everywhere is opaque: many programs leave the bits at 0.
    """
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        image = image.convert("RGBA")
    if image.mode not in ("RGBA", "LA"):
        return image
    colours = image.convert("RGB" if image.mode == "RGBA" else "L")
    alpha = image.getchannel("A")
    kind = _kind(data)
    if not data[17] & 15 or kind in _NO_ALPHA:
        return colours
    if 16 in (data[16], data[7]) and image.mode == "RGBA":
        alpha = alpha.point(lambda value: 255 - value)  # the one bit: Pillow takes 0 for opaque
    opaque = np.asarray(alpha)
    if kind is None and not opaque.any():
        return colours
    if kind == _PREMULTIPLIED:
        parts, full = np.asarray(colours).astype(np.int32), np.maximum(opaque, 1).astype(np.int32)
        full = full[..., None] if parts.ndim == 3 else full
        colours = Image.fromarray(np.minimum((parts * 255 + full // 2) // full, 255).astype(np.uint8))
    colours.putalpha(alpha)
    return colours


def _kind(data: bytes) -> int | None:
    """What the extension area says of the alpha channel; None without one."""
    if not data.endswith(_FOOTER) or len(data) < 26:
        return None
    at = struct.unpack_from("<I", data, len(data) - 26)[0]
    return data[at + _ATTRIBUTES] if at and at + _ATTRIBUTES < len(data) else None
