"""PNG's chunks: what the picture needs, its transparent colour, and what is said of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from PIL import Image

from . import profile

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LARGEST = 1 << 24
"""Bytes of metadata after decompression; what is longer is left out."""

_GREY, _COLOUR, _PALETTE = 0, 2, 3
_DESCRIBED = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
"""What says of which colours the samples are, in the order in which it counts (PNG, third edition, 4.3)."""
_XMP = b"XML:com.adobe.xmp"


def decode(data: bytes) -> Image.Image:
    """The picture, of an animation the first frame or the picture that stands for it. Raises what Pillow raises.

    Pillow compares a transparent colour with samples that it has already scaled: here it is compared with those of the
    file, and the result has an alpha channel.
    """
    chunks = list(_chunks(data))
    if len(data) < 26:
        raise ValueError("it ends before its picture begins")
    depth, colour = data[24], data[25]
    # Everything else is optional: however large or damaged, it is no reason to refuse the picture.
    essential = b"".join(
        data[start : start + 12 + size]
        for kind, start, size in chunks
        if kind[:1].isupper() or (kind == b"tRNS" and colour == _PALETTE)
    )
    image = _open(essential)
    colours = [data[start + 8 : start + 8 + size] for kind, start, size in chunks if kind == b"tRNS"]
    if not colours or colour not in (_GREY, _COLOUR):
        return image
    values = np.frombuffer(colours[0][: 2 * (1 if colour == _GREY else 3)], ">u2") & (1 << depth) - 1
    if len(values) != (1 if colour == _GREY else 3):
        return image  # no colour
    if colour == _GREY:
        samples = np.asarray(image)
        if depth < 16:
            image = image.convert("L")
            samples = np.asarray(image) // (255 // ((1 << depth) - 1))
        else:
            image = Image.fromarray((samples >> 8).astype(np.uint8))
        transparent = samples == values[0]
    else:
        transparent = (np.asarray(image) == values >> (depth - 8)).all(-1)
        if depth == 16:
            transparent &= (np.asarray(_open(essential, "RGB;16L")) == values & 255).all(-1)
    image.putalpha(Image.fromarray(np.where(transparent, 0, 255).astype(np.uint8)))
    return image


def metadata(data: bytes) -> dict[str, bytes]:
    """`icc_profile`, `exif` and `xmp`, those that are there, whole and not above 16 MiB. A profile is made of colours
    that are described otherwise.

    Raises `ValueError` for colours that no profile describes.
    """
    found: dict[str, bytes] = {}
    described = {kind: data[start + 8 : start + 8 + size] for kind, start, size in _chunks(data) if kind in _DESCRIBED}
    if made := _profile(described, grey=data[25] & 2 == 0):
        found["icc_profile"] = made
    for kind, start, size in _chunks(data):
        body = data[start + 8 : start + 8 + size]
        with suppress(zlib.error, ValueError, IndexError):
            if kind == b"eXIf":
                found["exif"] = body
            elif kind == b"iCCP":
                found["icc_profile"] = _inflate(body.split(b"\0", 1)[1][1:])
            elif kind == b"iTXt" and body.startswith(_XMP + b"\0"):
                flags, text = body[len(_XMP) + 1 : len(_XMP) + 3], body[len(_XMP) + 3 :].split(b"\0", 2)[2]
                found["xmp"] = _inflate(text) if flags[:1] == b"\1" else text
            elif kind in (b"tEXt", b"zTXt") and body.startswith(b"Raw profile type "):
                name, text = body.split(b"\0", 1)
                raw = _inflate(text[1:]) if kind == b"zTXt" else text
                if name.endswith((b" exif", b" APP1")):
                    # ImageMagick's: a newline, the name, the length, then hexadecimal digits.
                    found.setdefault("exif", bytes.fromhex("".join(raw.decode("latin-1").split("\n")[3:])))
    return {name: value for name, value in found.items() if 0 < len(value) <= _LARGEST}


def _profile(described: dict[bytes, bytes], grey: bool) -> bytes | None:
    """Of colours by these chunks, in the order in which they count; None for those of sRGB, and where `iCCP` counts."""
    if len(said := described.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, full = said
        if matrix != 0 or full != 1:
            raise ValueError("its samples are not RGB of the full range; convert the picture first")
        made = profile.of_code_points(primaries, transfer)
        return None if grey or b"iCCP" in described else made
    if b"iCCP" in described or b"sRGB" in described:
        return None
    gamma, points = None, profile.BT709
    if len(said := described.get(b"gAMA", b"")) == 4 and any(said):
        exponent = 100000 / int.from_bytes(said, "big")
        # Who writes 1 / 2.2 means the curve of sRGB.
        gamma = exponent if abs(exponent - 2.2) > 0.05 else None
    if grey:
        return None if gamma is None else profile.build_grey(gamma)
    if len(said := described.get(b"cHRM", b"")) == 32:
        numbers = [number / 100000 for number in struct.unpack(">8I", said)]
        points = profile.Chromaticities(*zip(numbers[::2], numbers[1::2], strict=True))
    with suppress(ValueError):
        return None if gamma is None and points == profile.BT709 else profile.build(points, gamma)
    return None


def _open(chunks: bytes, layout: str | None = None) -> Image.Image:
    """Decodes a PNG of these chunks. With `layout` Pillow takes the samples' bytes to be laid out so: `RGB;16L` keeps
    the low bytes of 16-bit colours, where it otherwise keeps the high ones."""
    with Image.open(io.BytesIO(SIGNATURE + chunks), formats=["PNG"]) as image:
        if layout is not None and isinstance(image, Image.Image):
            image.tile = [tile._replace(args=layout) for tile in image.tile]  # type: ignore[attr-defined]
        image.load()
        return image


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and bytes of the body of each chunk; a last one that is cut too."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at, size
        if kind == b"IEND":
            return
        at += 12 + size


def _inflate(data: bytes) -> bytes:
    """Raises `ValueError` for what is cut or above 16 MiB, `zlib.error` for what is damaged."""
    inflate = zlib.decompressobj()
    value = inflate.decompress(data, _LARGEST)
    if not inflate.eof:
        raise ValueError("cut, or too long")
    return value
