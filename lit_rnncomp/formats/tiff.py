"""TIFF: which files Pillow reads right, which are read here from their samples, and which are refused.

Pillow sees only the tags that say how the pixels are stored: whatever else is wrong in the file is no reason to refuse
the picture.
"""

from __future__ import annotations

import io
import struct
import warnings
from contextlib import suppress

from PIL import Image

from .ifd import ORIENTATION, Directory, read_directory
from .limit import check_size
from .tiff_layout import Photometric, read_layout
from .tiff_samples import OWN, from_samples

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ICC, _XMP, _EXIF_IFD = 34675, 700, 34665

# Width, height, bits, compression, photometric interpretation, fill order, strips, samples, planar configuration,
# fax options, predictor, colour map, tiles, inks, extra samples, sample format, JPEG's tables and parts, YCbCr.
_NEEDED = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339}
_NEEDED |= {347, *range(512, 522), 529, 530, 531, 532}

_FAX, _OLD_JPEG, _JPEG = (2, 3, 4), 6, 7


def decode(data: bytes) -> Image.Image:
    """The first picture of the file, in a mode of 8-bit channels. Raises `ValueError` for one that cannot be read
    right, else what Pillow raises."""
    directory = read_directory(data)
    if directory is None:
        raise ValueError("its first directory of tags is missing")
    layout = read_layout(directory)
    # Many samples, or wide ones, take as much memory as more pixels of eight bytes.
    check_size(layout.width * layout.height * layout.weight)
    # Pillow knows BigTIFF of one byte order only.
    unread = directory.big and directory.order == ">"
    stored = layout.bits == 8 and layout.samples == layout.channels and not unread
    plain = (
        stored
        and layout.photometric in (Photometric.BLACK_IS_ZERO, Photometric.RGB)
        and layout.fill_order == 1
        and not layout.planar
    )
    if layout.compression in OWN and not plain:
        return from_samples(directory, layout)
    is_fax = layout.compression in _FAX and layout.bits == 1 and layout.samples == 1 and not unread
    pillows = (
        plain
        or (stored and layout.compression in (_OLD_JPEG, _JPEG))
        or (is_fax and layout.photometric in (Photometric.WHITE_IS_ZERO, Photometric.BLACK_IS_ZERO))
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
