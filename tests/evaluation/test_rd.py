"""Areas, hulls and Bjontegaard deltas against known answers, SciPy's interpolators, and published points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from lit_rnncomp.evaluation import rd

# Residual GRU one-shot on Kodak, MS-SSIM at 1/8 ... 2 bpp: tensorflow/compression, toderici-2017-cvpr.txt, Apache-2.0.
RESIDUAL_GRU = [
    0.8191, 0.9037, 0.9375, 0.9538, 0.9636, 0.9715, 0.9758, 0.9796,
    0.9822, 0.9839, 0.9858, 0.9868, 0.9878, 0.9883, 0.9885, 0.9887,
]  # fmt: skip
BPP = np.array([0.15, 0.3, 0.55, 0.9, 1.4, 2.2])
DB = np.array([24.0, 27.1, 29.6, 32.0, 34.1, 36.5])


def test_auc_of_the_published_residual_gru():
    assert rd.auc(rd.GRID, RESIDUAL_GRU) == pytest.approx(1.8116, abs=5e-5)


def test_auc_of_a_perfect_codec_is_the_width():
    assert rd.auc(rd.GRID, np.ones(16)) == 1.875


def test_auc_does_not_depend_on_the_order_of_the_points():
    order = np.random.default_rng(0).permutation(16)
    assert rd.auc(rd.GRID[order], np.array(RESIDUAL_GRU)[order]) == rd.auc(rd.GRID, RESIDUAL_GRU)


def test_auc_file_of_a_curve_on_the_grid_is_auc():
    assert rd.auc_file(rd.GRID, RESIDUAL_GRU) == pytest.approx(rd.auc(rd.GRID, RESIDUAL_GRU), abs=1e-12)


def test_auc_file_holds_the_first_and_last_value():
    assert rd.auc_file([0.5, 1.0], [0.9, 0.9]) == pytest.approx(0.9 * 1.875)
    assert rd.auc_file([0.125, 1.125, 4.0], [0.0, 1.0, 1.0]) == pytest.approx(0.5 + 0.875)


def test_auc_file_takes_the_better_of_two_files_of_one_size():
    assert rd.auc_file([0.5, 0.5, 1.0], [0.8, 0.9, 0.9]) == pytest.approx(0.9 * 1.875)


def test_identical_curves_give_zero():
    for interpolation in ("pchip", "akima"):
        assert rd.bd_rate(BPP, DB, BPP, DB, interpolation) == 0
        assert rd.bd_quality(BPP, DB, BPP, DB, interpolation) == 0


@given(st.floats(0.3, 3), st.sampled_from(["pchip", "akima"]))
def test_a_constant_factor_of_rate_is_found(factor, interpolation):
    assert rd.bd_rate(BPP, DB, BPP * factor, DB, interpolation) == pytest.approx(100 * (factor - 1), abs=1e-9)


def test_a_constant_gain_in_quality_is_found():
    assert rd.bd_quality(BPP, DB, BPP, DB + 0.7) == pytest.approx(0.7)
    assert rd.bd_rate(BPP, DB, BPP, DB + 0.7) < 0


def test_a_tenth_more_rate_is_ten_percent():
    assert rd.bd_rate(BPP, DB, 1.1 * BPP, DB) == pytest.approx(10)


@pytest.mark.parametrize("points", [2, 3, 4, 6])
@pytest.mark.parametrize(("name", "oracle"), [("pchip", PchipInterpolator), ("akima", Akima1DInterpolator)])
def test_interpolation_equals_scipy(name, oracle, points):
    rng = np.random.default_rng(points)
    first, second = (start + np.cumsum([0, *rng.uniform(1, 3, points - 1)]) for start in (20, 20.5))
    rate_a, rate_b = (np.cumsum(rng.uniform(0.1, 0.8, points)) for _ in range(2))
    low, high = max(first[0], second[0]), min(first[-1], second[-1])
    mean_a, mean_b = (
        oracle(quality, np.log(rate)).integrate(low, high) / (high - low)
        for quality, rate in ((first, rate_a), (second, rate_b))
    )
    assert rd.bd_rate(rate_a, first, rate_b, second, name) == pytest.approx(100 * (np.exp(mean_b - mean_a) - 1))


@pytest.mark.parametrize(("name", "oracle"), [("pchip", PchipInterpolator), ("akima", Akima1DInterpolator)])
def test_interpolation_of_a_curve_that_is_not_monotone_equals_scipy(name, oracle):
    """bd_quality interpolates quality after `pareto`, so the slopes' branches for turns are reached only from here."""
    x, y = np.array([0.0, 1, 2.5, 3, 4.2, 5]), np.array([5.0, 1, 4, 4, 0, 6])
    assert rd._mean(x, y, 0.3, 4.9, name) == pytest.approx(oracle(x, y).integrate(0.3, 4.9) / 4.6)


def test_curves_that_do_not_overlap_are_refused():
    with pytest.raises(rd.CurvesDoNotOverlap, match=r"quality: 24 to 36\.5 for the anchor, 64 to 76\.5"):
        rd.bd_rate(BPP, DB, BPP, DB + 40)
    with pytest.raises(rd.CurvesDoNotOverlap, match=r"log\(bpp\)"):
        rd.bd_quality(BPP, DB, BPP * 100, DB)
    with pytest.raises(ValueError, match="single one"):
        rd.bd_rate(BPP, DB, [1, 2], [30, 29])


@pytest.mark.parametrize(
    ("bpp", "quality", "message"),
    [
        ([1], [1], "at least two points"),
        ([1, 2], [1, 2, 3], r"shapes \(2,\) and \(3,\)"),
        ([0, 1], [1, 2], "positive bpp"),
        ([1, 2], [1, float("nan")], "finite"),
        ([1, 1], [1, 2], "every bpp once"),
    ],
)
def test_invalid_curves_are_named(bpp, quality, message):
    with pytest.raises(ValueError, match=message):
        rd.auc(bpp, quality)


def test_pareto_and_hull():
    bpp, quality = [1, 2, 2, 3, 4, 5], [10, 8, 12, 11, 18, 18]
    assert [list(axis) for axis in rd.pareto(bpp, quality)] == [[1, 2, 4], [10, 12, 18]]
    assert [list(axis) for axis in rd.convex_hull(bpp, quality)] == [[1, 4], [10, 18]]
    assert [list(axis) for axis in rd.convex_hull([1, 2, 4], [10, 15, 18])] == [[1, 2, 4], [10, 15, 18]]


@given(st.lists(st.tuples(st.floats(0.1, 4), st.floats(0, 50)), min_size=3, max_size=20))
def test_no_point_lies_above_the_hull(points):
    bpp, quality = np.array(points).T
    hull = rd.convex_hull(bpp, quality)
    assert np.all(np.interp(bpp, hull.bpp, hull.quality, left=-np.inf) >= quality - 1e-9)
    assert set(zip(hull.bpp, hull.quality, strict=True)) <= set(zip(bpp, quality, strict=True))


def test_reading_a_curve_off():
    assert rd.bpp_at(BPP, DB, 29.6) == pytest.approx(0.55)
    assert rd.bpp_at(BPP, DB, (24 + 27.1) / 2) == pytest.approx(np.sqrt(0.15 * 0.3))
    assert rd.quality_at(BPP, DB, 0.55) == pytest.approx(29.6)
    assert np.isnan(rd.bpp_at(BPP, DB, 40)) and np.isnan(rd.quality_at(BPP, DB, 0.1))


def test_decibel():
    assert rd.decibel([0.9, 0.99, 1.0]) == pytest.approx([10, 20, 100])
