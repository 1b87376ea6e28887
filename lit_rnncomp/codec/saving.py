"""Decoded pictures to files: with what is known of them, and next to nothing lost on the way."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ..files import Output, write_picture

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

_LOSSY = {"JPEG", "MPO", "PDF", "AVIF", "HEIF", "GIF", "ICO", "ICNS"}
_PROFILE = {"JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF", "JXL", "HEIF", "PDF"}
_EXIF = {"JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF", "JXL", "HEIF"}
_XMP = {"JPEG", "MPO", "WEBP", "AVIF", "HEIF"}
_ALPHA = {"PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "JXL", "HEIF", "TGA", "ICO", "ICNS"}
_XMP_TAG = 700
_SEGMENT = 65533
"""Bytes of Exif or XMP that a JPEG holds, with their names."""


def save(image: Image.Image, target: str | Path | Output, kind: str) -> tuple[int, list[str]]:
    """Writes a decoded picture as Pillow's format `kind`, with the metadata in its `info` that the format holds.

    Returns its bytes, and notes for the person who asked for it, each a line: that the format loses something, or what
    it cannot hold.
    """
    options: dict[str, Any] = dict(_OPTIONS.get(kind, {}))
    profile, exif, xmp = (image.info.get(name) for name in ("icc_profile", "exif", "xmp"))
    lost = []
    if profile:
        if kind in _PROFILE:
            options["icc_profile"] = profile
        else:
            lost.append("colour profile")
    if exif:
        if kind in _EXIF and (kind != "JPEG" or len(exif) <= _SEGMENT):
            options["exif"] = exif
        else:
            lost.append("Exif")
    if xmp:
        if kind == "PNG":
            options["pnginfo"] = PngImagePlugin.PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        elif kind == "TIFF":
            options["tiffinfo"] = {_XMP_TAG: xmp}
        elif kind in _XMP and (kind != "JPEG" or len(xmp) <= _SEGMENT - 29):
            options["xmp"] = xmp
        else:
            lost.append("XMP")
    if kind == "TIFF" and exif:
        # Pillow takes tags from one place alone.
        values = Image.Exif()
        with suppress(Exception):
            values.load(exif)
        if xmp:
            values[_XMP_TAG] = options.pop("tiffinfo")[_XMP_TAG]
        options["exif"] = values
    flattened = []
    if image.mode == "RGBA" and kind not in _ALPHA:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        flattened = [f"{kind} holds no transparency here: laid over white"]
    size = write_picture(target, image, kind, **options)
    notes = [f"{kind} is a lossy format: something is lost once more; .png keeps every pixel"] if kind in _LOSSY else []
    if lost:
        notes.append(f"{kind} holds no {' and no '.join(lost)} here: left out")
    return size, notes + flattened
