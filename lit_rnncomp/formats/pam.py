"""PAM, the kind of PNM that has any number of channels: Pillow does not know it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from .limit import check_size

SIGNATURE = b"P7\n"

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_CHANNELS = {"BLACKANDWHITE": 1, "GRAYSCALE": 1, "RGB": 3}
_ALPHA = "_ALPHA"


def decode(data: bytes) -> Image.Image:
    """The picture, in one of Pillow's modes of 8-bit channels. Raises `ValueError`; `DecompressionBombError` as Pillow
    does."""
    said: dict[str, str] = {}
    file = io.BytesIO(data[len(SIGNATURE) :])
    while (line := file.readline(1000)).strip() != b"ENDHDR":
        if not line:
            raise ValueError("its header has no end")
        key, _, value = line.decode("latin-1").strip().partition(" ")
        said[key] = value.strip()
    try:
        width, height, depth, most = (int(said[key]) for key in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL"))
    except (KeyError, ValueError):
        raise ValueError("its header does not say width, height, depth and largest value") from None
    kind = said.get("TUPLTYPE", "")
    channels = _CHANNELS.get(kind.removesuffix(_ALPHA), 0) + kind.endswith(_ALPHA)
    if channels != depth or not 1 <= most <= 65535 or width < 1 or height < 1:
        raise ValueError(
            f"its {width}x{height} pixels of {depth} values up to {most} and type {kind or 'unknown'} have no rule; "
            "convert the picture first"
        )
    check_size(width * height)
    bytes_each = 2 if most > 255 else 1
    size = width * height * depth * bytes_each
    body = file.read(size)
    if len(body) < size:
        raise ValueError("the file is cut")
    wide = np.minimum(np.frombuffer(body, f">u{bytes_each}"), most).astype(np.uint32)
    # As of other files, the high byte of 16 bits; other ranges are stretched.
    eight = wide >> 8 if most == 65535 else (wide * 255 + most // 2) // most
    return Image.frombytes(_MODES[depth], (width, height), eight.astype(np.uint8).tobytes())
