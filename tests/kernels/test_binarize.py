"""The binarizer: signs, noise that is a function of seed and index, packed bits. Runs on the reference and on the
kernels."""

import math

import pytest
import torch
from helpers.op_cases import DEVICE

import rnncomp_kernels as ops
from rnncomp_kernels import _launch, reference


def normal(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def test_sign_where_zero_is_positive():
    x = torch.tensor([-2.0, -0.0, 0.0, 1e-9, -1e-9, 3.0], device=DEVICE).view(1, 6, 1, 1)
    assert ops.binarize(x).flatten().tolist() == [-1, 1, 1, 1, -1, 1]


def test_noise_is_unbiased():
    """The mean of n draws of a code of mean y lies within 4.5 standard errors of y: wrong once in 150,000 runs, and the
    seed is fixed."""
    n = 10_000
    for value in (-1.5, -0.2, 0.0, 0.7):
        codes = ops.binarize(torch.full((1, 1, 100, 100), value, device=DEVICE), stochastic=True, seed=17)
        y = math.tanh(value)
        assert set(codes.unique().tolist()) == {-1, 1}
        assert abs(codes.mean().item() - y) < 4.5 * math.sqrt((1 - y * y) / n)


def test_noise_is_a_function_of_seed_and_index():
    x = normal(2, 8, 5, 5) * 0.3
    codes = ops.binarize(x, stochastic=True, seed=3)
    assert torch.equal(codes, ops.binarize(x, stochastic=True, seed=3))
    assert torch.equal(codes, ops.binarize(x, stochastic=True, seed=torch.tensor(3, device=DEVICE)))
    assert torch.equal(codes, ops.binarize(x.contiguous(memory_format=torch.channels_last), stochastic=True, seed=3))
    # a prefix of the batch draws the same numbers: nothing depends on how many elements there are
    assert torch.equal(codes[:1], ops.binarize(x[:1], stochastic=True, seed=3))
    assert torch.equal(ops.binarize(x, stochastic=True), ops.binarize(x, stochastic=True, seed=0))


def test_noise_of_other_seeds_is_independent():
    x = torch.zeros(1, 32, 16, 16, device=DEVICE)
    codes = [ops.binarize(x, stochastic=True, seed=s).flatten() for s in (0, 1, 2, 1 << 32, (1 << 32) + 1)]
    for i, a in enumerate(codes):
        for b in codes[:i]:
            assert abs((a * b).mean().item()) < 4.5 / math.sqrt(x.numel())


@pytest.mark.parametrize("seed", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_seed_has_64_bits(seed):
    x = normal(2, 4, 3, 5)
    codes = ops.binarize(x, stochastic=True, seed=seed)
    assert torch.equal(codes.cpu(), reference.binarize(x.cpu(), stochastic=True, seed=seed))


def test_noise_does_not_depend_on_the_tile(monkeypatch):
    x = normal(1, 8, 20, 20)
    codes = ops.binarize(x, stochastic=True, seed=5)
    monkeypatch.setattr(_launch, "TILE", 256)
    assert torch.equal(codes, ops.binarize(x, stochastic=True, seed=5))


def test_codes_equal_the_definitions():
    """The CPU's codes and the kernels' are the same for a seed, up to values within a rounding of the threshold."""
    x = normal(2, 32, 9, 11, seed=1)
    ours, expected = ops.binarize(x, stochastic=True, seed=99), reference.binarize(x, stochastic=True, seed=99)
    y, threshold = torch.tanh(x), reference.uniform(x.numel(), 99, x.device).view(x.shape) * 2 - 1
    clear = (y - threshold).abs() > 1e-6
    assert clear.float().mean() > 0.99
    assert torch.equal(ours[clear], expected[clear])


@pytest.mark.parametrize("stochastic", [False, True])
def test_gradient_is_that_of_tanh(stochastic):
    x = normal(2, 4, 3, 3).double().requires_grad_()
    weight = normal(2, 4, 3, 3, seed=2).double()
    (grad,) = torch.autograd.grad(ops.binarize(x, stochastic, seed=1), x, weight)
    torch.testing.assert_close(grad, weight * (1 - torch.tanh(x) ** 2))
