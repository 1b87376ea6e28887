"""What is said of a picture is never a reason to refuse it, and turns it where it can be read."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from helpers import picture_files
from helpers.picture_files import chunk
from PIL import Image

from lit_rnncomp.data import read_image
from lit_rnncomp.formats import exif

GREY = np.full((8, 12), 90)
TURNED = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
MALFORMED = {
    "a negative rational": struct.pack("<HHII", 0x11A, 10, 1, 38),
    "a value beyond the end": struct.pack("<HHII", 0x10F, 2, 5000, 90000),
    "a count without end": struct.pack("<HHII", 0x8769, 4, 0xFFFFFFFF, 0xFFFFFFFF),
    "an unknown type": struct.pack("<HHII", 0x110, 99, 1, 0),
    "text where a number belongs": struct.pack("<HHI4s", 0x11B, 2, 4, b"abc\0"),
    "a directory that is its own child": struct.pack("<HHII", 0x8769, 4, 1, 8),
    "a rational over zero": struct.pack("<HHII", 0x829A, 5, 1, 46),
    "a thumbnail that is not there": struct.pack("<HHII", 0x201, 4, 1, 0xFFFFFF00),
}


def jpeg(*segments: bytes) -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 120, 40)).save(file, "JPEG")
    data = file.getvalue()
    marks = b"".join(b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment for segment in segments)
    return io.BytesIO(data[:2] + marks + data[2:])


def read_png(data: bytes) -> Image.Image:
    return read_image(io.BytesIO(data))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED)
def test_a_portrait_is_turned_whatever_else_is_malformed(value: bytes, first: bool) -> None:
    beyond = struct.pack("<iiII", -1, 1, 1, 0)
    block = picture_files.exif(*([value, TURNED] if first else [TURNED, value]), beyond=beyond)
    assert read_image(jpeg(block)).size == (64, 96)
    assert read_png(picture_files.png(GREY, 8, 0, chunk(b"eXIf", block[6:]))).size == (8, 12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_outside_its_range_is_none(value: int) -> None:
    assert read_image(jpeg(picture_files.exif(struct.pack("<HHIHH", 0x112, 3, 1, value, 0)))).size == (96, 64)


@pytest.mark.parametrize(("order", "kind", "code"), [("<", 3, "H"), (">", 3, "H"), ("<", 4, "I"), (">", 4, "I")])
def test_orientations_of_both_orders_and_sizes(order: str, kind: int, code: str) -> None:
    body = struct.pack(order + code, 8).ljust(4, b"\0")
    assert exif.of_bytes(picture_files.exif(struct.pack(f"{order}HHI", 0x112, kind, 1) + body, order=order)) == 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"noise" * 9])
def test_cut_exif_says_nothing(block: bytes) -> None:
    assert exif.of_bytes(block) is None
    assert read_image(jpeg(block)).size == (96, 64)


HUGE = b"<x>" + b" " * 3_000_000
RANDOM = np.random.default_rng(0).integers(65, 90, 70_000_000, np.uint8).tobytes()
LARGE = {
    "zTXt": chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(HUGE)),
    "compressed iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(HUGE)),
    "plain iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + RANDOM),
    "tEXt": chunk(b"tEXt", b"Comment\0" + RANDOM),
    "many texts": 700 * chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b" " * 1_000_000)),
    "iCCP": chunk(b"iCCP", b"profile\0\0" + zlib.compress(HUGE)),
    "a zTXt of an unknown kind": chunk(b"zTXt", b"Comment\0\7nothing"),
    "a short pHYs": chunk(b"pHYs", b"\0"),
    "a gAMA with a wrong checksum": chunk(b"gAMA", bytes(4))[:-1] + b"!",
}


@pytest.mark.parametrize("behind", [False, True], ids=["before the data", "behind the data"])
@pytest.mark.parametrize("metadata", LARGE.values(), ids=LARGE)
def test_metadata_never_refuse_a_png(metadata: bytes, behind: bool) -> None:
    turned = chunk(b"eXIf", picture_files.exif(TURNED)[6:])
    before, after = ([turned], metadata) if behind else ([turned, metadata], b"")
    picture = read_png(picture_files.png(GREY, 8, 0, *before, after=after))
    assert picture.size == (8, 12) and picture.getpixel((0, 0)) == (90, 90, 90)
