"""Pictures from files, by one written rule, and the scales of their samples: the codec, the training and the evaluation
all see the same pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from . import exif, opening
from .files import read_input

if TYPE_CHECKING:
    import torch

Samples = TypeVar("Samples", NDArray[Any], "torch.Tensor")

# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx",
    ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
"""What names of pictures end in, in a folder: all of Pillow's formats for photographs and graphics."""

_DIRECT = {"1", "L", "RGB", "CMYK", "YCbCr", "HSV"}
_SIXTEEN_BIT = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_OF_RGB = {"RGB", "RGBA", "RGBa", "P", "PA"}
_TRANSPARENT = {"LA", "La", "PA", "RGBA", "RGBa"}


class ImageError(ValueError):
    """A picture cannot be read, or a folder holds none; the message names it on one line."""


def read_image(source: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Reads a picture as 8-bit RGB.

    The rule: the first frame; EXIF orientation applied; grey becomes three equal channels; palettes are looked up;
    transparency is laid over white, and `info["laid_over"]` of the result says so; of samples wider than 8 bits the
    high byte is kept (what Pillow does for 16-bit colour, so that grey and colour agree); CMYK, YCbCr and HSV by
    Pillow's formulas. Embedded colour profiles are not applied: samples are taken as sRGB. Other modes (floating point,
    LAB, signed and 32-bit integers), and files that Pillow would read wrong, are errors. Metadata that cannot be read
    are not.

    Args:
        source: a path, or a binary file object at the start of the picture.

    Raises:
        ImageError: the file is missing, damaged, of an unknown kind, in a mode outside the rule, or above Pillow's
            limit (``PIL.Image.MAX_IMAGE_PIXELS``: warned about above it, refused above twice that).
    """
    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else getattr(source, "name", "picture")
    if isinstance(source, (str, os.PathLike)) and Path(source).is_fifo():
        source = io.BytesIO(read_input(Path(source)))
    try:
        with _file(source) as file:
            image = opening.load(file)
            return to_rgb(exif.upright(image))
    except MemoryError:
        raise
    except FileNotFoundError:
        raise ImageError(f"cannot read {name}: no such file") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"cannot read {name}: {error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust it.") from None
    except UnidentifiedImageError:
        raise ImageError(f"cannot read {name}: not a picture of a kind that Pillow knows") from None
    except OSError as error:
        raise ImageError(f"cannot read {name}: {error.strerror or ' '.join(str(error).split())}") from error
    except (
        Exception
    ) as error:  # Pillow's parsers raise whatever damaged bytes make them raise: struct.error, SyntaxError, ...
        raise ImageError(f"cannot read {name}: {' '.join(str(error).split()) or type(error).__name__}") from error


def _file(source: str | os.PathLike[str] | IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return Path(source).open("rb") if isinstance(source, (str, os.PathLike)) else nullcontext(source)


def read_metadata(source: str | os.PathLike[str] | IO[bytes]) -> dict[str, bytes]:
    """What a picture's file says beside its pixels, as `metadata_of` does.

    What cannot be read is left out: a picture is worth more than what is said of it.
    """
    with suppress(Exception), _file(source) as file:
        return metadata_of(opening.load(file))
    return {}


def metadata_of(image: Image.Image) -> dict[str, bytes]:
    """By Pillow's names, of an opened picture: `icc_profile` (of RGB colours other than sRGB, for which samples are
    taken anyway), `exif` (without the orientation, which `read_image` applies) and `xmp`; those that can be read."""
    found = {}
    profile, xmp = image.info.get("icc_profile"), image.info.get("xmp")
    if (
        isinstance(profile, bytes)
        and image.mode in _OF_RGB
        and profile[16:20] == b"RGB "
        and profile[36:40] == b"acsp"
        and b"sRGB" not in profile
        and b"s\0R\0G\0B" not in profile
    ):
        found["icc_profile"] = profile
    if isinstance(xmp, bytes) and xmp:
        found["xmp"] = xmp
    with suppress(Exception):
        values = Image.Exif()
        values.load(image.info["exif"] if "exif" in image.info else image.getexif().tobytes())
        values.pop(ExifTags.Base.Orientation, None)
        if values:
            found["exif"] = values.tobytes()
    return found


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened picture as 8-bit RGB, by the rule of `read_image` (orientation aside). Raises `ValueError` for other
    modes."""
    if image.mode in _SIXTEEN_BIT:
        image = _high_byte(image)
    if image.mode in _TRANSPARENT or image.has_transparency_data:
        # Pillow converts premultiplied grey to its plain kind alone.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        rgb.info = {"laid_over": "white"} if rgba.getchannel("A").getextrema() != (255, 255) else {}
        return rgb
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


def to_signal(samples: Samples) -> Samples:
    """Samples on the 0..255 scale, of NumPy or torch, in [-1, 1]: what the networks see. uint8 becomes float32 in
    torch; in NumPy the caller decides."""
    return samples / 127.5 - 1


def to_255(signal: Samples) -> Samples:
    """The inverse of `to_signal`, in floating point: neither rounded nor clipped."""
    return (signal + 1) * 127.5


def array_to_uint8(signal: NDArray[Any]) -> NDArray[np.uint8]:
    """A NumPy array, nominally in [-1, 1], as 8-bit samples, rounded and clipped."""
    samples = to_255(signal)
    return np.clip(np.rint(samples, out=samples), 0, 255, out=samples).astype(np.uint8)


def round_to_255(signal: torch.Tensor) -> torch.Tensor:
    """As `array_to_uint8`, for torch and in the type of `signal`."""
    return to_255(signal).round_().clamp_(0, 255)


def tensor_to_uint8(picture: torch.Tensor) -> NDArray[np.uint8]:
    """`(1, 3, h, w)`, nominally in [-1, 1], to `(h, w, 3)` uint8, rounded and clipped."""
    return np.ascontiguousarray(round_to_255(picture[0]).byte().permute(1, 2, 0).cpu().numpy())


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Lists the pictures under a folder and its subfolders, those whose names end in `SUFFIXES`, by relative path.

    Links to folders are followed, hidden files are passed over. The result may be empty.

    Raises:
        ImageError: `folder` is not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ImageError(f"{folder} is not a folder of pictures")
    found = (
        path
        for path in _below(root)
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _below(root: Path) -> Iterator[Path]:
    """Files of a folder and all below it. Links to folders are followed last, and a folder is searched once: links in a
    circle end, and no picture is there twice."""
    waiting, seen = [root], set()
    while waiting:
        for folder, names, files in os.walk(waiting.pop(0)):
            if (real := os.path.realpath(folder)) in seen:
                names.clear()
                continue
            seen.add(real)
            waiting += [path for name in sorted(names) if (path := Path(folder, name)).is_symlink()]
            yield from (Path(folder, name) for name in files)
