"""TIFF files of every depth and layout, written by hand."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from helpers.picture_files import tiff
from PIL import Image

from lit_rnncomp.images import ImageError, read_image, read_photograph

WIDTH, HEIGHT = 21, 13


def samples(bits: int, each: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 2**bits, (HEIGHT, WIDTH, each), dtype=np.uint64)


def scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """Of the range, by division, in 0..255; above 8 bits the high byte."""
    if bits > 8:
        return (values // 2 ** (bits - 8)).astype(np.uint8)
    return np.rint(values.astype(float) / (2**bits - 1) * 255).astype(np.uint8)


def read(data: bytes) -> np.ndarray:
    return np.asarray(read_image(io.BytesIO(data)))


LAYOUTS = {
    "plain": {},
    "big-endian": {"order": ">"},
    "strips": {"rows_per_strip": 4},
    "tiles": {"tile": (16, 16)},
    "reversed bits": {"fill_order": 2},
    "deflate": {"compression": 8},
    "packbits": {"compression": 32773, "rows_per_strip": 5},
    "lzma": {"compression": 34925},
    "lzw": {"compression": 5, "tile": (16, 16)},
    "BigTIFF": {"big": True, "order": ">"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 32])
def test_grey_of_every_depth(bits: int, layout: str) -> None:
    values = samples(bits, 1)
    shown = scaled(values, bits)
    np.testing.assert_array_equal(read(tiff(values, bits, 1, **LAYOUTS[layout])), np.repeat(shown, 3, 2))
    # 0 is white: the same picture, dark and light exchanged.
    np.testing.assert_array_equal(read(tiff(values, bits, 0, **LAYOUTS[layout])), np.repeat(255 - shown, 3, 2))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8, 10, 12, 14, 16, 32])
def test_colour_of_every_depth(bits: int, planar: bool, layout: str) -> None:
    values = samples(bits, 3)
    data = tiff(values, bits, 2, planar=planar, **LAYOUTS[layout])
    np.testing.assert_array_equal(read(data), scaled(values, bits))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_differences_are_added_up(bits: int, order: str, planar: bool) -> None:
    values = samples(bits, 3)
    data = tiff(values, bits, 2, planar=planar, order=order, predictor=2, compression=8)
    np.testing.assert_array_equal(read(data), scaled(values, bits))


@pytest.mark.parametrize("short", [False, True], ids=["16-bit map", "8-bit map"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_are_looked_up(bits: int, short: bool) -> None:
    values = samples(bits, 1)
    colours = np.random.RandomState(1).randint(0, 256, (3, 2**bits))
    colours[0, 0] = 255
    data = tiff(values, bits, 3, extra={320: tuple(map(int, (colours * (1 if short else 257)).ravel()))})
    np.testing.assert_array_equal(read(data), colours.T[values[..., 0].astype(int)])


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [1, 2])
def test_extra_samples(photometric: int, bits: int, planar: bool) -> None:
    colours = 1 if photometric == 1 else 3
    values = samples(bits, colours + 2)
    shown = np.broadcast_to(scaled(values[..., :colours], bits), (HEIGHT, WIDTH, 3))
    # Of an unknown meaning: left out.
    data = tiff(values, bits, photometric, planar=planar, extra={338: (0, 0)})
    np.testing.assert_array_equal(read(data), shown)
    # The second is how opaque a pixel is.
    data = tiff(values, bits, photometric, planar=planar, extra={338: (0, 2)})
    photograph = read_photograph(io.BytesIO(data))
    alpha = scaled(values[..., -1], bits)
    np.testing.assert_array_equal(np.asarray(photograph.alpha), alpha)
    np.testing.assert_array_equal(np.asarray(photograph.colours), shown)
    over = 255 + (shown.astype(float) - 255) * alpha[..., None] / 255
    assert np.abs(read(data) - over).max() < 1


@pytest.mark.parametrize("bits", [8, 16])
def test_associated_alpha_is_divided_out(bits: int) -> None:
    alpha = samples(bits, 1)
    values = np.concatenate([(samples(bits, 3, 1) * alpha) >> bits, alpha], axis=2)
    shown = 255 - scaled(alpha, bits).astype(float) + scaled(values[..., :3], bits)
    assert np.abs(read(tiff(values, bits, 2, extra={338: (1,)})) - shown).max() <= 1.5


@pytest.mark.parametrize("bits", [8, 16])
def test_inks(bits: int) -> None:
    values = samples(bits, 4)
    expected = np.asarray(Image.frombytes("CMYK", (WIDTH, HEIGHT), scaled(values, bits).tobytes()).convert("RGB"))
    for planar in (False, True):
        np.testing.assert_array_equal(read(tiff(values, bits, 5, planar=planar)), expected)
    with pytest.raises(ImageError, match="inks are not cyan, magenta, yellow and black"):
        read(tiff(values, bits, 5, extra={332: (2,)}))


def srgb(lab: tuple[float, float, float]) -> np.ndarray:
    """By the formulas of the CIE and of IEC 61966-2-1; from D50 by Bradford's matrix."""
    fy = (lab[0] + 16) / 116
    f = np.array([fy + lab[1] / 500, fy, fy - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.033454],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = np.clip(np.array(matrix) @ xyz, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9])
def test_lab_becomes_srgb(photometric: int, bits: int) -> None:
    for lightness, a, b in ((255, 0, 0), (0, 0, 0), (128, 0, 0), (153, 40, 20), (128, -30, 35), (90, 10, -30)):
        stored = np.array([lightness, a % 256, b % 256] if photometric == 8 else [lightness, a + 128, b + 128])
        values = np.broadcast_to(stored << (bits - 8), (HEIGHT, WIDTH, 3))
        shown = read(tiff(values, bits, photometric))
        assert np.abs(shown[0, 0] - srgb((lightness / 2.55, a, b))).max() <= 3, (lightness, a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": {339: (2,)}}, "signed numbers"),
        ({"extra": {339: (3,)}, "bits": 32}, "floating-point numbers"),
        ({"extra": {339: (3,)}, "bits": 16}, "floating-point numbers"),
        ({"bits": 24}, "24 bits"),
        ({"photometric": 32803}, "photometric interpretation 32803"),
        ({"photometric": 4, "bits": 1}, "photometric interpretation 4"),
        ({"photometric": 10, "each": 3}, "photometric interpretation 10"),
        ({"photometric": 2, "each": 2}, "too few"),
        ({"photometric": 2, "each": 3, "extra": {258: (5, 6, 5)}}, "5, 6, 5 bits"),
        ({"photometric": 3, "extra": {320: (1, 2, 3)}}, "colour map has 3 values"),
        ({"bits": 12, "predictor": 2}, "predictor 2 for 12 bits"),
        ({"extra": {50706: (1,)}}, "preview of another"),
        ({"bits": 12, "extra": {257: (40,), 278: (40,)}}, "cut"),
        ({"bits": 12, "extra": {259: (50000,)}}, "compression 50000"),
    ],
)
def test_what_cannot_be_read_right_is_refused(options: dict, message: str) -> None:
    bits, photometric = options.pop("bits", 8), options.pop("photometric", 1)
    values = samples(min(bits, 16), options.pop("each", 1))
    with pytest.raises(ImageError, match=message) as error:
        read(tiff(values, bits, photometric, **options))
    assert "\n" not in str(error.value)


def test_32_bit_samples_of_unknown_range_are_refused() -> None:
    with pytest.raises(ImageError, match="at most 70000, so that their range is unknown"):
        read(tiff(np.array([[[0], [70000]]]), 32, 1))


def test_a_file_that_is_cut_is_no_black_picture() -> None:
    data = tiff(samples(12, 1), 12, 1)
    with pytest.raises(ImageError):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_orientation_is_applied_once(orientation: int, turn: int, bits: int) -> None:
    values = samples(bits, 1)
    expected = np.rot90(np.repeat(scaled(values, bits), 3, 2), turn)
    np.testing.assert_array_equal(read(tiff(values, bits, 1, extra={274: (orientation,)})), expected)
    np.testing.assert_array_equal(
        np.asarray(read_image(io.BytesIO(tiff(values, bits, 1, extra={274: (9,)})))), np.rot90(expected, -turn)
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_other_tags_are_no_reason_to_refuse(bits: int) -> None:
    values = samples(bits, 3)
    broken = {
        282: (2, 5, b"wide\0"),  # a resolution in words
        283: (10, 1, struct.pack("<ii", -1, 0)),
        306: (3, 1, b"\1\0"),
        700: (7, 40_000_000, b"\0\0\0\0"),  # beyond the end
        34675: (7, 5, b"short"),
        34665: (4, 1, b"\xff\xff\xff\x7f"),
        40000: (99, 1, b"\0\0\0\0"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = read(tiff(values, bits, 2, raw=broken, extra={274: (6,)}))
    np.testing.assert_array_equal(shown, np.rot90(scaled(values, bits), 3))


def test_the_first_of_several_pictures() -> None:
    file = io.BytesIO()
    first, second = (Image.new("RGB", (9, 7), colour) for colour in ("red", "blue"))
    first.save(file, "TIFF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read(file.getvalue()), np.asarray(first))


@pytest.mark.parametrize("compression", ["jpeg", "group4", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_compressions_that_pillow_writes(compression: str) -> None:
    mode = "1" if compression == "group4" else "RGB"
    image = Image.fromarray(samples(8, 3).astype(np.uint8)).resize((40, 40)).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF", compression=compression, **({"quality": 100} if compression == "jpeg" else {}))
    difference = read(file.getvalue()).astype(int) - np.asarray(image.convert("RGB"))
    assert np.abs(difference).mean() < (10 if compression == "jpeg" else 1e-9)


def test_the_pixel_limit_holds_for_samples_read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match="exceeds limit of 1000 pixels.*MAX_IMAGE_PIXELS"):
        read(tiff(samples(12, 1), 12, 1, extra={256: (50_000,), 257: (50_000,)}))


@pytest.mark.parametrize("claim", ["samples", "tile"])
def test_memory_is_bounded_by_the_limit_however_it_is_claimed(claim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    extra = {277: (60,), 258: (16,) * 60} if claim == "samples" else {322: (1 << 20,), 323: (1 << 20,)}
    data = tiff(samples(16, 1), 16, 1, compression=8, extra=extra, tile=None if claim == "samples" else (16, 16))
    with pytest.raises(ImageError, match="exceeds limit of 1000 pixels"):
        read(data)


def test_a_small_first_page_is_taken_for_a_preview_where_another_page_follows() -> None:
    data = bytearray(tiff(samples(8, 1), 8, 1, extra={254: (1,)}))
    assert read(bytes(data)).shape[2] == 3
    data[-4:] = b"\x08\0\0\0"  # the place of the next directory
    with pytest.raises(ImageError, match="its first picture is a preview of another one"):
        read(bytes(data))
