"""The lapped transform: inverse to itself, orthonormal, and worth what the literature says."""

import numpy as np
import pytest
import torch

from lit_rnncomp.images import to_signal
from lit_rnncomp.models import lapped
from lit_rnncomp.models.frontend import LappedDCT

SIZES = pytest.mark.parametrize("size", lapped.SIZES)
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 5), (8, 3)])


def splits(shape, size):
    """None, and of blocks of 16x16 also some that are split."""
    return [None] if size == 8 else [None, np.random.default_rng(0).random(shape) < 0.5]


@SIZES
@SHAPES
def test_a_picture_comes_back(shape, size):
    height, width = (size * side for side in shape)
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    for split in splits(shape, size):
        coefficients = lapped.analysis(image, size=size, split=split)
        assert coefficients.shape == (height // 8, width // 8, 192)
        assert (lapped.synthesis(coefficients, size, split) == image).all()


@SHAPES
def test_blocks_that_are_split_are_those_of_the_transform_of_8(shape):
    image = np.random.default_rng(1).integers(0, 256, (16 * shape[0], 16 * shape[1], 3), dtype=np.uint8)
    small, whole = (lapped.analysis(image, np.float64, size=size) for size in (8, 16))
    split = np.random.default_rng(2).random(shape) < 0.5
    expected = np.where(split.repeat(2, 0).repeat(2, 1)[..., None], small, whole)
    np.testing.assert_allclose(lapped.analysis(image, np.float64, size=16, split=split), expected, atol=1e-9)


@SIZES
@SHAPES
@pytest.mark.parametrize("tune", [None, *lapped.TUNES])
def test_the_front_end_in_torch_is_the_same_transform(shape, size, tune):
    image = np.random.default_rng(5).integers(0, 256, (size * shape[0], size * shape[1], 3), dtype=np.uint8)
    frontend = LappedDCT(tune, size)
    signal = to_signal(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    for split in splits(shape, size):
        expected = lapped.analysis(image, np.float64, size=size, split=split)
        if tune:
            expected = expected * lapped.coefficient_weights(size=size)[lapped.TUNES.index(tune)]
        where = None if split is None else torch.from_numpy(split)[None]
        coefficients = frontend.analysis(signal, where)
        np.testing.assert_allclose(coefficients[0].permute(1, 2, 0), expected, atol=2e-3)
        torch.testing.assert_close(frontend.synthesis(coefficients, where), signal, rtol=0, atol=1e-5)


def test_the_butterfly_is_orthonormal():
    np.testing.assert_allclose(lapped.butterfly() @ lapped.butterfly().T, np.eye(8), atol=1e-12)


def test_coding_gain_of_a_first_order_source():
    """Of an AR(0.95) source, over the 8-point DCT of 8.83 dB."""
    samples = np.arange(32)
    covariance = 0.95 ** np.abs(samples[:, None] - samples[None])
    blocks = np.kron(np.eye(4), lapped.block_dct())
    filters = np.eye(32)
    for border in (8, 16, 24):
        filters[border - 4 : border + 4, border - 4 : border + 4] = lapped.butterfly()

    def gain(transform):
        variances = np.diag(transform @ covariance @ transform.T)[8:16]
        return -10 * np.log10(variances).mean()

    assert gain(blocks) == pytest.approx(8.83, abs=0.005)
    assert gain(blocks @ filters) == pytest.approx(9.22, abs=0.01)


def test_what_an_error_weighs():
    """With `psnr` weights a squared error of coefficients is one of pixels."""
    noise = np.random.default_rng(2).normal(size=(16, 16, 192))
    weights = lapped.coefficient_weights()[lapped.TUNES.index("psnr")]
    pixels = noise.reshape(-1, 192) / weights @ lapped.inverse_basis().T
    assert np.square(pixels).sum() == pytest.approx(np.square(noise).sum(), rel=0.02)


def test_grey_needs_no_chroma():
    grey = np.repeat(np.random.default_rng(3).integers(0, 256, (16, 16, 1), dtype=np.uint8), 3, axis=2)
    assert np.abs(lapped.analysis(grey)[..., lapped.PLANE :]).max() < 1e-3
