"""The decoder's network: NumPy against torch, and whatever the bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.networks import arrays, away_from_start

from lit_rnncomp.models import lapped, ternary
from lit_rnncomp.models.dc_stage import DC
from lit_rnncomp.models.numpy_refiner import NumpyRefiner
from lit_rnncomp.models.refiner import Refiner


@pytest.fixture(scope="module", params=lapped.SIZES)
def refiner(request: pytest.FixtureRequest) -> Refiner:
    torch.manual_seed(0)
    return away_from_start(Refiner(24, blocks=3, size=request.param)).eval()


def splits(rows: int, columns: int, size: int) -> np.ndarray | None:
    return np.random.default_rng(1).random((-(-rows // 2), -(-columns // 2))) < 0.4 if size == 16 else None


def levels(rows: int, columns: int) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.rint(random.laplace(0, 3, (rows, columns, 192))).astype(np.int16)


@pytest.mark.parametrize(("t", "tune", "scale"), [(0, 0, 0), (6, 1, 70), (10, 1, 255)])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 3)])
def test_numpy_draws_what_torch_trained(refiner: Refiner, size: tuple[int, int], t: int, tune: int, scale: int) -> None:
    size = tuple(side * refiner.size // 8 for side in size)
    level, split = levels(*size), splits(*size, refiner.size)
    planes = torch.from_numpy(level).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        where = None if split is None else torch.from_numpy(split)[None]
        added = refiner(planes, torch.tensor([ternary.embedding(t, scale)]), torch.tensor([tune]), where)
    middle = level + 0.5 * np.sign(level)
    expected = middle + added[0].permute(1, 2, 0).numpy()
    for dtype in (np.float32, np.float64):
        found = NumpyRefiner(arrays(refiner), dtype, size=refiner.size)(level, t, tune, scale, split)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("stages", [1, 2])
def test_nothing_is_drawn_far_from_its_interval(stages: int) -> None:
    """A network that runs wild is held to what the codes say; in training it is not, so that it learns."""
    torch.manual_seed(0)
    wild = Refiner(8, blocks=2, stages=stages)
    with torch.no_grad():
        for parameter in wild.parameters():
            parameter.copy_(torch.randn_like(parameter))
    level = levels(5, 6)
    planes = torch.from_numpy(level).permute(2, 0, 1)[None].float()
    arguments = planes, torch.tensor([3]), torch.tensor([1])
    with torch.no_grad():
        free, held = wild(*arguments), wild.eval()(*arguments)
    limit = np.where(level == 0, 1.25, 0.75)
    free, held = (x[0].permute(1, 2, 0).numpy() for x in (free, held))
    share = np.abs(free) / limit
    if stages == 2:
        share[..., DC] = 0
    expected = free / np.maximum(share.max(-1, keepdims=True), 1)
    if stages == 2:
        expected[..., DC] = np.clip(expected[..., DC], -1.25, 1.25)
        limit[..., DC] = 1.25
    assert share.max() > 10 and share.min() < 1
    np.testing.assert_allclose(held, expected, rtol=1e-5)
    found = NumpyRefiner(arrays(wild), np.float64, stages)(level, 0, 1, 3 * 64)
    np.testing.assert_allclose(found, level + 0.5 * np.sign(level) + held, atol=1e-4)
    assert (np.abs(held) <= limit * 1.0001).all()


@pytest.mark.parametrize(("band", "tile"), [(1, (99, 99)), (40, (99, 99)), (100, (99, 99)), (20, (4, 2))])
def test_bands_and_tiles_leave_no_seam(
    refiner: Refiner, band: int, tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    level, split = levels(30, 6), splits(30, 6, refiner.size)
    small = NumpyRefiner(arrays(refiner), size=refiner.size)
    whole = small(level, 6, 1, 70, split)
    monkeypatch.setattr("lit_rnncomp.models.numpy_residual._BAND", band)
    monkeypatch.setattr("lit_rnncomp.models.numpy_residual._TILE", tile)
    np.testing.assert_allclose(small(level, 6, 1, 70, split), whole, atol=1e-4)


def test_an_untrained_refiner_adds_nothing() -> None:
    level = levels(4, 6)
    found = NumpyRefiner(arrays(Refiner(8, blocks=1)))(level, 3, 0, 0)
    np.testing.assert_array_equal(found, level + 0.5 * np.sign(level))
