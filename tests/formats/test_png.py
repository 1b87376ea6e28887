"""PNG files of every depth, and whatever else stands in them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from helpers import profiles
from helpers.picture_files import chunk, exif, png
from PIL import Image, ImageCms

from lit_rnncomp.images import ImageError, read_image, read_photograph

HEIGHT, WIDTH = 6, 9


def read(data: bytes) -> np.ndarray:
    return np.asarray(read_image(io.BytesIO(data)))


def shown(values: np.ndarray, bits: int) -> np.ndarray:
    if bits == 16:
        return values // 256
    return np.rint(values * 255 / (2**bits - 1)).astype(int)


@pytest.mark.parametrize("garbage", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_white_at_every_depth(bits: int, garbage: bool) -> None:
    values = np.random.RandomState(bits).randint(0, 2**bits, (HEIGHT, WIDTH))
    values[0, :3] = [1, 0, 2**bits - 1]
    if bits == 16:
        values[1, :3] = [0x1234, 0x1235, 0x1134]
    colour = 0x1234 if bits == 16 else 1
    # Of the two bytes only the low bits count.
    key = (colour | (0xFF00 if garbage and bits < 16 else 0)).to_bytes(2, "big")
    expected = np.where(values == colour, 255, shown(values, bits))
    np.testing.assert_array_equal(read(png(values, bits, 0, trns=key)), np.repeat(expected[..., None], 3, 2))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_white_at_every_depth(bits: int) -> None:
    values = np.random.RandomState(bits).randint(0, 2**bits, (HEIGHT, WIDTH, 3))
    values[0] = key = values[0, 0]
    values[0, 1:4] ^= np.eye(3, dtype=int)  # next to the colour, which in 16 bits the high bytes do not show
    expected = np.where((values == key).all(2, keepdims=True), 255, shown(values, bits))
    data = png(values.reshape(HEIGHT, -1), bits, 2, trns=np.array(key, ">u2").tobytes())
    np.testing.assert_array_equal(read(data), expected)
    photograph = read_photograph(io.BytesIO(data))
    assert np.asarray(photograph.alpha)[0].tolist() == [0, 255, 255, 255] + [0] * 5
    np.testing.assert_array_equal(np.asarray(photograph.colours), shown(values, bits))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_transparent_entries_of_a_palette_at_every_depth(bits: int) -> None:
    values = np.random.RandomState(bits).randint(0, 2**bits, (HEIGHT, WIDTH))
    palette = np.random.RandomState(1).randint(0, 255, (2**bits, 3))
    expected = palette[values]
    expected[values == 1] = 255
    plte = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    np.testing.assert_array_equal(read(png(values, bits, 3, plte, trns=b"\xff\0")), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [4, 6])
def test_alpha_channels(colour: int, bits: int) -> None:
    each = {4: 2, 6: 4}[colour]
    values = np.random.RandomState(bits).randint(0, 2**bits, (HEIGHT, WIDTH, each))
    photograph = read_photograph(io.BytesIO(png(values.reshape(HEIGHT, -1), bits, colour)))
    np.testing.assert_array_equal(np.asarray(photograph.alpha), shown(values[..., -1], bits))
    np.testing.assert_array_equal(
        np.asarray(photograph.colours), np.broadcast_to(shown(values[..., :-1], bits), (HEIGHT, WIDTH, 3))
    )
    # A transparent colour has no place beside it.
    data = png(values.reshape(HEIGHT, -1), bits, colour, trns=b"\0\1")
    assert read_photograph(io.BytesIO(data)).alpha == photograph.alpha


GREY = np.full((64, 64), 128)
MUCH = b"<x>" + b" " * 30_000_000
PACKED = zlib.compress(MUCH)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + PACKED),
        chunk(b"zTXt", b"Comment\0\0" + PACKED),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + PACKED),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + PACKED),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + MUCH),
        chunk(b"tEXt", b"Comment\0" + MUCH),
        chunk(b"tEXt", b"Comment\0" + b"x" * 900_000) * 80,
        chunk(b"iCCP", b"huge\0\0" + PACKED),
        chunk(b"iCCP", b"no profile\0\0" + zlib.compress(b"nothing")),
        chunk(b"iCCP", b"damaged\0\0" + b"\1\2\3"),
        chunk(b"iCCP", b"no end"),
        chunk(b"eXIf", MUCH),
        chunk(b"eXIf", b""),
        chunk(b"eXIf", b"\x89PNG"),
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b""),
        chunk(b"cHRM", b"\0" * 3),
        chunk(b"tIME", b""),
        chunk(b"tEXt", b"damaged")[:-1] + b"\0",
        chunk(b"acTL", b""),
        chunk(b"fcTL", b"short"),
        chunk(b"vpAg", b"somebody's own"),
    ],
    ids=lambda extra: extra[4:24],
)
def test_metadata_are_no_reason_to_refuse(extra: bytes) -> None:
    photograph = read_photograph(io.BytesIO(png(GREY, 8, 0, extra)))
    assert photograph.colours.getextrema() == ((128, 128),) * 3 and photograph.colours.size == (64, 64)
    assert sum(map(len, photograph.metadata.values())) < 1000


def test_what_is_said_of_a_picture_is_found_wherever_it_stands() -> None:
    block = exif(struct.pack("<HHIHH", 0x112, 3, 1, 6, 0), struct.pack("<HHI4s", 0x110, 2, 3, b"ab"))
    hexadecimal = b"\nexif\n      42\n" + block.hex().encode()
    xmp = b"<x:xmpmeta tiff:Orientation='6'/>"
    for extra in (
        chunk(b"eXIf", block[6:]),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexadecimal)),
        chunk(b"tEXt", b"Raw profile type APP1\0" + hexadecimal),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(xmp)),
    ):
        photograph = read_photograph(io.BytesIO(png(GREY[:, :32], 8, 0, extra)))
        assert photograph.colours.size == (64, 32)
        kept = photograph.metadata
        if "exif" in kept:
            stored = Image.Exif()
            stored.load(kept["exif"])
            assert dict(stored) == {0x112: 1, 0x110: "ab"}
        else:
            assert kept["xmp"] == xmp.replace(b"6", b"1")


def test_profiles() -> None:
    wide = profiles.display_p3()
    colours = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH * 3))

    def metadata(profile: bytes, colour: int = 2) -> dict[str, bytes]:
        packed = chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))
        rows = colours if colour == 2 else colours[:, :WIDTH]
        photograph = read_photograph(io.BytesIO(png(rows, 8, colour, packed)))
        np.testing.assert_array_equal(
            np.asarray(photograph.colours), np.broadcast_to(rows.reshape(HEIGHT, WIDTH, -1), (HEIGHT, WIDTH, 3))
        )
        return dict(photograph.metadata)

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert metadata(wide) == {"icc_profile": wide}
    # What a profile is called does not matter.
    assert metadata(wide + b"sRGB") == {"icc_profile": wide + b"sRGB"}
    assert metadata(srgb) == {} and metadata(srgb.replace(b"s\0R\0G\0B", b"x\0y\0z\0!")) == {}
    assert metadata(wide, colour=0) == {}  # of colours, for a grey picture
    assert metadata(wide[:200]) == {} and metadata(bytes(500)) == {}


@pytest.mark.parametrize("size", [8, 12, 25])
def test_a_beginning_without_a_picture_is_said_to_be_cut(size: int) -> None:
    with pytest.raises(ImageError, match="it ends before its picture begins"):
        read(png(np.zeros((2, 3), int), 8, 0)[:size])
