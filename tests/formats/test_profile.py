"""Colours that a file describes by numbers, or in a place that Pillow does not look at, are kept as a profile."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers import profiles
from helpers.picture_files import chunk, png
from PIL import Image, features

from lit_rnncomp.formats import colour, profile
from lit_rnncomp.images import ImageError, read_photograph

COLOURS = np.random.RandomState(0).randint(0, 256, (4, 6, 3)).astype(np.uint8)
P3 = [0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06]
GAMMA_1, GAMMA_22 = (chunk(b"gAMA", struct.pack(">I", value)) for value in (100000, 45455))


def kept(data: bytes) -> bytes | None:
    return read_photograph(io.BytesIO(data)).metadata.get("icc_profile")


def seen(made: bytes | None, level: tuple[int, int, int]) -> list[int]:
    """A colour by a profile, in sRGB."""
    assert made is not None
    return np.asarray(colour.rgb_to_srgb(Image.new("RGB", (1, 1), level), made))[0, 0].tolist()


def rgb(*extra: bytes) -> bytes:
    return png(COLOURS.reshape(4, -1), 8, 2, *extra)


def chromaticities(values: list[float]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(100000 * value) for value in values)))


def test_a_profile_of_primaries_means_their_colours() -> None:
    image = Image.fromarray(COLOURS)
    shown = np.asarray(colour.rgb_to_srgb(image, profile.of_code_points(12, 13) or b""))
    np.testing.assert_array_equal(shown, np.asarray(colour.rgb_to_srgb(image, profiles.display_p3())))
    assert not colour.differs_from_srgb(profile.build(profile.BT709))


@pytest.mark.parametrize("code", [(1, 13), (1, 1), (2, 2)])
def test_what_is_shown_as_srgb_needs_no_profile(code: tuple[int, int]) -> None:
    assert profile.of_code_points(*code) is None


@pytest.mark.parametrize(
    ("code", "message"), [((9, 16), r"dynamic range \(PQ\)"), ((9, 18), "HLG"), ((22, 13), "22"), ((1, 9), "9")]
)
def test_what_no_screen_shows_is_refused(code: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        profile.of_code_points(*code)


@pytest.mark.parametrize("points", [[0.3, 0, *P3[2:]], [*P3[:2], *[0.3, 0.3] * 3]])
def test_primaries_that_are_no_colours(points: list[float]) -> None:
    with pytest.raises(ValueError, match="no colours"):
        profile.build(profile.Chromaticities(*zip(points[::2], points[1::2], strict=True)))
    assert kept(rgb(chromaticities(points))) is None


def test_primaries_and_gamma_of_a_png() -> None:
    assert seen(kept(rgb(GAMMA_1)), (55, 55, 55)) == [128, 128, 128]
    assert seen(kept(rgb(chromaticities(P3))), (150, 80, 20)) == seen(profiles.display_p3(), (150, 80, 20))
    assert kept(rgb(GAMMA_22)) is None
    assert kept(rgb(GAMMA_1, chunk(b"sRGB", b"\0"))) is None
    assert kept(rgb(chunk(b"cICP", bytes([12, 13, 0, 1])), GAMMA_1)) == profile.of_code_points(12, 13)
    assert kept(rgb(chunk(b"gAMA", bytes(4)), chunk(b"cHRM", b"cut"), chunk(b"cICP", b"\1"))) is None


def test_gamma_of_a_grey_png_is_applied() -> None:
    photograph = read_photograph(io.BytesIO(png(np.full((2, 3), 55), 8, 0, GAMMA_1)))
    assert photograph.colours.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(("said", "message"), [((9, 16, 0, 1), "dynamic range"), ((1, 13, 0, 0), "full range")])
def test_a_png_of_other_samples_is_refused(said: tuple[int, ...], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_photograph(io.BytesIO(rgb(chunk(b"cICP", bytes(said)))))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_colours_of_an_avif() -> None:
    file = io.BytesIO()
    Image.fromarray(COLOURS).resize((48, 32)).save(file, "AVIF")
    data = file.getvalue()
    at = data.index(b"colrnclx") + 8
    assert kept(data) is None
    said = {code: data[:at] + struct.pack(">HH", *code) + data[at + 4 :] for code in ((12, 13), (9, 16))}
    assert kept(said[12, 13]) == profile.of_code_points(12, 13)
    with pytest.raises(ImageError, match="dynamic range"):
        read_photograph(io.BytesIO(said[9, 16]))


def test_the_profile_of_a_bmp() -> None:
    p3 = profiles.display_p3()
    body = np.pad(COLOURS[::-1, :, ::-1].reshape(4, -1), ((0, 0), (0, 2))).tobytes()
    head = struct.pack("<IiiHHIIiiII", 124, 6, 4, 1, 24, 0, len(body), 2835, 2835, 0, 0) + bytes(16)
    head += b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(body), len(p3), 0)
    data = b"BM" + struct.pack("<IHHI", 138 + len(body) + len(p3), 0, 0, 138) + head + body + p3
    photograph = read_photograph(io.BytesIO(data))
    np.testing.assert_array_equal(np.asarray(photograph.colours), COLOURS)
    assert photograph.metadata["icc_profile"] == p3


def test_the_profile_of_a_jpeg_2000() -> None:
    p3, file = profiles.display_p3(), io.BytesIO()
    Image.fromarray(COLOURS).save(file, "JPEG2000")
    data = file.getvalue()
    at = data.index(b"colr") - 4
    box = struct.pack(">I", 11 + len(p3)) + b"colr" + b"\2\0\0" + p3
    grown = len(box) - int.from_bytes(data[at : at + 4], "big")
    start = data.index(b"jp2h") - 4
    size = int.from_bytes(data[start : start + 4], "big") + grown
    data = data[:start] + struct.pack(">I", size) + data[start + 4 : at] + box + data[at + len(box) - grown :]
    assert kept(data) == p3
