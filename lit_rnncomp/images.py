"""Pictures from files, by one written rule, and the scales of their samples: the codec, the training and the evaluation
all see the same pixels."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .files import read_input
from .formats import colour, exif, opening

if TYPE_CHECKING:
    import torch

Samples = TypeVar("Samples", NDArray[Any], "torch.Tensor")

# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx",
    ".pam", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
"""What names of pictures end in, in a folder: all of Pillow's formats for photographs and graphics."""

_AS_RGB = {"P", "RGB", "RGBX", "YCbCr", "HSV"}
_OF_RGB = {"RGB", "RGBA", "RGBa", "P", "PA"}
_SIXTEEN_BIT = {"I", "I;16", "I;16L", "I;16B", "I;16N"}
_TRANSPARENT = {"LA", "La", "PA", "RGBA", "RGBa"}
_WIDE_FILES = {"PNG", "PPM"}
"""Formats whose mode I holds samples of 0..65535; of others, and in memory, it is anyone's guess."""
_FRAMES = {"AVIF", "DCX", "FLI", "GIF", "PNG", "TIFF", "WEBP"}
"""Formats with frames or pages: what Pillow calls frames in others are layers, sizes or iterations."""
_SUBFILE, _NO_PAGE, _MOST_PAGES = 254, 1 | 4, 256
"""A TIFF directory's tag and its bits of reduced pictures and of masks; directories that are looked at."""


class ImageError(ValueError):
    """A picture cannot be read, or a folder holds none; the message names it on one line."""


class Photograph(NamedTuple):
    """What a picture's file holds: `colours` (8-bit RGB), how opaque they are (`L`, of the same size; None where all
    is), and what is said of them, by Pillow's names: `icc_profile` (of RGB other than sRGB, for which samples are
    taken anyway), `exif` and `xmp`, both without the orientation, which is applied: whether that made a difference says
    `turned`. `more`: it is the first of several frames or pages."""

    colours: Image.Image
    alpha: Image.Image | None
    metadata: dict[str, bytes]
    turned: bool = False
    more: bool = False

    def over_white(self) -> Image.Image:
        """The picture laid over white, 8-bit RGB; `info["laid_over"]` says so where it makes a difference."""
        if self.alpha is None:
            return self.colours
        rgba = self.colours.copy()
        rgba.putalpha(self.alpha)
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        rgb.info = {"laid_over": "white"}
        return rgb

    def beside_alpha(self) -> Image.Image:
        """The colours that are stored beside an alpha channel: white where nothing is seen of them."""
        if self.alpha is None:
            return self.colours
        white = Image.new("RGB", self.colours.size, "white")
        return Image.composite(self.colours, white, self.alpha.point([0] + 255 * [255]))


def read_photograph(source: str | os.PathLike[str] | IO[bytes]) -> Photograph:
    """Reads a picture.

    The rule: the first frame; orientation applied, by Exif or else XMP; grey becomes three equal channels; palettes
    are looked up; samples of less than 8 bits are stretched to 0..255, of more the high byte is kept (what Pillow
    does for 16-bit colour, so that grey and colour agree). Grey, CMYK and L*a*b* become sRGB by their colour
    profile, without one (and YCbCr, HSV) by Pillow's formulas, YCbCr of TIFF by that of its file; profiles of RGB
    are not applied, but handed on: samples are taken as sRGB. What would be a guess is an error: floating-point and
    signed samples, other photometric interpretations, and files that Pillow would read wrong. Metadata that cannot
    be read, or are larger than 16 MiB, are left out.

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
            data = file.read()
        return photograph_of(opening.load(io.BytesIO(data)))._replace(more=_has_more(io.BytesIO(data)))
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


def read_image(source: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """Reads a picture as 8-bit RGB, by the rule of `read_photograph`; transparency is laid over white, and
    `info["laid_over"]` of the result says so. Raises `ImageError`."""
    return read_photograph(source).over_white()


def read_metadata(source: str | os.PathLike[str]) -> dict[str, bytes]:
    """What a picture's file says beside its pixels, as in `Photograph`; nothing where it cannot be read."""
    with suppress(Exception):
        return read_photograph(source).metadata
    return {}


def photograph_of(image: Image.Image) -> Photograph:
    """Of an opened picture, by the rule of `read_photograph`. Raises `ValueError` for other modes, or for no pixels."""
    if 0 in image.size:
        raise ValueError(f"a picture of {image.width}x{image.height} has no pixels")
    profile = image.info.get("icc_profile")
    colours, alpha = _parts(image)
    turned = exif.orientation(image)
    metadata = metadata_of(image)
    if isinstance(profile, bytes):
        colours = colour.to_srgb(colours, profile)
    rgb = exif.turn((colour.lab_to_srgb(colours) if colours.mode == "LAB" else colours).convert("RGB"), turned)
    rgb.info = {}  # no stale Exif orientation or palette key travels on
    return Photograph(rgb, None if alpha is None else exif.turn(alpha, turned), metadata, turned != 1)


def metadata_of(image: Image.Image) -> dict[str, bytes]:
    """What is said of an opened picture, as in `Photograph`; what cannot be read is left out."""
    found = {}
    profile, xmp, block = (image.info.get(name) for name in ("icc_profile", "xmp", "exif"))
    if isinstance(profile, bytes) and image.mode in _OF_RGB and colour.differs_from_srgb(profile):
        found["icc_profile"] = profile
    if isinstance(xmp, bytes) and xmp:
        found["xmp"] = exif.upright_xmp(xmp)
    if block is None:
        with suppress(Exception):
            block = image.getexif().tobytes()
    if isinstance(block, bytes) and (upright := exif.upright_bytes(block)):
        found["exif"] = upright
    return found


def open_photograph(image: Image.Image) -> Photograph:
    """Of a picture of Pillow's: one that has not been decoded yet is read as its file is, any other by its mode. Raises
    `ValueError` for other modes, or for no pixels."""
    return photograph_of(opening.again(image))._replace(more=_is_first_of_more(image))


def _is_first_of_more(image: Image.Image) -> bool:
    file = getattr(image, "fp", None)
    if not getattr(image, "is_animated", False) or image.format not in _FRAMES or image.tell() != 0:
        return False
    if image.format != "TIFF" or file is None:
        return True
    at = file.tell()
    try:
        return _has_more(file)
    finally:
        file.seek(at)


def _has_more(file: IO[bytes]) -> bool:
    """Whether a picture's file has frames or pages beyond the first."""
    with suppress(Exception), warnings.catch_warnings():  # what is wrong beyond the first is no matter
        warnings.simplefilter("ignore")
        image = Image.open(file)
        if image.format in _FRAMES and getattr(image, "is_animated", False):
            return image.format != "TIFF" or _has_pages(image)
    return False


def _has_pages(image: Any) -> bool:
    """Whether two directories of an opened TIFF file are pages: not reduced copies, and not masks. Raises `EOFError` at
    the last one."""
    pages = 0
    for page in range(_MOST_PAGES):
        image.seek(page)
        pages += not image.tag_v2.get(_SUBFILE, 0) & _NO_PAGE
        if pages > 1:
            return True
    return False


def _parts(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colours in mode L, RGB, CMYK or LAB, and the alpha channel of a picture that is not opaque everywhere."""
    if image.mode == "I" and image.format not in _WIDE_FILES:
        raise ValueError(
            'mode I says nothing of the range of its samples: convert("L") if it is 0..255, convert("I;16") if 0..65535'
        )
    if image.mode in _SIXTEEN_BIT:
        image = _high_byte(image)
    if image.mode in _TRANSPARENT or image.has_transparency_data:
        # Pillow converts premultiplied grey to its plain kind alone.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = rgba.getchannel("A")
        colours = rgba.convert("RGB").getchannel("R") if image.mode in ("LA", "La", "L") else rgba.convert("RGB")
        return colours, None if alpha.getextrema() == (255, 255) else alpha
    if image.mode == "1":
        return image.convert("L"), None
    if image.mode in ("L", "CMYK", "LAB"):
        return image, None
    if image.mode not in _AS_RGB:
        raise ValueError(f"mode {image.mode} has no rule for 8-bit RGB; convert the picture first")
    return image.convert("RGB"), None


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
