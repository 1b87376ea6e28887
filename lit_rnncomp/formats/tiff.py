"""TIFF: which files Pillow reads right, which are read here from their samples, and which are refused.

Pillow sees only the tags that say how the pixels are stored: whatever else is wrong in the file is no reason to refuse
the picture.
"""

from __future__ import annotations

import io
import struct
import warnings
from contextlib import suppress
from typing import NamedTuple

from PIL import Image

from .ifd import ORIENTATION, Directory, read_directory
from .limit import check_size
from .tiff_samples import OWN, from_samples

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ICC, _XMP, _EXIF_IFD = 34675, 700, 34665

# Width, height, bits, compression, photometric interpretation, fill order, strips, samples, planar configuration,
# fax options, predictor, colour map, tiles, inks, extra samples, sample format, JPEG's tables and parts, YCbCr.
_NEEDED = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339}
_NEEDED |= {347, *range(512, 522), 529, 530, 531, 532}

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_CHANNELS = {
    _WHITE_IS_ZERO: 1,
    _BLACK_IS_ZERO: 1,
    _RGB: 3,
    _PALETTE: 1,
    _CMYK: 4,
    _YCBCR: 3,
    _LAB: 3,
    _ICCLAB: 3,
}
_FAX, _OLD_JPEG, _JPEG = (2, 3, 4), 6, 7


class Layout(NamedTuple):
    """How the pixels of a TIFF file are stored, by its tags; `bits` of each sample; `alpha` is the place of the channel
    that says how opaque a pixel is, None without one."""

    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    compression: int
    predictor: int
    fill_order: int
    planar: bool
    tiles: bool
    alpha: int | None
    premultiplied: bool

    @property
    def channels(self) -> int:
        """Samples of a pixel that are colours."""
        return _CHANNELS[self.photometric]


def decode(data: bytes) -> Image.Image:
    """The first picture of the file, in a mode of 8-bit channels. Raises `ValueError` for one that cannot be read
    right, else what Pillow raises."""
    directory = read_directory(data)
    if directory is None:
        raise ValueError("its first directory of tags is missing")
    layout = _layout(directory)
    check_size(layout.width * layout.height)
    # Pillow knows BigTIFF of one byte order only.
    unread = directory.big and directory.order == ">"
    stored = layout.bits == 8 and layout.samples == layout.channels and not unread
    plain = stored and layout.photometric in (_BLACK_IS_ZERO, _RGB) and layout.fill_order == 1 and not layout.planar
    if layout.compression in OWN and not plain:
        return from_samples(directory, layout)
    is_fax = layout.compression in _FAX and layout.bits == 1 and layout.samples == 1 and not unread
    pillows = (
        plain
        or (stored and layout.compression in (_OLD_JPEG, _JPEG))
        or (is_fax and layout.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO))
    )
    if not pillows:
        raise ValueError(
            f"TIFF of {layout.bits} bits, photometric interpretation {layout.photometric} and compression "
            f"{layout.compression} has no rule; convert the picture first"
        )
    with Image.open(io.BytesIO(_bare(directory)), formats=["TIFF"]) as image:
        image.load()
        return image


def metadata(data: bytes) -> dict[str, bytes]:
    """`icc_profile` and `xmp`, where they are, and `exif`: what is not about how pixels are stored, and the
    orientation, as an Exif block."""
    directory = read_directory(data)
    if directory is None:
        return {}
    found = {"icc_profile": directory.bytes(_ICC), "xmp": directory.bytes(_XMP).rstrip(b"\0")}
    block = Image.Exif()
    block[ORIENTATION] = directory.orientation
    found["exif"] = block.tobytes()
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data), formats=["TIFF"])
        exif = image.getexif()
        exif.get_ifd(_EXIF_IFD)
        for tag in {*_NEEDED, _ICC, _XMP, 254, 255, 330, 33723, 34377}:
            exif.pop(tag, None)
        exif[ORIENTATION] = directory.orientation
        found["exif"] = exif.tobytes()
    return {name: value for name, value in found.items() if value}


def _layout(directory: Directory) -> Layout:
    def one(tag: int, default: int | None = None) -> int:
        values = directory.integers(tag)
        if values:
            return values[0]
        if default is None or tag in directory.entries:
            raise ValueError(f"its tag {tag} is missing or damaged")
        return default

    width, height, photometric, samples = one(256), one(257), one(262), one(277, 1)
    if photometric not in _CHANNELS:
        raise ValueError(f"TIFF's photometric interpretation {photometric} has no rule; convert the picture first")
    if not width or not height or not 1 <= samples <= 64:
        raise ValueError(f"it claims {width}x{height} pixels of {samples} samples")
    if 50706 in directory.entries or (one(254, 0) & 1 and 330 in directory.entries):
        raise ValueError("its first picture is a preview of another one; convert the picture first")
    if one(332, 1) != 1 and photometric == _CMYK:
        raise ValueError("its inks are not cyan, magenta, yellow and black")
    bits = directory.integers(258) or (1,)
    if len(set(bits)) > 1:
        raise ValueError(f"its samples have {', '.join(map(str, bits))} bits; convert the picture first")
    formats = set(directory.integers(339)) or {1}
    if not formats <= {1, 4} and photometric not in (_LAB, _ICCLAB):
        kind = "floating-point" if formats & {3, 6} else "signed" if formats & {2, 5} else "unknown"
        raise ValueError(f"its samples are {kind} numbers, of which no range is known; convert the picture first")
    extra = directory.integers(338)
    channels = _CHANNELS[photometric]
    if samples < channels:
        raise ValueError(f"{samples} samples a pixel are too few for photometric interpretation {photometric}")
    if not extra and photometric == _RGB and samples == 4:
        extra = (2,)  # as old programs leave it
    # 999 is Corel Draw's for 2.
    opaque = [index for index, kind in enumerate(extra[: samples - channels]) if kind in (1, 2, 999)]
    return Layout(
        width,
        height,
        bits[0],
        samples,
        photometric,
        one(259, 1),
        one(317, 1),
        one(266, 1),
        one(284, 1) == 2 and samples > 1,
        322 in directory.entries,
        channels + opaque[0] if opaque else None,
        bool(opaque) and extra[opaque[0]] == 1,
    )


def _bare(directory: Directory) -> bytes:
    """The file with a directory at its end that has only the tags about pixels, and no other picture after it."""
    data, order = directory.data, directory.order
    data += bytes(-len(data) % 2)
    kept = sorted(set(directory.entries) & _NEEDED)
    step = 20 if directory.big else 12
    entries = b"".join(data[directory.entries[tag].entry : directory.entries[tag].entry + step] for tag in kept)
    if directory.big:
        listed = struct.pack(f"{order}Q", len(kept)) + entries + bytes(8)
        return data[:8] + struct.pack(f"{order}Q", len(data)) + data[16:] + listed
    listed = struct.pack(f"{order}H", len(kept)) + entries + bytes(4)
    return data[:4] + struct.pack(f"{order}I", len(data)) + data[8:] + listed
