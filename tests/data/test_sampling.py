from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, SequentialSampler

from lit_rnncomp.data import sampling
from lit_rnncomp.data.sampling import EpochSampler, RankSampler, ResumableLoader, shuffled


class Numbers(Dataset):
    def __getitem__(self, position):
        return torch.tensor(position)


def batches(loader):
    return [batch.tolist() for batch in loader]


def loader(workers: int = 0) -> ResumableLoader:
    return ResumableLoader(Numbers(), samples=12, batch_size=3, num_workers=workers)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 16, 17, 99, 714, 1000, 65537])
def test_every_pass_is_a_permutation(size):
    three = shuffled(np.arange(3 * size), size, seed=5).reshape(3, size)
    np.testing.assert_array_equal(np.sort(three), np.tile(np.arange(size), (3, 1)))
    if size >= 16:
        assert (three[0] != three[1]).mean() > 0.5
        assert (shuffled(np.arange(size), size, seed=6) != three[0]).mean() > 0.5


def test_shuffling_is_element_by_element():
    order = shuffled(np.arange(2000), 700, seed=1)
    picked = np.random.default_rng(0).integers(0, 2000, 100)
    np.testing.assert_array_equal(shuffled(picked, 700, seed=1), order[picked])


@pytest.mark.parametrize("size", [4, 10, 37])
def test_every_item_and_every_pair_is_equally_likely(size):
    passes = 20_000
    order = shuffled(np.arange(passes * size), size, seed=11).reshape(passes, size)
    for place in range(size - 1):
        assert_uniform(np.bincount(order[:, place], minlength=size))
        pairs = np.bincount(order[:, place] * size + order[:, place + 1], minlength=size * size).reshape(size, size)
        assert_uniform(pairs[~np.eye(size, dtype=bool)])


def assert_uniform(counts):
    """Chi-square within five standard deviations of its mean (and room for its skew at few degrees of freedom)."""
    expected, freedom = counts.mean(), counts.size - 1
    chi_square = ((counts - expected) ** 2).sum() / expected
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom) + 10


def test_neighbouring_positions_are_not_neighbouring_items():
    order = shuffled(np.arange(100_000), 100_000, seed=2).astype(float)
    for lag in (1, 2, 317):
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 5 / np.sqrt(100_000)


def test_six_hundred_million_items_need_no_table():
    items = shuffled(np.arange(1000), 600_000_000, seed=0)
    assert items.min() >= 0 and items.max() < 600_000_000 and len(set(items.tolist())) == 1000


def test_epochs_are_successive_windows():
    own = loader()
    assert np.ravel(batches(own)).tolist() == list(range(12))
    own.sampler.set_epoch(3)
    assert np.ravel(batches(own)).tolist() == list(range(36, 48))


def test_processes_share_one_batch(monkeypatch):
    sampler = EpochSampler(6)
    sampler.set_epoch(2)
    shares = []
    for rank in range(4):
        monkeypatch.setattr(sampling, "rank_and_world", lambda rank=rank: (rank, 4))
        shares.append(list(sampler))
    assert sorted(chain(*shares)) == list(range(48, 72))
    assert sorted(share for ranks in shares for share in ranks[:2]) == list(range(48, 56))


def test_evaluation_shares_are_disjoint_and_complete(monkeypatch):
    sampler = RankSampler(range(10))
    shares = []
    for rank in range(4):
        monkeypatch.setattr(sampling, "rank_and_world", lambda rank=rank: (rank, 4))
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    assert sorted(chain(*shares)) == list(range(10))


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_after_any_number_of_batches(workers):
    whole = loader()
    whole.sampler.set_epoch(1)
    expected = batches(whole)
    for stop in range(5):
        first = loader(workers)
        first.sampler.set_epoch(1)
        delivered = [batch.tolist() for _, batch in zip(range(stop), first, strict=False)]
        state = first.state_dict()
        second = loader(workers)
        second.load_state_dict(state)
        if stop == 0:  # nothing was asked for yet, so the epoch was not yet known either
            second.sampler.set_epoch(1)
        assert second.state_dict() == state
        assert delivered + batches(second) == expected
        second.sampler.set_epoch(2)
        assert np.ravel(batches(second)).tolist() == list(range(24, 36)), "the epoch after a resumed one is whole"


def test_a_state_of_another_epoch_starts_the_epoch():
    own = loader()
    own.load_state_dict({"epoch": 0, "batches": 4})
    own.sampler.set_epoch(1)
    assert len(batches(own)) == 4
    assert own.state_dict() == {"epoch": 1, "batches": 4}


def test_loading_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    batches(loader())
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)


def test_a_broken_last_batch_is_refused():
    with pytest.raises(ValueError, match="10 samples is not a whole number of batches of 3"):
        ResumableLoader(Numbers(), samples=10, batch_size=3)


def test_repeated_epochs_resume_too():
    own = ResumableLoader(Numbers(), samples=12, batch_size=3, repeated=True)
    own.sampler.set_epoch(2)
    assert np.ravel(batches(own)).tolist() == list(range(12))
    own.load_state_dict({"epoch": 2, "batches": 3})
    assert np.ravel(batches(own)).tolist() == [9, 10, 11]
    assert isinstance(own.sampler, SequentialSampler), "Lightning leaves it in place"
