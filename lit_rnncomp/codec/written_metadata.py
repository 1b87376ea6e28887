"""Metadata of a decoded picture as options of Pillow's writers, each in the way that its format can hold it."""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..formats.ifd import ORIENTATION, read_directory

_JPEG = {"JPEG", "MPO"}
_PROFILE = {"JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "PDF"}
_EXIF = {"JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF", "JXL", "HEIF"}
_XMP = {"JPEG", "MPO", "WEBP", "AVIF", "HEIF"}
_XMP_TAG = 700
_SEGMENT = 65533
"""Bytes of Exif or XMP that a JPEG holds, with their names."""
_EXIF_PREFIX = b"Exif\0\0"

_SAID: frozenset[int] = frozenset({
    ExifTags.Base.DocumentName, ExifTags.Base.ImageDescription, ExifTags.Base.Make, ExifTags.Base.Model,
    ExifTags.Base.Orientation, ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software, ExifTags.Base.DateTime, ExifTags.Base.Artist, ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright, ExifTags.Base.Rating, ExifTags.Base.RatingPercent, ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment, ExifTags.Base.XPAuthor, ExifTags.Base.XPKeywords, ExifTags.Base.XPSubject,
    ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo,
})  # fmt: skip
"""Tags of an Exif block that say something of a picture. A TIFF file has them beside its own, which say how its pixels
are stored: those of another file would be believed."""
_DIRECTORIES: dict[int, dict[int, str]] = {ExifTags.IFD.Exif: ExifTags.TAGS, ExifTags.IFD.GPSInfo: ExifTags.GPSTAGS}
"""Tags that hold tags, and the names of those."""


def options_for(info: dict[str | tuple[int, int], Any], kind: str) -> tuple[dict[str, Any], list[str]]:
    """Options of Pillow's writer for what is known of a picture, and names of what the format does not hold."""
    profile, exif, xmp = (info.get(name) for name in ("icc_profile", "exif", "xmp"))
    options: dict[str, Any] = {}
    tags: dict[int, Any] = {}
    lost: list[str] = []
    if profile and kind in _PROFILE:
        options["icc_profile"] = profile
    elif profile:
        lost.append("colour profile")
    if exif and kind == "TIFF":
        tags, unwritten = _tiff_tags(exif)
        lost += unwritten
    elif exif and (block := _exif(exif, kind)):
        options["exif"] = block
    elif exif:
        lost.append("Exif")
    if xmp and kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    elif xmp and kind == "TIFF":
        tags[_XMP_TAG] = xmp
    elif xmp and kind in _XMP and (kind not in _JPEG or len(xmp) <= _SEGMENT - 29):
        options["xmp"] = xmp
    elif xmp:
        lost.append("XMP")
    return options | ({"tiffinfo": tags} if tags else {}), lost


def _exif(block: bytes, kind: str) -> bytes:
    """An Exif block as Pillow's writer hands it on, whatever is in it; empty where the format holds none or the writer
    takes it for none."""
    if kind == "AVIF":
        return _for_avif(block)
    if kind in _JPEG:
        block = _EXIF_PREFIX + block.removeprefix(_EXIF_PREFIX)
        return block if len(block) <= _SEGMENT else b""
    return block if kind in _EXIF else b""


def _for_avif(block: bytes) -> bytes:
    """Without the orientation of an upright picture: Pillow would write the block anew, and stop at a malformed tag."""
    body = block.removeprefix(_EXIF_PREFIX)
    directory = read_directory(body)
    if directory is not None and not directory.big and ORIENTATION in directory.entries and directory.orientation == 1:
        at, order = directory.entries[ORIENTATION].entry, directory.order
        (start,) = struct.unpack_from(f"{order}I", body, 4)
        (count,) = struct.unpack_from(f"{order}H", body, start)
        end = start + 2 + 12 * count + 4
        listed = struct.pack(f"{order}H", count - 1) + body[start + 2 : at] + body[at + 12 : end] + bytes(12)
        block = body[:start] + listed + body[end:]
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = Image.Exif()
        said.load(block)
        if ORIENTATION in said:
            said.tobytes()
        return block
    return b""


def _tiff_tags(block: bytes) -> tuple[dict[int, Any], list[str]]:
    """What of an Exif block goes into a TIFF file's directory, and names of what does not: what Pillow cannot read, or
    cannot write, as a value of a wrong type."""
    said = Image.Exif()
    unwritten: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            said.load(block)
        except Exception:  # no block of tags
            return {}, ["Exif"]
        values = {tag: _value(said, tag) for tag in sorted(_SAID & set(said))}
        for group, names in _DIRECTORIES.items():
            inner, lost = _writable(values.get(group) or {}, names, group)
            values |= {group: inner} if inner else {}
            unwritten += lost
        kept, lost = _writable(values, ExifTags.TAGS)
    return kept, [f"Exif {name}" for name in unwritten + lost]


def _value(said: Image.Exif, tag: int) -> Any:
    """A tag's value, of a directory its tags; None for what cannot be read. Texts that TIFF knows are bytes: Pillow
    would write them as ASCII."""
    with suppress(Exception):
        if tag not in _DIRECTORIES:
            value = said[tag]
            is_text = isinstance(value, str) and TiffTags.lookup(tag).type == TiffTags.ASCII
            return value.encode("latin-1") if is_text else value
        values = dict(said.get_ifd(tag))
        if ExifTags.IFD.Interop in values:
            values[ExifTags.IFD.Interop] = said.get_ifd(ExifTags.IFD.Interop)
        return values or None
    return None


def _writable(
    values: dict[int, Any], names: dict[int, str], group: int | None = None
) -> tuple[dict[int, Any], list[str]]:
    """The tags that Pillow writes as they are, and the names of the others."""
    kept = {tag: value for tag, value in values.items() if _is_writable(tag, value, group)}
    return kept, [names.get(tag, str(tag)) for tag in values if tag not in kept]


def _is_writable(tag: int, value: Any, group: int | None) -> bool:
    directory = ImageFileDirectory_v2(group=group)
    try:
        directory[tag] = value
        directory.tobytes()
    except Exception:  # of a wrong type or range: struct.error, TypeError, AttributeError, ...
        return False
    return not isinstance(value, str) or value.isascii()
