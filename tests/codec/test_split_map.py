"""The map of split blocks in a file."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import ternary_models
from helpers.files import assembled
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lit_rnncomp.codec import container, split_map
from lit_rnncomp.codec.container import BitstreamError, Chunk

CODEC, PHOTO = ternary_models.codec(stages=2, size=16), ternary_models.picture(96, 136)


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_any_map_comes_back(split: np.ndarray) -> None:
    np.testing.assert_array_equal(split_map.from_bytes(split_map.to_bytes(split), *split.shape), split)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_it_costs_about_its_information(share: float) -> None:
    split = np.random.RandomState(0).rand(150, 200) < share
    payload = split_map.to_bytes(split)
    information = 0 if share in (0, 1) else -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    assert split.size * information <= 8 * len(payload) < split.size * (information * 1.02 + 0.005) + 500
    np.testing.assert_array_equal(split_map.from_bytes(payload, *split.shape), split)


def test_regions_cost_less_than_their_share() -> None:
    split = np.zeros((60, 60), np.bool_)
    split[20:40, 20:40] = True
    assert len(split_map.to_bytes(split)) < 60


def test_a_file_without_the_chunk_splits_nothing() -> None:
    assert not split_map.from_bytes(None, 3, 4).any()
    flat = CODEC.encode(np.full((40, 40, 3), 99, np.uint8), step=1800)
    assert container.parse(flat).payload(container.SPLITS) is None


def test_what_is_no_map_is_refused() -> None:
    payload = split_map.to_bytes(np.eye(6, 8, dtype=np.bool_))
    with pytest.raises(BitstreamError, match="goes on after its last block"):
        split_map.from_bytes(payload + bytes([1, 2, 3, 4, 5, 6, 7, 8, 9]), 6, 8)
    with pytest.raises(BitstreamError, match="is not a range coder's output"):
        split_map.from_bytes(b"\xff" * 40, 6, 8)


def test_a_map_in_a_file_of_blocks_of_8_is_refused() -> None:
    file = container.parse(ternary_models.codec(stages=2).encode(PHOTO, step=1500))
    data = assembled(file.header, [Chunk(b"", container.SPLITS), *file.chunks])
    for refuse in (lambda codec: codec.decode(data), lambda codec: codec.truncate(data, max_bytes=len(data) - 20)):
        with pytest.raises(BitstreamError, match="a map of split blocks, which the model small does not have"):
            refuse(ternary_models.codec(stages=2))


def test_a_file_is_cut_with_its_map() -> None:
    data = CODEC.encode(PHOTO, step=1900)
    payload = container.parse(data).payload(container.SPLITS)
    assert payload
    for share in (0.9, 0.5):
        part = CODEC.truncate(data, max_bytes=int(share * len(data)))
        assert container.parse(part).payload(container.SPLITS) == payload and CODEC.decode(part).size == (136, 96)


def test_the_map_follows_the_threshold_in_quarters_of_an_octave() -> None:
    files = (CODEC.encode(ternary_models.corners(96, 136), step=step) for step in (1600, 1610, 2500))
    maps = [container.parse(data).payload(container.SPLITS) for data in files]
    assert maps[0] == maps[1] != maps[2]
