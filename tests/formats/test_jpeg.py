"""JPEG files with much, or damaged, beside the picture."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers.picture_files import exif, segment
from PIL import Image

from lit_rnncomp.images import ImageError, read_photograph

XMP = b"http://ns.adobe.com/xap/1.0/\0"
TURNED = exif(struct.pack("<HHIHH", 0x112, 3, 1, 6, 0), struct.pack("<HHI4s", 0x110, 2, 3, b"ab"))
LARGE = {
    "many segments of every kind": b"".join(segment(0xE1 + n % 13, bytes(60_000)) for n in range(400)),
    "many comments": segment(0xFE, b"x" * 65_000) * 300,
    "many Exif blocks": segment(0xE1, b"Exif\0\0" + b"x" * 60_000) * 400,
    "many XMP packets": segment(0xE1, XMP + b"<x/>" * 15_000) * 400,
    "a cut Photoshop block": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\xff\xff\xff\xff"),
    "a damaged list of pictures": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    "a part of a profile": segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(500)),
}


def jpeg(image: Image.Image, *segments: bytes) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=100, subsampling=0)
    data = file.getvalue()
    return io.BytesIO(data[:2] + b"".join(segments) + data[2:])


@pytest.mark.parametrize("extra", LARGE.values(), ids=LARGE)
def test_metadata_never_refuse_a_jpeg(extra: bytes) -> None:
    image = Image.new("RGB", (24, 16), (9, 99, 199))
    photograph = read_photograph(jpeg(image, segment(0xE1, TURNED), extra))
    assert photograph.colours.size == (16, 24)
    assert np.abs(np.asarray(photograph.colours).astype(int) - (9, 99, 199)).max() <= 2
    assert "icc_profile" not in photograph.metadata


def test_what_is_said_is_kept_but_for_the_orientation() -> None:
    packet = b"<x:xmpmeta tiff:Orientation='6'/>"
    image = Image.new("RGB", (24, 16))
    kept = read_photograph(jpeg(image, segment(0xE1, TURNED), segment(0xE1, XMP + packet))).metadata
    assert kept["xmp"] == packet.replace(b"6", b"1")
    values = Image.Exif()
    values.load(kept["exif"])
    assert dict(values) == {0x112: 1, 0x110: "ab"}
    # XMP turns it where Exif does not say.
    assert read_photograph(jpeg(image, segment(0xE1, XMP + packet))).colours.size == (16, 24)


@pytest.mark.parametrize("mark", [True, False], ids=["marked by Adobe", "unmarked"])
def test_inks(mark: bool) -> None:
    file = jpeg(Image.new("CMYK", (24, 16), (0, 255, 255, 0)))
    if not mark:
        data = file.getvalue()
        at = data.index(b"\xff\xee")
        file = io.BytesIO(data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :])
    expected = (255, 0, 0) if mark else (0, 0, 0)  # Adobe's are inverted: without its mark, 0 is no ink
    got = np.asarray(read_photograph(file).colours)[0, 0].astype(int)
    assert mark == (np.abs(got - expected).max() <= 3), got


def test_samples_of_12_bits_are_named() -> None:
    data = bytearray(jpeg(Image.new("RGB", (24, 16))).getvalue())
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="its samples have 12 bits, which Pillow does not read"):
        read_photograph(io.BytesIO(data))
