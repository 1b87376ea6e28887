"""Decoded pictures to files: with what is known of them, and next to nothing lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from ..files import Output, OutputError
from ..picture_formats import is_grey_ending, picture_format, write_picture
from .written_metadata import options_for

_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 95, "subsampling": 0},
    "PDF": {"quality": 95},
    "WEBP": {"lossless": True},
    "JXL": {"lossless": True},
    "JPEG2000": {"irreversible": False},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
}
"""Of formats that lose something by themselves, what loses least; the others lose nothing, or have no choice."""

_SIDES = {
    "AVIF": 32768,
    "GIF": 65535,
    "JPEG": 65500,
    "MPO": 65500,
    "PCX": 65534,
    "PDF": 65500,
    "SGI": 65535,
    "TGA": 65535,
    "WEBP": 16383,
}
"""Pixels of the longest side that a format holds; of AVIF, that libavif reads."""

_LOSSY = {"JPEG", "MPO", "PDF", "AVIF", "HEIF", "GIF"}
_ALPHA = {"PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "JXL", "HEIF", "TGA"}
_CODESTREAMS = {".j2k", ".j2c", ".jpc"}
"""Endings of JPEG 2000 without a box around it."""


def format_for(target: str, width: int, height: int, grey: bool) -> str:
    """Pillow's format for a picture of this name, size and colours. Raises `OutputError` where it holds no such one."""
    kind = picture_format(target, grey)
    limit = _SIDES.get(kind)
    if limit is not None and max(width, height) > limit:
        raise OutputError(
            f"cannot write {target}: {kind} holds {limit} pixels a side, not {width}x{height}; use .png or .tif"
        )
    return kind


def save(image: Image.Image, target: str | Path | Output, kind: str) -> tuple[int, list[str]]:
    """Writes a decoded picture as Pillow's format `kind`, with the metadata in its `info` that the format holds.

    Returns its bytes, and notes for the person who asked for it, each a line: that the format loses something, or what
    it cannot hold. Raises `OutputError` where it cannot hold the picture.
    """
    path = target.path if isinstance(target, Output) else target
    options, lost = options_for(image.info, kind)
    if Path(path).suffix.lower() in _CODESTREAMS:
        options["no_jp2"] = True
    flattened = []
    if image.mode == "RGBA" and kind not in _ALPHA:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        flattened = [f"{kind} holds no transparency here: laid over white"]
    if is_grey_ending(path):
        image = image.convert("L")
    size = write_picture(target, image, kind, **_OPTIONS.get(kind, {}), **options)
    notes = [f"{kind} is a lossy format: something is lost once more; .png keeps every pixel"] if kind in _LOSSY else []
    if lost:
        notes.append(f"{kind} holds no {' and no '.join(lost)} here: left out")
    return size, notes + flattened
