"""Pictures to files of ternary codes and back."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from helpers import ternary_models
from helpers.files import assembled, ends
from PIL import Image

from lit_rnncomp.codec import container
from lit_rnncomp.codec.container import Binary, BitstreamError, Chunk, Header, Ternary
from lit_rnncomp.codec.ms_ssim import Similarity
from lit_rnncomp.codec.rate import RateError
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.codec.ternary_picture import FINEST, Picture
from lit_rnncomp.models import lapped

CODEC = ternary_models.codec()
PHOTO = ternary_models.picture(96, 136)


def psnr(picture, truth) -> float:
    error = np.square(np.asarray(picture, float) - np.asarray(truth, float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def levels(data: bytes, codec=CODEC) -> np.ndarray:
    *_, state = codec._states(container.parse(data), None, False)
    return state.after


def loudest(coefficient: int) -> np.ndarray:
    """The picture of 40x40 whose middle block has the largest coefficient that there can be."""
    unit = np.zeros((5, 5, 192))
    unit[2, 2, coefficient] = 1
    samples = unit.reshape(-1, 192) @ lapped.block_basis()
    planes = samples.reshape(5, 5, 3, 8, 8).transpose(0, 3, 1, 4, 2).reshape(40, 40, 3)
    lapped._filter(planes, lapped.butterfly().T, first=4)
    return np.where(planes > 0, 255, 0).astype(np.uint8)


def test_the_loudest_pictures_keep_their_codes() -> None:
    """Weighted and scaled, coefficients of saturated stripes would exceed what eleven digits can say."""
    for coefficient in (1, 2, 9, 8, 64, 73, 129):
        picture = loudest(coefficient)
        qualities = [psnr(CODEC.decode(CODEC.encode(picture, step=step)), picture) for step in (1023, 1535, 2047, 2559)]
        assert qualities == sorted(qualities), "no coefficient is clipped"
        data = CODEC.encode(picture, step=2047)
        decoded = levels(data).astype(float) * 2048 / 2**7
        layout = container.parse_header(data)[0].layout
        x = lapped.analysis(picture) * lapped.coefficient_weights()[1] * 2 ** (layout.scale / 256)
        assert np.abs(decoded - x).max() < 2 * 2048 / 2**7
        assert 2048 < np.abs(x).max() < 4096


FLAT = np.pad(PHOTO[:24, :24], ((40, 8), (8, 40), (0, 0)), constant_values=90)


@pytest.mark.parametrize(("image", "step"), [(PHOTO, 1900), (PHOTO[:16, :24], 2300), (FLAT, 1600)])
def test_truncation_never_exceeds_the_limit_and_uses_what_it_may(image: np.ndarray, step: int) -> None:
    whole = CODEC.encode(image, step=step)
    before = 0
    with pytest.raises(ValueError, match="29 bytes are too few for the first codes"):
        CODEC.truncate(whole, max_bytes=29)
    for budget in np.linspace(60, len(whole), 60).astype(int):
        data = CODEC.truncate(whole, max_bytes=budget)
        assert before <= len(data) <= budget, "more room never gives less"
        assert CODEC.decode(data).size == (image.shape[1], image.shape[0])
        before = len(data)
    assert CODEC.truncate(whole, max_bytes=len(whole)) == whole == CODEC.truncate(whole, bpp=100)


@pytest.mark.parametrize(("image", "step"), [(PHOTO, 1900), (FLAT, 1600)])
def test_a_cut_file_is_cut_where_the_whole_one_would_be(image: np.ndarray, step: int) -> None:
    whole = CODEC.encode(image, step=step)
    for first in np.linspace(0.5, 0.99, 9) * len(whole):
        once = CODEC.truncate(whole, max_bytes=int(first))
        for second in np.linspace(0.4, 1, 6) * first:
            assert CODEC.truncate(once, max_bytes=int(second)) == CODEC.truncate(whole, max_bytes=int(second))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bpp": 1, "psnr": 30}, "give one of bpp, .* not bpp and psnr"),
        ({"bpp": 0}, "bpp=0 is not a positive number"),
        ({"bpp": math.nan}, "bpp=nan"),
        ({"bpp": math.inf}, "bpp=inf"),
        ({"max_bytes": -1}, "bytes=-1"),
        ({"psnr": math.nan}, "nan dB of PSNR is no number"),
        ({"psnr": math.inf}, "inf dB of PSNR is no number"),
        ({"ms_ssim": 0}, "ms_ssim=0 is not positive"),
        ({"ms_ssim": math.inf}, "inf dB of MS-SSIM is no number"),
        ({"ms_ssim": 0.9}, "MS-SSIM needs 161 pixels a side, the picture has 136x96"),
        ({"quality": 0}, r"quality=0 is outside 1\.\.100"),
        ({"quality": 101}, r"quality=101 is outside 1\.\.100"),
        ({"tune": "loud"}, "tune='loud' is not one of psnr, visual"),
        ({"step": -1}, r"step=-1 is outside 0\.\.2815"),
        ({"step": 2816}, r"step=2816 is outside 0\.\.2815"),
    ],
)
def test_arguments_outside_their_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        CODEC.encode(PHOTO, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "give exactly one"),
        ({"bpp": 1, "iterations": 1}, "give exactly one"),
        ({"iterations": 0}, "iterations=0 is not a positive number"),
        ({"iterations": 99}, r"iterations=99: the file holds 1\.\.7"),
        ({"max_bytes": 0}, "bytes=0"),
        ({"bpp": math.inf}, "bpp=inf"),
    ],
)
def test_limits_outside_their_range_are_named(limits: dict[str, Any], message: str) -> None:
    data = CODEC.encode(PHOTO, step=1900)
    for cut in (CODEC.truncate, container.cut):
        with pytest.raises(ValueError, match=message):
            cut(data, **limits)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (9, 7), (40, 3), (64, 32), (33, 70)])
def test_any_size_comes_back_at_its_size(size: tuple[int, int]) -> None:
    image = ternary_models.picture(*size)
    data = CODEC.encode(image, step=1800)
    assert CODEC.decode(data).size == (size[1], size[0])
    assert psnr(CODEC.decode(data), image) > 22
    pictures = list(CODEC.decode_progressive(data))
    assert [picture.size for picture in pictures] == [(size[1], size[0])] * len(pictures)
    assert pictures[-1] == CODEC.decode(data)


def test_the_decoder_knows_what_the_encoder_knew() -> None:
    for tune in ("psnr", "visual"):
        picture = Picture(CODEC, PHOTO, tune)
        for step in (0, 255, 256, 1500, 2815):
            encoded = picture.encode(step)
            np.testing.assert_array_equal(levels(encoded.data), encoded.state.after)
            drawn = CODEC.draw(container.parse(encoded.data), encoded.state)
            np.testing.assert_array_equal(np.asarray(CODEC.decode(encoded.data)), drawn)


def test_iterations_are_prefixes_and_get_better() -> None:
    data = CODEC.encode(PHOTO, step=2200)
    pictures = list(CODEC.decode_progressive(data))
    qualities = [psnr(picture, PHOTO) for picture in pictures]
    assert qualities[2:] == sorted(qualities[2:]) and qualities[-1] > 30
    for count, picture in enumerate(pictures, 1):
        prefix = CODEC.truncate(data, iterations=count)
        assert data.startswith(prefix)
        assert CODEC.decode(prefix) == CODEC.decode(data, iterations=count) == picture
    for wrong in (0, len(pictures) + 1):
        with pytest.raises(ValueError, match=f"iterations={wrong}: the file holds 1..{len(pictures)}"):
            CODEC.decode(data, iterations=wrong)


def test_every_part_of_an_iteration_makes_the_picture_better() -> None:
    """What an iteration that ended early did not reach stays as it was before."""
    whole = CODEC.encode(PHOTO, step=1900)
    last = container.parse(whole).chunks[-1]
    start = len(whole) - last.size
    qualities = [
        psnr(CODEC.decode(CODEC.truncate(whole, max_bytes=size)), PHOTO) for size in np.linspace(start, len(whole), 12)
    ]
    assert qualities[-1] > qualities[0] + 0.5
    assert min(np.diff(qualities)) > -0.3


def test_partial_files_give_the_intact_prefix() -> None:
    data = CODEC.encode(PHOTO, step=1900)
    places = ends(*container.parse(data)[1:])
    pictures = list(CODEC.decode_progressive(data))
    for count in (1, len(pictures) - 1):
        damaged = data[: places[count]] + bytes([data[places[count]] ^ 1]) + data[places[count] + 1 :]
        with pytest.raises(BitstreamError, match=r"\(use partial=True\)"):
            CODEC.decode(damaged)
        assert CODEC.decode(damaged, partial=True) == pictures[count - 1]
        assert list(CODEC.decode_progressive(damaged, partial=True)) == pictures[:count]
        for cut in (CODEC.truncate, container.cut):
            assert cut(damaged, iterations=count) == data[: places[count]]
        with pytest.raises(BitstreamError):
            CODEC.truncate(damaged, max_bytes=len(data) - 1)
    # A chunk that is whole, and no range coder's output.
    header, _, chunks = container.parse(data)
    wrong = assembled(header, [*chunks[:-1], chunks[-1]._replace(payload=chunks[-1].payload + b"\x55" * 40)])
    with pytest.raises(BitstreamError, match="goes on after its last code"):
        CODEC.decode(wrong)
    assert CODEC.decode(wrong, partial=True) == pictures[-2]


@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_rates_are_met_and_never_exceeded(tune: Any) -> None:
    filled = []
    for bpp in (0.1, 0.25, 0.5, 1, 2, 4):
        data = CODEC.encode(PHOTO, bpp=bpp, tune=tune)
        filled.append(len(data) / (bpp * 96 * 136 / 8))
        assert CODEC.decode(data).size == (136, 96)
    assert max(filled) <= 1 and min(filled) > 0.94 and np.mean(filled) > 0.98
    for budget in (200, 1000, 3001):
        assert 0.85 * budget < len(CODEC.encode(PHOTO, max_bytes=budget, tune=tune)) <= budget
    finest = CODEC.encode(PHOTO, step=FINEST, tune=tune)
    assert CODEC.encode(PHOTO, bpp=100, tune=tune) == finest


def test_a_rate_that_no_file_meets_is_named() -> None:
    smallest = len(CODEC.encode(PHOTO, step=0))
    with pytest.raises(RateError, match=rf"31 bytes are too few: the smallest file of this picture has {smallest} by"):
        CODEC.encode(PHOTO, max_bytes=smallest - 1)
    assert len(CODEC.encode(PHOTO, max_bytes=smallest)) == smallest


@pytest.mark.parametrize("target", [20, 24.5, 28, 31, 33.3])
@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_psnr_is_reached_and_hardly_exceeded(target: float, tune: Any) -> None:
    picture = np.asarray(CODEC.decode(CODEC.encode(PHOTO, psnr=target, tune=tune)))
    assert target <= psnr(picture, PHOTO) <= target + 0.1


def test_ms_ssim_is_reached_and_hardly_exceeded() -> None:
    image = ternary_models.picture(176, 192)
    similarity = Similarity(image)
    for target in (9, 14, 18):
        data = CODEC.encode(image, ms_ssim=target)
        value = -10 * np.log10(1 - similarity(np.asarray(CODEC.decode(data))))
        assert target <= value <= target + 0.1
        assert CODEC.encode(image, ms_ssim=1 - 10 ** (-target / 10)) == data, "below 1 the MS-SSIM itself"


def test_a_quality_out_of_reach_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="no file of this picture reaches 80 dB of PSNR: it is coded as finely as can"):
        data = CODEC.encode(PHOTO, psnr=80)
    assert data == CODEC.encode(PHOTO, step=FINEST)
    with pytest.warns(UserWarning, match="reaches 60 dB of MS-SSIM"):
        CODEC.encode(ternary_models.picture(176, 192), ms_ssim=60)


def test_qualities_are_steps_of_the_model() -> None:
    assert CODEC.encode(PHOTO, quality=40) == CODEC.encode(PHOTO, step=ternary_models.QUALITIES[39])
    assert CODEC.encode(PHOTO) == CODEC.encode(PHOTO, quality=75)
    uncalibrated = TernaryCodec(CODEC.tensors, "plain")
    for options in ({}, {"quality": 50}):
        with pytest.raises(ValueError, match="the model plain was not calibrated for qualities; give another target"):
            uncalibrated.encode(PHOTO, **options)
    assert uncalibrated.encode(PHOTO, bpp=1) == CODEC.encode(PHOTO, bpp=1)


def test_grey_pictures_stay_grey_and_cost_less() -> None:
    grey = Image.fromarray(PHOTO).convert("L")
    data = CODEC.encode(grey, step=1900)
    decoded = np.asarray(CODEC.decode(data))
    assert (decoded == decoded[..., :1]).all()
    assert psnr(decoded[..., 0], np.asarray(grey)) > 27 and len(data) < len(CODEC.encode(PHOTO, step=1900))
    assert container.parse(data).header.grey and not container.parse(CODEC.encode(PHOTO, step=1900)).header.grey
    coloured = np.asarray(grey.convert("RGB")).copy()
    coloured[0, 0, 0] ^= 1
    assert not container.parse(CODEC.encode(coloured, step=1900)).header.grey
    cut = CODEC.truncate(data, max_bytes=len(data) - 40)
    part = np.asarray(CODEC.decode(cut))
    assert container.parse(cut).header.grey and (part == part[..., :1]).all()


def test_modes_of_pil_images_are_converted() -> None:
    rgb = Image.fromarray(PHOTO)
    assert CODEC.encode(rgb, step=1500) == CODEC.encode(PHOTO, step=1500)
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        assert CODEC.decode(CODEC.encode(rgb.convert(mode), step=1500)).size == rgb.size
    for image in (PHOTO.astype(float), PHOTO[..., :2], PHOTO[:0], 7):
        with pytest.raises(ValueError, match="expected a PIL image or"):
            CODEC.encode(image)  # type: ignore[arg-type]


def test_focus_spends_bits_where_the_mask_is_white() -> None:
    mask = np.zeros((96, 136), np.uint8)
    mask[:, :64] = 255
    data = CODEC.encode(PHOTO, step=1900, tune="psnr", focus=mask)
    assert CODEC.encode(PHOTO, step=1900, tune="psnr", focus=Image.fromarray(mask)) == data
    assert len(data) < 0.8 * len(CODEC.encode(PHOTO, step=1900, tune="psnr"))
    decoded = np.asarray(CODEC.decode(data))
    assert psnr(decoded[:, :56], PHOTO[:, :56]) > psnr(decoded[:, 72:], PHOTO[:, 72:]) + 3
    spent = CODEC.spent(data)
    assert spent.shape == (12, 17) and spent[:, :8].mean() > 1.8 * spent[:, 8:].mean()
    assert spent.sum() / 8 < len(data) < spent.sum() / 8 * 1.005 + 150
    whole = CODEC.encode(PHOTO, bpp=1, focus=mask)
    assert 8 * len(whole) / mask.size <= 1
    cut = container.parse(CODEC.truncate(data, max_bytes=len(data) // 2))
    assert cut.payload(container.SCALES) == container.parse(data).payload(container.SCALES)
    assert cut.head == container.parse(data).head


def test_a_white_mask_is_no_mask_but_for_its_chunk() -> None:
    white = CODEC.encode(PHOTO, step=1700, focus=np.full((96, 136), 255, np.uint8))
    np.testing.assert_array_equal(levels(white), levels(CODEC.encode(PHOTO, step=1700)))
    assert len(white) - len(CODEC.encode(PHOTO, step=1700)) < 25


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((96, 136), np.uint8), "the focus mask is all black"),
        (np.ones((95, 136), np.uint8), r"the focus mask is uint8\(95, 136\), the picture wants grey .* of 136x96"),
        (np.ones((96, 136, 3), np.uint8), r"the focus mask is uint8\(96, 136, 3\)"),
        (np.ones((96, 136)), r"the focus mask is float64\(96, 136\)"),
        (Image.new("L", (3, 4), 255), r"the focus mask is uint8\(4, 3\)"),
    ],
)
def test_masks_that_do_not_fit_are_named(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CODEC.encode(PHOTO, step=1000, focus=mask)


def test_exact_pictures_differ_by_a_level_at_most() -> None:
    data = CODEC.encode(PHOTO, step=2000)
    exact, usual = (np.asarray(CODEC.decode(data, exact=exact)).astype(int) for exact in (True, False))
    assert np.abs(exact - usual).max() <= 1 and (exact != usual).mean() < 0.001


def test_another_model_is_named() -> None:
    other = ternary_models.codec(seed=1)
    data = CODEC.encode(PHOTO, step=900)
    for use in (other.decode, other.spent, functools.partial(other.truncate, max_bytes=100)):
        message = f"made by model {CODEC.digest.hex()}, this one .small. is {other.digest.hex()}"
        with pytest.raises(BitstreamError, match=message):
            use(data)


@pytest.mark.parametrize("layout", [Ternary(2, 0, 0), Ternary(0, 0, 11), Binary(0, 0, 1000, 8, 8, 0, 0)])
def test_layouts_of_no_ternary_model_are_refused(layout: Any) -> None:
    coder = container.TERNARY if isinstance(layout, Ternary) else container.RAW
    data = assembled(Header(coder, 8, 8, CODEC.digest, layout), [Chunk(bytes(3))])
    with pytest.raises(BitstreamError, match="which is not this model's layout"):
        CODEC.decode(data)


@pytest.mark.parametrize("chunk", [Chunk(bytes(3), container.PLAIN), Chunk(bytes(4), container.CUT)])
def test_iterations_of_other_codes_are_refused(chunk: Chunk) -> None:
    data = assembled(Header(container.TERNARY, 8, 8, CODEC.digest, Ternary(0, 0, 0)), [chunk])
    with pytest.raises(BitstreamError, match="not one of ternary codes|does not say where"):
        CODEC.decode(data)


def test_no_warning_on_ordinary_use() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CODEC.decode(CODEC.encode(PHOTO))
        CODEC.decode(CODEC.encode(np.zeros_like(PHOTO)))


def test_iterations_are_steps_of_whole_octaves() -> None:
    assert CODEC.encode(PHOTO, iterations=6) == CODEC.encode(PHOTO, step=5 * 256)
    for iterations in (0, 12):
        with pytest.raises(ValueError, match=f"iterations={iterations} is outside 1..11"):
            CODEC.encode(PHOTO, iterations=iterations)
