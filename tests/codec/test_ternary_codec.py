"""Pictures to files of ternary codes and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers import ternary_models

from lit_rnncomp.codec import container
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
