"""The filter of decoded pictures: NumPy against torch, whatever the bands, and what it may change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.networks import arrays, away_from_start

from lit_rnncomp.models import ternary
from lit_rnncomp.models.numpy_post_filter import LIMIT, NumpyPostFilter
from lit_rnncomp.models.post_filter import PostFilter


@pytest.fixture(scope="module")
def network() -> PostFilter:
    torch.manual_seed(0)
    return away_from_start(PostFilter(16, blocks=7)).eval()


def samples(height: int, width: int) -> np.ndarray:
    """Some of them outside of 0..255."""
    return np.random.default_rng(0).normal(128, 70, (height, width, 3))


def drawn(network: PostFilter, picture: np.ndarray, steps: np.ndarray, t: int, tune: int, scale: int) -> np.ndarray:
    """By torch; of steps `(1, 1)`."""
    planes, step = torch.from_numpy(picture).permute(2, 0, 1)[None].float(), torch.from_numpy(steps).float()
    with torch.no_grad():
        out = network(planes, step[None, None], torch.tensor([ternary.embedding(t, scale)]), torch.tensor([tune]))
    return out[0].permute(1, 2, 0).numpy()


def filtered(network: PostFilter, picture: np.ndarray, steps: np.ndarray, *arguments: int) -> np.ndarray:
    """By NumPy, put together from its parts."""
    dtype = picture.dtype
    out = np.full_like(picture, np.nan)
    for region, part in NumpyPostFilter(arrays(network), dtype)(picture, steps, *arguments):
        assert part.dtype == dtype and np.isnan(out[region]).all()
        out[region] = part
    return out


@pytest.mark.parametrize(("t", "tune", "scale"), [(0, 0, 0), (6, 1, 70), (10, 1, 255)])
@pytest.mark.parametrize("size", [(8, 8), (40, 56), (96, 24)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_filters_as_torch_does(
    network: PostFilter, size: tuple[int, int], t: int, tune: int, scale: int, dtype: type
) -> None:
    picture = samples(*size).astype(dtype)
    steps = np.full((1, 1), ternary.threshold(t) / 2 ** (scale / 256))
    expected = drawn(network, picture, steps, t, tune, scale)
    assert np.abs(expected - picture).max() > 0.01 * steps, "it does something"
    found = filtered(network, picture, steps, t, tune, scale)
    np.testing.assert_allclose(found, expected, atol=2e-6 * float(steps[0, 0]) + 1e-3)


@pytest.mark.parametrize(("band", "tile"), [(1, (512, 512)), (40, (512, 512)), (300, (7, 512)), (90, (16, 5))])
def test_bands_and_tiles_leave_no_seam(
    network: PostFilter, band: int, tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, steps = samples(80, 24), np.full((1, 1), 30.0)
    steps = steps * np.linspace(1, 2, 30).reshape(10, 3)
    whole = filtered(network, picture, steps, 6, 1, 0)
    monkeypatch.setattr("lit_rnncomp.models.numpy_residual._BAND", band)
    monkeypatch.setattr("lit_rnncomp.models.numpy_residual._TILE", tile)
    np.testing.assert_allclose(filtered(network, picture, steps, 6, 1, 0), whole, atol=1e-6)


def test_each_block_has_its_step(network: PostFilter) -> None:
    """Far from where the steps of blocks change, each part is as if all blocks had its step."""
    picture, steps = samples(64, 256), np.full((8, 32), 24.0)
    steps[:, 16:] = 48
    found = filtered(network, picture, steps, 6, 1, 0)
    for part, step in ((slice(0, 64), 24.0), (slice(192, 256), 48.0)):
        alike = filtered(network, picture, np.full((1, 1), step), 6, 1, 0)
        np.testing.assert_allclose(found[:, part], alike[:, part], atol=1e-9)


def test_only_differences_count(network: PostFilter) -> None:
    """What is added does not depend on how bright the picture is, and is as large as the step."""
    picture, steps = samples(32, 32), np.full((1, 1), 30.0)
    added = filtered(network, picture, steps, 6, 1, 0) - picture
    np.testing.assert_allclose(filtered(network, picture + 50, steps, 6, 1, 0) - picture - 50, added, atol=1e-9)
    np.testing.assert_allclose(filtered(network, 2 * picture, 2 * steps, 6, 1, 0) - 2 * picture, 2 * added, atol=1e-9)


def test_a_filter_that_runs_wild_is_held() -> None:
    torch.manual_seed(0)
    wild = PostFilter(8, blocks=2)
    with torch.no_grad():
        for parameter in wild.parameters():
            parameter.copy_(10 * torch.randn_like(parameter))
    picture, steps = samples(24, 16), np.full((1, 1), 30.0)
    found = filtered(wild, picture, steps, 6, 1, 0)
    assert np.abs(found - picture).max() == pytest.approx(LIMIT * 30)
    np.testing.assert_allclose(found, drawn(wild, picture, steps, 6, 1, 0), atol=0.01)


def test_an_untrained_filter_changes_nothing() -> None:
    picture = samples(16, 24)
    np.testing.assert_array_equal(filtered(PostFilter(8, 1), picture, np.full((1, 1), 30.0), 3, 0, 0), picture)


def test_a_tensor_that_is_missing_or_misshapen_is_named(network: PostFilter) -> None:
    tensors = arrays(network)
    with pytest.raises(ValueError, match=r"tensor head.weight of the decoder's filter is float32\(5, .*, not floats"):
        NumpyPostFilter(tensors | {"head.weight": tensors["head.weight"][:5]})
    del tensors["back.3.bias"]
    with pytest.raises(ValueError, match=r"the decoder's filter has no tensor back.3.bias"):
        NumpyPostFilter(tensors)
