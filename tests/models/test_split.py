"""Which blocks of 16x16 an encoder splits."""

import numpy as np
import pytest
from helpers import ternary_models
from helpers.ternary_runs import SMALL, signal

from lit_rnncomp.models import lapped, split
from lit_rnncomp.models.numpy_place import add_places
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel


def both(image):
    """Coefficients of whole blocks and of split ones."""
    rows, columns = image.shape[0] // 16, image.shape[1] // 16
    return [lapped.analysis(image, size=16, split=where) for where in (None, np.ones((rows, columns), np.bool_))]


def test_costs_rise_as_the_square_and_then_by_the_octave():
    costs = split.costs()
    np.testing.assert_array_equal(costs[:16], np.arange(16) ** 2)
    assert (np.diff(costs) >= 0).all() and costs[16] == 256
    np.testing.assert_allclose(np.diff(costs[[31, 63, 127, 1023]]), [56, 56, 168])


def test_a_corner_beside_something_flat_is_split_and_a_smooth_ramp_is_not():
    image = np.full((64, 64, 3), 120, np.uint8)
    image[24:, 24:] = 220
    found = split.chosen(*both(image), 32)
    assert found[1, 1] and not found[0].any() and not found[3, 3]
    ramp = np.repeat(np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)[..., None], 3, 2)
    assert not split.chosen(*both(ramp), 32).any()


def test_finer_thresholds_split_more():
    image = ternary_models.corners(96, 128)
    shares = [split.chosen(*both(image), threshold).mean() for threshold in (1024, 64, 16, 4)]
    assert shares == sorted(shares) and shares[0] == 0 and 0 < shares[1] < shares[2] and shares[3] > 0.1


@pytest.mark.parametrize("tune", lapped.TUNES)
def test_training_splits_what_the_encoder_splits(tune):
    module = TernaryEntropyModel(**SMALL, stages=2, size=16, visual_ac=0.7)
    picture = ternary_models.corners(96, 128)
    weights = module.tune_weights[lapped.TUNES.index(tune), :, 0, 0].numpy()
    for last in (3, 6, 8):
        expected = split.chosen(*(x * weights for x in both(picture)), 2048 / 2**last)
        found = module.at(signal(picture), 2, tune, last).split[0].numpy()
        # Sums of float32 in another order may put a coefficient on the other side of a step.
        assert (found != expected).mean() < 0.05


@pytest.mark.parametrize("table, known", [(np.ones((2, 2, 2, 3)), None), (None, np.zeros((2, 2), bool))])
def test_a_network_that_knows_split_blocks_is_told_of_them(table, known):
    with pytest.raises(ValueError, match="go together"):
        add_places(np.zeros((4, 4, 3)), table, known, 0)
