"""Pictures from files, by one written rule: the codec, the training and the evaluation all see the same pixels."""

import os
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_DIRECT = {"1", "L", "RGB", "CMYK", "YCbCr", "HSV"}
_SIXTEEN_BIT = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_TRANSPARENT = {"LA", "La", "PA", "RGBA", "RGBa"}


class ImageError(ValueError):
    """A picture cannot be read, or a folder holds none; the message names it on one line."""


def read_image(source: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Reads a picture as 8-bit RGB.

    The rule: the first frame; EXIF orientation applied; grey becomes three equal channels; palettes are looked up;
    transparency is laid over white; of 16-bit samples the high byte is kept (what Pillow does for 16-bit colour, so
    that grey and colour agree); CMYK, YCbCr and HSV by Pillow's formulas. Embedded colour profiles are not applied:
    samples are taken as sRGB. Other modes (floating point, LAB, 32-bit integers outside 0..65535) are errors.

    Args:
        source: a path, or a binary file object at the start of the picture.

    Raises:
        ImageError: the file is missing, damaged, of an unknown kind, in a mode outside the rule, or above Pillow's
            limit (``PIL.Image.MAX_IMAGE_PIXELS``: warned about above it, refused above twice that).
    """
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "picture")
    try:
        with Image.open(source) as opened:
            opened.load()
            return to_rgb(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        raise ImageError(f"cannot read {name}: no such file") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"cannot read {name}: {error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust it.") from None
    except UnidentifiedImageError:
        raise ImageError(f"cannot read {name}: not a picture of a kind that Pillow knows") from None
    except Exception as error:  # what damaged bytes make Pillow's parsers raise: struct.error, SyntaxError, ...
        raise ImageError(f"cannot read {name}: {' '.join(str(error).split()) or type(error).__name__}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened picture as 8-bit RGB, by the rule of `read_image` less the orientation. Raises `ValueError`."""
    if image.mode in _SIXTEEN_BIT:
        image = _high_byte(image)
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if image.mode not in _DIRECT | {"P"}:
        raise ValueError(f"mode {image.mode} has no rule for 8-bit RGB; convert the picture first")
    rgb = image.convert("RGB")
    rgb.info = {}  # no stale EXIF orientation or palette key travels on
    return rgb


def _high_byte(image: Image.Image) -> Image.Image:
    samples = np.asarray(image)
    low, high = (int(samples.min()), int(samples.max())) if samples.size else (0, 0)
    if low < 0 or high > 65535:
        raise ValueError(f"samples run from {low} to {high}, outside 16 bits; convert the picture first")
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(samples == transparent, 0, 255).astype(np.uint8)))
    return grey


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Lists the PNG, JPEG, WebP and TIFF files under a folder and its subfolders, sorted by relative path.

    Hidden files are passed over. The result may be empty.

    Raises:
        ImageError: `folder` is not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageError(f"{folder} is not a folder of pictures")
    found = (
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())
