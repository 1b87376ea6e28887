"""An uploaded photograph, read within limits."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from ..codec.pixels import Pixels, as_pixels
from ..formats import colour, tiff
from ..images import ImageError, read_photograph

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "TIFF", "JPEG2000", "GIF", "BMP", "PPM")
"""Formats of Pillow that are read. Others are hardly ever those of photographs, and of one (EPS) Pillow starts a
program."""

LARGEST = 80_000_000
"""Pixels of a photograph that is opened at all: a small file may claim any number."""


class Photo(NamedTuple):
    """A photograph as the page shows and codes it.

    `pixels`: `(H, W, 3)` uint8, sRGB. `notes`: what was done to it, a sentence each.
    """

    name: str
    pixels: Pixels
    notes: list[str]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]


def read_photo(data: bytes, name: str, megapixels: float) -> Photo:
    """The photograph in the bytes of a file, scaled down to `megapixels` where it has more.

    Raises `ImageError` for what is no picture, of no format of `FORMATS`, or larger than `LARGEST`.
    """
    _check(data, name)
    file = io.BytesIO(data)
    file.name = name  # for messages
    photograph = read_photograph(file)
    image = photograph.over_white()
    notes = ["Transparency is laid over white."] if "laid_over" in image.info else []
    if (profile := photograph.metadata.get("icc_profile")) is not None:
        image = colour.rgb_to_srgb(image, profile)
        notes.append("Its colours were converted to sRGB.")
    scale = (1e6 * megapixels / (image.width * image.height)) ** 0.5
    if scale < 1:
        notes.append(f"It was scaled down from {image.width} x {image.height} pixels, so that answers come soon.")
        width, height = (max(1, int(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
    return Photo(name, as_pixels(image), notes)


def _check(data: bytes, name: str) -> None:
    """Looks at a file's head alone. Raises `ImageError`."""
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=[kind for kind in FORMATS if kind in Image.OPEN]) as opened:
            pixels = opened.width * opened.height
    except Image.DecompressionBombError:
        pixels = 2 * (Image.MAX_IMAGE_PIXELS or LARGEST)  # and more
    except MemoryError:
        raise
    except UnidentifiedImageError:
        if data.startswith(tiff.SIGNATURES):
            return  # some of a depth that Pillow does not know are read all the same
        raise ImageError(
            f"cannot read {name}: not a photograph of a kind that is shown here (JPEG, PNG, WebP, AVIF, TIFF, ...)"
        ) from None
    except Exception as error:  # of damaged bytes Pillow's parsers raise what they raise
        raise ImageError(f"cannot read {name}: {' '.join(str(error).split()) or type(error).__name__}") from error
    if pixels > LARGEST:
        raise ImageError(
            f"cannot read {name}: {pixels / 1e6:.0f} megapixels are more than {LARGEST / 1e6:.0f}; scale it down first"
        )
