"""Searches for a target, over made-up files."""

from __future__ import annotations

import numpy as np
import pytest

from lit_rnncomp.codec.rate import FILL, RateError, meet_quality, meet_size

STEPS = 2816
SIGNIFICANT = np.round(40 * 2 ** (np.arange(STEPS) / 300)).astype(np.int64)


@pytest.mark.parametrize("bits", [(12, 3), (3, 12), (5.5, 5.5), (16, 2.5)], ids=str)
@pytest.mark.parametrize("budget", [300, 1000, 3000, 8000])
def test_a_size_is_met_whatever_a_coefficient_costs(bits: tuple[float, float], budget: int) -> None:
    """`bits`: of a significant coefficient, at the coarsest and the finest step."""
    each = np.linspace(*np.log(bits), STEPS)
    sizes = (30 + SIGNIFICANT * np.exp(each) / 8).astype(int)
    tried = []

    def encode(step: int) -> bytes:
        tried.append(step)
        return bytes(sizes[step])

    data = meet_size(encode, SIGNIFICANT, budget, 10_000)
    assert FILL * budget <= len(data) <= budget
    assert len(tried) <= 6


def test_a_size_below_the_smallest_is_named_and_above_the_largest_is_the_largest() -> None:
    with pytest.raises(RateError, match=r"49 bytes are too few: the smallest file of this picture has 50 .*0\.040 bpp"):
        meet_size(lambda step: bytes(50 + step), SIGNIFICANT, 49, 10_000)
    assert len(meet_size(lambda step: bytes(50 + step), SIGNIFICANT, 50, 10_000)) == 50
    assert len(meet_size(lambda step: bytes(50 + step), SIGNIFICANT, 10**9, 10_000)) == 50 + STEPS - 1


@pytest.mark.parametrize("target", [-3.0, 0.0, 11.11, 29.97, 56.3])
@pytest.mark.parametrize("slope", [0.01, 0.02, 0.04])
def test_a_quality_is_reached_with_little_to_spare(target: float, slope: float) -> None:
    tried = []

    def quality(step: int) -> float:
        tried.append(step)
        return 0.02 * step

    step = meet_quality(quality, target, 1700, STEPS - 1, slope, 0.1)
    assert step is not None and quality(step) >= target
    assert quality(step) <= target + 0.1 or step == 0
    assert len(tried) <= 15


def test_no_quality_reaches_what_none_has() -> None:
    assert meet_quality(lambda step: 0.02 * step, 57, 1700, STEPS - 1, 0.02, 0.1) is None
