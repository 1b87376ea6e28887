"""Kernels are at most twice as far from float64 as plain PyTorch in the same type: no tolerance to tune."""

import pytest
import torch
from helpers.op_cases import CASES, DEVICE, promoted, results
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rnncomp_kernels as ops

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def furthest(x, truth):
    """The largest error; where the truth is out of range both must say so."""
    finite = truth.abs() <= torch.finfo(x.dtype).max
    return (x.double() - truth)[finite].abs().max().item() if finite.any() else 0.0


def assert_accurate(case, inputs, slack=0.0):
    """`slack`: roundings of the largest value that are forgiven besides, for tensors too small for a maximum to mean
    much."""
    (dtype,) = {x.dtype for x in inputs if x is not None}
    truth = results(case, case.definition, promoted(inputs), rounded=dtype)
    plain = results(case, case.definition, inputs)
    for ours, eager, exact in zip(results(case, case.op, inputs), plain, truth, strict=True):
        assert ours.dtype == eager.dtype
        allowed = 2 * furthest(eager, exact) + slack * torch.finfo(ours.dtype).eps * exact.abs().max().item()
        assert furthest(ours, exact) <= allowed


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-3], ids=["normal", "tiny"])
def test_twice_the_error_of_eager(case, dtype, scale):
    assert_accurate(case, case.inputs((2, 12, 9, 13), dtype, scale), slack=0.5)


@pytest.mark.filterwarnings(
    "ignore:overflow encountered:RuntimeWarning"
)  # NumPy's, in the interpreter: exp(1e4) is infinity, as meant
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_saturated(case):
    assert_accurate(case, case.inputs((2, 5, 7, 9), torch.float32, 1e4), slack=1)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=st.sampled_from(CASES),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 17), st.integers(1, 17)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_any_shape_is_accurate(case, shape, dtype, seed):
    assert_accurate(case, case.inputs(shape, dtype, seed=seed), slack=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_results_are_rounded_to_the_nearest(dtype):
    """What a kernel adds up in float32 it stores as PyTorch would round it: nothing is cut off."""
    z = torch.full((1, 1, 1, 64), 40.0, dtype=dtype, device=DEVICE)  # s(z) is 1: the new state is tanh(n)
    n = torch.linspace(-2, 2, 64, dtype=dtype, device=DEVICE).view(1, 1, 1, 64)
    expected = torch.tanh(n.double()).to(dtype)
    assert torch.equal(ops.gru_update(torch.cat((z, n, n), 1)), expected)
