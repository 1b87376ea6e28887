"""Networks of ternary codes with a state: it remembers what it was fed with, and nothing looks ahead."""

import pytest
import torch
from helpers.networks import away_from_start

from lit_rnncomp.models.context_model import ContextModel, codes, levels
from lit_rnncomp.models.recurrent_ternary import RecurrentContextModel, RecurrentRefiner
from lit_rnncomp.models.ternary import EMBEDDINGS

TUNE = torch.tensor([0])


@pytest.fixture
def x():
    """Coefficients of four by six blocks, the low ones large. `(1, 192, 4, 6)`."""
    torch.manual_seed(0)
    return torch.randn(1, 192, 4, 6) * torch.logspace(3, 0, 64).repeat(3)[:, None, None]


@torch.no_grad()
def bits(network, x, iterations=8, forget=False):
    """Of each iteration and pass, `(iterations, 6)`; with `forget` no state is handed on."""
    state, last, out = None, torch.zeros_like(x), []
    for t in range(iterations):
        now = torch.tensor([t])
        level, code = levels(x, now), codes(x, now)
        cost, state = network.step(level, last, code, now * EMBEDDINGS, TUNE, None if forget else state)
        last = code
        out.append(cost[0])
    return torch.stack(out)


@pytest.mark.parametrize("fed", ["levels", "codes"])
def test_the_state_counts_from_the_second_iteration_on(fed, x):
    network = away_from_start(RecurrentContextModel(16, fed=fed))
    remembered, forgotten = bits(network, x), bits(network, x, forget=True)
    assert torch.equal(remembered[0], forgotten[0])
    assert (remembered[2:] != forgotten[2:]).any(1).all()


def test_fed_with_codes_alone_it_sees_levels_through_its_state_only(x):
    """But for each coefficient's own path. Of two pictures whose last codes are the same it knows no difference."""
    network = away_from_start(RecurrentContextModel(16, fed="codes", known_codes=False))
    now, code = torch.tensor([5]), codes(x, torch.tensor([5]))
    fed = [network.stemmed(torch.cat([code, code.abs()], 1), now * EMBEDDINGS, TUNE)]
    with torch.no_grad():
        network.own.weight.zero_()
        level = levels(x, now)
        costs = [
            network.step(shifted, code, torch.zeros_like(code), now * EMBEDDINGS, TUNE, None)[0]
            for shifted in (level, 3 * level)
        ]
        aware = away_from_start(RecurrentContextModel(16, fed="levels", known_codes=False))
        aware.own.weight.zero_()
        differ = [
            aware.step(shifted, code, torch.zeros_like(code), now * EMBEDDINGS, TUNE, None)[0]
            for shifted in (level, 3 * level)
        ]
    assert fed[0].any()
    assert torch.equal(*costs)
    assert not torch.equal(*differ)


@pytest.mark.parametrize("fed", ["levels", "codes"])
def test_no_iteration_knows_of_later_codes(fed, x):
    """Pictures that agree down to a threshold cost the same until then."""
    network = away_from_start(RecurrentContextModel(16, fed=fed))
    coarse = torch.trunc(x / 64) * 64
    before, after = bits(network, x), bits(network, coarse)
    assert torch.equal(before[:6], after[:6])  # thresholds from 2048 to 64
    assert (before[6:] != after[6:]).any()


def test_a_state_draws_pictures_from_the_iterations_before(x):
    network = away_from_start(RecurrentRefiner(16))
    last = torch.tensor([5])
    with torch.no_grad():
        first, state = network.step(levels(x, last), (last - 1) * EMBEDDINGS, TUNE, None)
        second, _ = network.step(levels(x, last + 1), last * EMBEDDINGS, TUNE, state)
        alone, _ = network.step(levels(x, last + 1), last * EMBEDDINGS, TUNE, None)
    assert first.shape == x.shape
    assert not torch.allclose(second, alone)


@pytest.mark.parametrize("neighbours", [True, False])
def test_codes_of_other_blocks_are_known_with_neighbours_alone(neighbours, x):
    """Even blocks change places: passes that look at nothing around a block cost the same."""
    network = away_from_start(ContextModel(16, blocks=0, neighbours=neighbours))
    moved = x.clone()
    moved[..., 0, 0], moved[..., 1, 3] = x[..., 1, 3], x[..., 0, 0]
    now = torch.tensor([6])
    with torch.no_grad():
        here, there = (network(levels(y, now), codes(y, now), now * EMBEDDINGS, TUNE) for y in (x, moved))
    assert torch.allclose(here, there, rtol=1e-5) is not neighbours
