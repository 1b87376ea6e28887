"""Targets of ternary codes: sizes are kept, qualities reached, steps those of the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers import ternary_models
from helpers.ternary_models import psnr

from lit_rnncomp.codec import container
from lit_rnncomp.codec.ms_ssim import Similarity
from lit_rnncomp.codec.rate import RateError
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.codec.ternary_picture import FINEST

CODEC = ternary_models.codec()


PHOTO = ternary_models.picture(96, 136)


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
        ({"bpp": "half"}, "bpp='half' is not a number"),
        ({"ms_ssim": "14"}, "ms_ssim='14' is not a number"),
        ({"quality": 74.5}, "quality=74.5 is not a whole number"),
        ({"iterations": "all"}, "iterations='all' is not a whole number"),
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


def test_iterations_are_steps_of_whole_octaves() -> None:
    assert CODEC.encode(PHOTO, iterations=6) == CODEC.encode(PHOTO, step=5 * 256)
    for iterations in (0, 12):
        with pytest.raises(ValueError, match=f"iterations={iterations} is outside 1..11"):
            CODEC.encode(PHOTO, iterations=iterations)
