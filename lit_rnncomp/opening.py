"""Opened pictures with the samples that their files mean: where Pillow reads other ones, they are corrected here, or
refused."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from . import png

_WIDE = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_FULL_RANGE = {"PNG", "PPM", "TIFF", "JPEG2000", None}
"""Formats whose 16-bit samples Pillow gives on the scale 0..65535; None is a picture made in Python."""

_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANAR, _FORMAT = 258, 259, 262, 284, 339
_COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 529, 530, 532
_UNCOMPRESSED, _JPEG = (1,), (6, 7)
_WHITE_IS_ZERO, _YCBCR = 0, 6


def load(file: IO[bytes]) -> Image.Image:
    """The first picture in a file, loaded. Raises what Pillow raises, `ValueError` for what it would read wrong."""
    start = file.tell()
    try:
        return _loaded(file)
    except (Image.DecompressionBombError, MemoryError):
        raise
    except Exception:
        file.seek(start)
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            raise
        # Metadata may be too large for Pillow, or malformed: what the picture needs is read alone.
        file.seek(start)
        return _loaded(png.without_metadata(file))


def _loaded(file: IO[bytes]) -> Image.Image:
    start = file.tell()
    image = Image.open(file)
    if image.format == "PNG":
        return _png(image, file, start)
    if image.format == "TIFF":
        return _tiff(image)
    if image.format == "TGA":
        return _tga(image, file, start)
    if image.mode in _WIDE and image.format not in _FULL_RANGE:
        raise ValueError(f"16-bit samples of a {image.format} file have no known range; convert the picture first")
    image.load()
    return image


def _png(image: Image.Image, file: IO[bytes], start: int) -> Image.Image:
    """Pillow compares the transparent colour with samples that it has scaled to 8 bits."""
    raw = _raw_mode(image)
    image.load()
    colour = image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int):
        most = 2 ** (int(raw[2:]) if raw.startswith("L;") else 8) - 1
        image.info["transparency"] = (colour & most) * 255 // most
    elif image.mode == "RGB" and isinstance(colour, tuple):
        if raw == "RGB":
            image.info["transparency"] = tuple(sample & 255 for sample in colour)
            return image
        file.seek(start)
        again = Image.open(file)
        layers: Any = again
        tile = layers.tile[0]
        # Read as if low bytes came first, the samples give their low bytes.
        layers.tile = [tile._replace(args="RGB;16L") if hasattr(tile, "_replace") else (*tile[:3], "RGB;16L")]
        again.load()
        high, low = np.asarray(image), np.asarray(again)
        same = np.logical_and.reduce(
            [(high[..., c] == colour[c] >> 8) & (low[..., c] == colour[c] & 255) for c in range(3)]
        )
        del image.info["transparency"]
        image.putalpha(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)))
    return image


def _tiff(image: Image.Image) -> Image.Image:
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_BITS, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC)
    _check_tiff(image, tags, bits, photometric)
    image.load()
    if image.mode not in _WIDE or (bits == 16 and photometric != _WHITE_IS_ZERO):
        return image
    samples: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << (16 - bits)
    if photometric == _WHITE_IS_ZERO:
        samples = np.uint16(65535) - samples
    return Image.fromarray(samples)


def _check_tiff(image: Image.Image, tags: Any, bits: int, photometric: int | None) -> None:
    """Raises `ValueError` for samples that Pillow reads wrong."""
    compression = tags.get(_COMPRESSION, 1)
    if any(kind == 2 for kind in tags.get(_FORMAT, ())):
        raise ValueError("a TIFF of signed samples has no rule for black and white; convert the picture first")
    if image.mode == "I":
        raise ValueError(f"a TIFF of {bits}-bit integers has no rule for 8-bit RGB; convert the picture first")
    planes = tags.get(_PLANAR, 1) == 2
    if planes and (
        image.mode in ("LA", "La") or (bits == 16 and compression in _UNCOMPRESSED and len(image.getbands()) > 1)
    ):
        raise ValueError(f"a TIFF with planes of {bits}-bit samples is not supported; convert the picture first")
    if photometric == _YCBCR and compression not in _JPEG:
        if tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1):
            raise ValueError("a TIFF of subsampled YCbCr without JPEG is not supported; convert the picture first")
        levels = tuple(map(float, tags.get(_REFERENCE, (0, 255, 128, 255, 128, 255))))
        weights = tuple(map(float, tags.get(_COEFFICIENTS, (0.299, 0.587, 0.114))))
        if levels != (0, 255, 128, 255, 128, 255) or not np.allclose(weights, (0.299, 0.587, 0.114), atol=1e-3):
            raise ValueError("a TIFF of YCbCr with levels unlike JPEG's is not supported; convert the picture first")


def _tga(image: Image.Image, file: IO[bytes], start: int) -> Image.Image:
    """The header's last byte says how many bits of a sample are opacity; Pillow takes all that are left."""
    file.seek(start)
    head = file.read(18)
    image.load()
    # Of one bit, writers do not agree on what it means.
    if head[17] & 15 < 8 and (image.mode in ("LA", "RGBA") or image.mode == "P"):
        return image.convert("L" if image.mode == "LA" else "RGB")
    return image


def _raw_mode(image: Image.Image) -> str:
    """How the samples are packed in the file, as Pillow calls it."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        raise UnidentifiedImageError("it holds no picture")
    args = tiles[0][3]
    return str(args if isinstance(args, str) else args[0])
