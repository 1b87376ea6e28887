"""Ternary codes: the loop of the paper with thresholds that halve, and its closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_rnncomp.models import ternary

VALUES = st.floats(-4095, 4095, width=32)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_levels_are_what_the_loop_leads_to(values):
    """Residual, gain, code, estimate, residual: exact in float32, as all estimates are multiples of a power of two."""
    x = np.array(values, np.float32)
    estimate = np.zeros_like(x)
    level = np.zeros(x.shape, np.int16)
    for t in range(ternary.ITERATIONS):
        gain = np.float32(1 / ternary.threshold(t))
        residual = x - estimate
        codes = np.where(np.abs(residual * gain) >= 1, np.sign(residual), 0).astype(np.int8)
        estimate = estimate + codes / gain
        ternary.advance(level, codes)
        assert (ternary.levels(x, t + 1) == level).all()
        assert (level * ternary.threshold(t) == estimate).all()


@given(VALUES, st.integers(0, ternary.ITERATIONS - 1))
def test_a_level_bounds_its_coefficient(value, t):
    level = int(ternary.levels(np.array([value]), t + 1)[0])
    low, high = abs(level) * ternary.threshold(t), (abs(level) + 1) * ternary.threshold(t)
    assert low <= abs(value) < high
    assert level == 0 or (level > 0) == (value > 0)


def test_sizes_are_piecewise_linear_logarithms():
    sizes = ternary.magnitudes()
    assert sizes[[0, 1, 2, 3, 7, 15]].tolist() == [0, 8, 12, 16, 24, 32]
    assert (np.diff(sizes.astype(int)) >= 0).all()
    assert np.abs(sizes - 8 * np.log2(1 + np.arange(len(sizes)))).max() < 1.7


def test_every_coefficient_is_sent_once():
    assert sorted(np.concatenate(ternary.groups())) == list(range(192))
    odd = ternary.parity(5, 7)
    assert sum((odd == bool(parity)).sum() for group, parity in ternary.PASSES if group == 0) == 35


def test_what_files_depend_on():
    """The format's promise: with any other value here, files made before would decode to other pictures."""
    assert (ternary.ITERATIONS, ternary.FIRST, ternary.SCALES, ternary.SEGMENT) == (11, 2048.0, 256, 2)
    assert ternary.PASSES == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    assert ternary.groups()[0].tolist() == [0, 1, 8, 2, 9, 16, 3, 10, 17, 24]
    assert ternary.groups()[2][:4].tolist() == [64, 128, 65, 129]


@pytest.mark.parametrize("scale, index", [(0, 12), (63, 12), (64, 13), (255, 15)])
def test_embeddings_of_an_iteration(scale, index):
    assert ternary.embedding(3, scale) == index
