"""Opened pictures with the samples that their files mean: where Pillow reads other ones, they are corrected here, or
refused."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import IO, Any

from PIL import Image, ImageChops, ImageFile

from . import avif, bmp, gif, jpeg, jpeg2000, pam, png, psd, tga, tiff

LARGEST = 1 << 24
"""Bytes of an entry of metadata; what is larger is left out."""

_METADATA = ("icc_profile", "exif", "xmp")
_WIDE = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_DRAWINGS = {"EPS", "WMF"}
"""What Pillow hands to another program, which a file may have been made to harm."""
_FULL_RANGE = {"PPM", "JPEG2000"}
"""Formats whose 16-bit samples Pillow gives on the scale 0..65535."""


def load(file: IO[bytes]) -> Image.Image:
    """The first picture in a file, from where it stands, loaded; in `info` are `icc_profile`, `exif` and `xmp`, those
    that can be read, and what Pillow needs to know of transparency.

    Raises what Pillow raises, `ValueError` for what it would read wrong.
    """
    data = file.read()
    said: dict[str, Any] = {}
    if data.startswith(png.SIGNATURE):
        image = png.decode(data)
        said = png.metadata(data)
    elif data.startswith(tiff.SIGNATURES):
        image = tiff.decode(data)
        said = tiff.metadata(data)
    elif data.startswith(jpeg.SIGNATURE):
        jpeg.check(data)
        image = _decode(jpeg.essential(data))
        said = jpeg.metadata(data)
    elif data.startswith(jpeg2000.SIGNATURES):
        jpeg2000.check(data)
        image = jpeg2000.stretch(_decode(data), data)
        said = jpeg2000.metadata(data)
    elif data.startswith(pam.SIGNATURE):
        image = pam.decode(data)
    elif data.startswith(gif.SIGNATURES):
        image = gif.decode(data)
    else:
        if data.startswith(psd.SIGNATURE):
            psd.check(data)
        image = _decode(data)
        if image.format == "TGA":
            image = tga.settle_alpha(image, data)
        elif image.format in bmp.FORMATS:
            image = bmp.settle_alpha(image)
            said = bmp.metadata(data)
        elif image.format == "AVIF":
            said = avif.metadata(data)
        elif image.format == "XBM":
            image = ImageChops.invert(image.convert("L"))  # a bit that is set is black
    if image.mode in _WIDE and image.format not in _FULL_RANGE and not data.startswith(png.SIGNATURE):
        raise ValueError(f"16-bit samples of a {image.format} file have no known range; convert the picture first")
    said = {kind: image.info.get(kind) for kind in _METADATA} | said
    for kind, value in said.items():
        image.info.pop(kind, None)
        if isinstance(value, bytes) and 0 < len(value) <= LARGEST:
            image.info[kind] = value
    return image


def again(image: Image.Image) -> Image.Image:
    """A picture that `Image.open` opened, and that has not been decoded yet, as `load` reads its file; any other as it
    is. Raises what `load` raises."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or not image.tile or file is None or image.tell() != 0:
        return image
    at = file.tell()
    try:
        file.seek(0)
        read = load(file)
    finally:
        with suppress(ValueError):
            file.seek(at)
    # It is smaller where Pillow was asked for a draft.
    return read if set(read.size) == set(image.size) else image


def _decode(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        if image.format in _DRAWINGS:
            raise ValueError(f"it is a drawing ({image.format}), not a picture of pixels; convert it first")
        image.load()
        return image
