"""Bootstrap intervals against SciPy's, against their promise, and the share of rates above another codec."""

import numpy as np
import pytest
import scipy.stats

from lit_rnncomp.evaluation import confidence


def test_intervals_are_scipys():
    values = np.random.default_rng(1).gamma(2, size=24)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    assert confidence.interval(values) == pytest.approx(theirs.confidence_interval, abs=0.02)
    assert confidence.interval(values) == confidence.interval(values), "the seed is fixed"
    assert confidence.interval([3.0]) is None


def test_intervals_hold_the_mean_as_often_as_they_say():
    generator, held = np.random.default_rng(3), 0
    for _ in range(400):
        low, high = confidence.interval(generator.normal(size=24))
        held += low <= 0 <= high
    # The percentile interval of 24 normal values holds the mean in 93 % of cases; binomial deviation is 1.3 %.
    assert 0.89 < held / 400 < 0.97


def test_differences_are_paired():
    """What pictures have in common does not hide a small steady difference."""
    generator = np.random.default_rng(4)
    a = generator.normal(30, 3, size=24)
    mean, found = confidence.difference(a, a + 0.1 + generator.normal(0, 0.05, size=24))
    assert mean == pytest.approx(0.1, abs=0.03) and confidence.differs(found)
    assert found[1] - found[0] < 0.05
    low, high = confidence.interval(a)
    assert high - low > 1
    assert not confidence.differs(confidence.difference(a, a + generator.normal(0, 1, size=24) * 1.0)[1])
    assert not confidence.differs(None)


def test_share_above_counts_the_rates_that_both_have():
    deltas = np.array([[1.0, 1.0, -1.0, np.nan], [3.0, -2.0, -1.0, np.nan]])
    value, (low, high) = confidence.share_above(deltas)
    assert value == pytest.approx(1 / 3), "above at the first of three rates; the second is below in the mean"
    assert low == pytest.approx(1 / 3) and high == pytest.approx(2 / 3)
    assert np.isnan(confidence.share_above(np.full((2, 3), np.nan))[0])
    assert confidence.share_above(np.ones((1, 5))) == (1.0, None)
    nothing = np.array([[1.0, np.nan], [np.nan, np.nan]])
    assert confidence.share_above(nothing)[0] == 1.0
