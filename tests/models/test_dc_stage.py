"""The second stage of the transform: invertible, exact in any order, and compact where a picture is smooth."""

import numpy as np
import pytest

from lit_rnncomp.models import dc_stage, lapped


def plane(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """DC coefficients of a photograph's size. `(rows, columns, 3)`."""
    return (np.random.RandomState(seed).uniform(-1, 1, (rows, columns, 3)) * 1760).astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 4), (8, 4), (13, 22)])
def test_coefficients_come_back(size):
    dc = plane(*size)
    coarse = dc_stage.analysis(dc)
    assert coarse.shape == (*dc_stage.shape(*size), dc_stage.COARSE)
    np.testing.assert_allclose(dc_stage.synthesis(coarse, *size), dc, atol=0.15)


def test_lengths_are_kept():
    dc = plane(16, 24)
    assert np.square(dc_stage.analysis(dc)).sum() == pytest.approx(np.square(dc).sum(), rel=1e-4)


def test_the_largest_coefficients_fit_the_first_threshold():
    """Of a plane whose values are the largest there are: saturated, with the signs of any one basis function."""
    largest = 127.5 * 8 * lapped.coefficient_weights().max()
    for index in range(0, dc_stage.COARSE, 5):
        unit = np.zeros((5, 5, dc_stage.COARSE))
        unit[2, 2, index] = 1
        signs = np.sign(dc_stage.synthesis(unit, 20, 20))
        assert np.abs(dc_stage.analysis(signs * largest)).max() < 4 * 4096


def test_a_slope_is_few_coefficients():
    """Of a smooth plane nearly all is in three coefficients of each sixteen; block by block, in sixteen of sixteen."""
    y, x = np.mgrid[:24, :24]
    dc = np.stack([30.0 * x + 10 * y, 5.0 * y, 300 - 7.0 * x], -1)
    coarse = dc_stage.analysis(dc)[1:-1, 1:-1]
    assert (np.abs(coarse) > 32).mean() < 0.2
    assert (np.abs(dc[4:-4, 4:-4]) > 32).mean() > 0.8


@pytest.mark.parametrize("kind", ["float64", "longdouble"])
def test_sums_are_exact(kind, monkeypatch):
    """With more digits, or in another order, the same numbers: what the entropy model sees has to be."""
    dc = plane(13, 22)
    coarse = dc_stage.analysis(dc)
    halves = np.rint(coarse / 0.5) * 0.5  # the middles of the finest levels
    known = dc_stage.synthesis(halves, 13, 22)

    def backwards(matrix, x, axis, first):
        x = np.moveaxis(x, axis, 0)
        count = (len(x) - first) // dc_stage.SIDE
        if count:
            part = x[first : first + dc_stage.SIDE * count]
            values = part.reshape(count, dc_stage.SIDE, -1).astype(kind)
            sums = sum(matrix[:, [k]].astype(kind) * values[:, [k]] for k in reversed(range(dc_stage.SIDE)))
            part[...] = (np.rint(sums * 4096) / 4096).reshape(part.shape)

    monkeypatch.setattr(dc_stage, "_apply", backwards)
    np.testing.assert_array_equal(dc_stage.analysis(dc), coarse)
    np.testing.assert_array_equal(dc_stage.synthesis(halves, 13, 22), known)


def test_no_element_of_a_matrix_is_close_to_the_middle_of_two():
    """So that another library's cosine rounds to the same whole multiples."""
    for matrix in (lapped.block_dct(dc_stage.SIDE), lapped.butterfly(dc_stage.SIDE)):
        places = np.abs(matrix) * 2**16
        assert np.abs(places - np.floor(places) - 0.5).min() > 1e-3
