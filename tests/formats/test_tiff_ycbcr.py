"""TIFF's YCbCr colours without JPEG: subsampled or not, by every formula that a file may give."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers.picture_files import tiff
from PIL import Image

from lit_rnncomp.images import ImageError, read_image

WIDTH, HEIGHT = 21, 13
JPEG = ((0.299, 0.587, 0.114), (0, 255, 128, 255, 128, 255))
BT709 = ((0.2126, 0.7152, 0.0722), (0, 255, 128, 255, 128, 255))
VIDEO = ((0.299, 0.587, 0.114), (16, 235, 128, 240, 128, 240))


def read(data: bytes) -> np.ndarray:
    return np.asarray(read_image(io.BytesIO(data))).astype(int)


def colours(across: int, down: int, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Luma of every pixel, and chroma of every block, `(rows, columns, 2)`."""
    random = np.random.RandomState(across + 10 * down)
    luma = random.randint(2 ** (bits - 2), 3 * 2 ** (bits - 2), (HEIGHT, WIDTH))
    return luma, random.randint(2**bits // 3, 2 * 2**bits // 3, (-(-HEIGHT // down), -(-WIDTH // across), 2))


def units(luma: np.ndarray, chroma: np.ndarray, across: int, down: int) -> np.ndarray:
    """The data units of TIFF 6.0, section 21, a row of them after the other; what is outside the picture is noise."""
    rows, columns = chroma.shape[:2]
    padded = np.full((rows * down, columns * across), 77)
    padded[:HEIGHT, :WIDTH] = luma
    out = []
    for row in range(rows):
        line = []
        for column in range(columns):
            block = padded[row * down : (row + 1) * down, column * across : (column + 1) * across]
            line += [*block.ravel(), *chroma[row, column]]
        out.append(line)
    return np.array(out)[..., None]


def rationals(values: tuple[float, ...], order: str) -> tuple[int, int, bytes]:
    parts = [part for value in values for part in (round(value * 10000), 10000)]
    return 5, len(values), struct.pack(f"{order}{len(parts)}I", *parts)


def file(across: int, down: int, bits: int = 8, formula=None, cosited=False, strip=None, tile=None, **options) -> bytes:
    """`strip`: rows of units in each; `tile`: rows and columns of units."""
    luma, chroma = colours(across, down, bits)
    said = {256: (WIDTH,), 257: (HEIGHT,), 258: (bits,) * 3, 277: (3,), 530: (across, down), 531: (1 + cosited,)}
    size = across * down + 2
    if tile:
        said |= {322: (tile[1] * across,), 323: (tile[0] * down,)}
        options["tile"] = tile[0], tile[1] * size
    else:
        said |= {278: (strip * down if strip else HEIGHT,)}
        options["rows_per_strip"] = strip or len(chroma)
    order = options.get("order", "<")
    raw = {529: rationals(formula[0], order), 532: rationals(formula[1], order)} if formula else {}
    return tiff(units(luma, chroma, across, down), bits, 6, extra=said, raw=raw, **options)


def rgb(luma: np.ndarray, chroma: np.ndarray, formula=JPEG) -> np.ndarray:
    """Of chroma for each pixel, by the equations of TIFF 6.0, section 21."""
    (red, green, blue), levels = formula
    y = (luma - levels[0]) * 255 / (levels[1] - levels[0])
    cb = (chroma[..., 0] - levels[2]) * 127 / (levels[3] - levels[2])
    cr = (chroma[..., 1] - levels[4]) * 127 / (levels[5] - levels[4])
    r, b = cr * (2 - 2 * red) + y, cb * (2 - 2 * blue) + y
    return np.clip(np.stack([r, (y - blue * b - red * r) / green, b], -1), 0, 255)


def of_blocks(across: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    luma, chroma = colours(across, down)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return luma, chroma[y // down, x // across]


FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2), (4, 4), (2, 4), (1, 4)]
LAYOUTS = {
    "plain": {},
    "big-endian": {"order": ">"},
    "strips": {"strip": 2},
    "tiles": {"tile": (4, 4)},
    "reversed bits": {"fill_order": 2},
    "deflate": {"compression": 8, "strip": 2},
    "packbits": {"compression": 32773},
    "lzw": {"compression": 5, "tile": (4, 4)},
    "BigTIFF": {"big": True, "order": ">"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("across", "down"), FACTORS)
def test_chroma_is_that_of_its_block(across: int, down: int, layout: str) -> None:
    got = read(file(across, down, **LAYOUTS[layout]))
    assert np.abs(got - rgb(*of_blocks(across, down))).max() <= 1.01


@pytest.mark.parametrize(("across", "down"), [(2, 1), (1, 2), (2, 2), (4, 4)])
def test_libtiff_sees_the_same(across: int, down: int) -> None:
    data = file(across, down, compression=8)
    with Image.open(io.BytesIO(data)) as image:
        assert np.abs(read(data) - np.asarray(image.convert("RGB"))).max() <= 2


@pytest.mark.parametrize("formula", [JPEG, BT709, VIDEO], ids=["JPEG", "BT.709", "video levels"])
@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 2)])
def test_formulas_are_those_of_the_file(across: int, down: int, formula) -> None:
    got = read(file(across, down, formula=formula))
    assert np.abs(got - rgb(*of_blocks(across, down), formula)).max() <= 1.01
    if formula != JPEG:
        assert np.abs(got - rgb(*of_blocks(across, down))).max() > 5


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("across", "down"), [(2, 1), (1, 2), (2, 2), (4, 4)])
def test_chroma_on_the_first_pixel_is_interpolated(across: int, down: int, bits: int) -> None:
    luma, chroma = (values / 2 ** (bits - 8) for values in colours(across, down, bits))
    y, x = np.arange(HEIGHT), np.arange(WIDTH)
    wide = np.stack([[np.interp(x, np.arange(len(row)) * across, row) for row in chroma[..., k]] for k in (0, 1)], -1)
    full = np.stack(
        [[np.interp(y, np.arange(len(wide)) * down, column) for column in wide[..., k].T] for k in (0, 1)], -1
    ).transpose(1, 0, 2)
    # Rounded twice, and of 16 bits the high byte is kept.
    assert np.abs(read(file(across, down, bits, cosited=True)) - rgb(luma, full)).max() <= (3 if bits == 8 else 5)


def test_16_bits() -> None:
    luma, chroma = (values / 256 for values in colours(2, 2, 16))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    assert np.abs(read(file(2, 2, 16)) - rgb(luma, chroma[y // 2, x // 2])).max() <= 4


def test_what_is_not_subsampled_is_as_pillow_has_it() -> None:
    values = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH, 3))
    expected = Image.frombytes("YCbCr", (WIDTH, HEIGHT), values.astype(np.uint8).tobytes()).convert("RGB")
    np.testing.assert_array_equal(read(tiff(values, 8, 6, extra={530: (1, 1)})), np.asarray(expected))


def test_two_by_two_is_the_default() -> None:
    said = file(2, 2)
    unsaid = said.replace(struct.pack("<HHI", 530, 3, 2), struct.pack("<HHI", 533, 3, 2))  # a tag of no meaning
    assert unsaid != said
    np.testing.assert_array_equal(read(unsaid), read(said))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: tiff(np.zeros((HEIGHT, WIDTH, 3)), 8, 6), "does not say how its YCbCr colours are subsampled"),
        (lambda: tiff(np.zeros((HEIGHT, WIDTH, 3)), 8, 6, compression=8), "does not say how its YCbCr colours are"),
        (lambda: tiff(np.zeros((HEIGHT, WIDTH, 3)), 8, 6, planar=True, extra={530: (2, 2)}), "have no rule"),
        (lambda: tiff(np.zeros((HEIGHT, WIDTH, 4)), 8, 6, extra={530: (2, 2)}), "have no rule"),
        (lambda: tiff(np.zeros((HEIGHT, WIDTH, 3)), 8, 6, extra={530: (3, 1)}), r"subsampled by \(3, 1\)"),
        (lambda: tiff(np.zeros((HEIGHT, WIDTH, 3)), 8, 6, extra={530: (2,)}), r"subsampled by \(2,\)"),
        (lambda: file(2, 2, formula=((1, 0, 0), JPEG[1])), "has no inverse"),
        (lambda: file(2, 2, formula=(JPEG[0], (0, 0, 128, 255, 128, 255))), "has no inverse"),
        (lambda: file(2, 2, formula=(JPEG[0], (0, 255))), "tag 532 is damaged"),
        (lambda: file(2, 2, predictor=2, compression=8), "predictor 2 have no rule"),
        (lambda: file(2, 2)[:200], "cut|missing"),
    ],
)
def test_what_has_no_rule_is_refused(data, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        read(data())
    assert "\n" not in str(error.value)
