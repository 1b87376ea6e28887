"""Formats in which Pillow writes a picture: by a name's ending, and whether they hold it as it is."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import Output, OutputError, is_stdout, is_stream, write_bytes

if TYPE_CHECKING:
    from PIL import Image

_ALONE = {".pbm": "black and white", ".pfm": "floating-point numbers", ".pgm": "grey", ".bw": "grey"}
"""Of endings that promise less than their format holds: what they stand for."""
_USE = "use .png, .tif, .webp, .jp2 or .jpg"


def picture_format(path: str | Path, grey: bool = False) -> str:
    """The format in which Pillow writes a picture of this name: PNG on standard output, and on devices and pipes whose
    names have no ending.

    Args:
        path: the name.
        grey: whether the picture is grey; in colour without it.

    Raises:
        OutputError: Pillow does not know the ending, or only reads it, or writes no colour in it or not every size; or
            the ending stands for less than the picture has; or a package is missing.
    """
    from PIL import Image, UnidentifiedImageError

    suffix = Path(path).suffix.lower()
    if is_stdout(path) or (not suffix and is_stream(path)):
        return "PNG"
    if suffix in _ALONE and not (grey and is_grey_ending(path)):
        raise OutputError(f"cannot write {path}: {suffix} is for {_ALONE[suffix]} alone; {_USE}")
    if suffix == ".jxl":
        _import_jpeg_xl(path)
    name = Image.registered_extensions().get(suffix, "")
    probe, size = io.BytesIO(), (40, 24)
    try:
        Image.new("RGB", size).save(probe, name)
    except Exception as error:  # a format may lack its writer, a library or the mode, and says so in its own way
        raise OutputError(
            f"cannot write {path}: Pillow writes no picture format for the ending {suffix!r}; use .png"
        ) from error
    # Of formats that Pillow only writes there is nothing to compare.
    with suppress(UnidentifiedImageError), Image.open(probe) as written:
        if written.size != size:
            raise OutputError(f"cannot write {path}: {name} holds pictures of its own sizes alone; {_USE}")
    return name


def is_grey_ending(path: str | Path) -> bool:
    """Whether the name's ending stands for one channel."""
    return _ALONE.get(Path(path).suffix.lower()) == "grey"


def _import_jpeg_xl(path: str | Path) -> None:
    """Raises `OutputError` where the package is missing by which Pillow writes JPEG XL."""
    try:
        import pillow_jxl  # noqa: F401  # adds itself to Pillow
    except ImportError as error:
        package = "pillow-jxl-plugin"
        raise OutputError(f"cannot write {path}: this needs the package {package}: pip install {package}") from error


def write_picture(target: str | Path | Output, picture: Image.Image, kind: str, **options: Any) -> int:
    """Write a picture in one of Pillow's formats; how many bytes it has.

    It is encoded in memory first: Pillow, given a file, takes a write that was cut short by a full disk for a whole
    one. Raises `OutputError` for a picture that the format does not hold.
    """
    encoded = io.BytesIO()
    try:
        picture.save(encoded, kind, **options)
    except MemoryError:
        raise
    except Exception as error:  # of what does not fit Pillow's writers raise struct.error, OverflowError, RuntimeError
        path = target.path if isinstance(target, Output) else target
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OutputError(
            f"cannot write {path}: {kind} of {picture.width}x{picture.height} pixels: {reason}"
        ) from error
    write_bytes(target, encoded.getvalue())
    return len(encoded.getvalue())
