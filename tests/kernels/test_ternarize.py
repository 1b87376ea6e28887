"""Ternary codes: the dead zone and its edges, and a gradient that passes straight through. Runs on the reference and on
the kernels."""

import math

import pytest
import torch
from helpers.op_cases import DEVICE

import rnncomp_kernels as ops
from rnncomp_kernels import _launch, reference

TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", TYPES)
def test_zero_inside_and_the_sign_from_one_on(dtype):
    below = 1 - torch.finfo(dtype).eps / 2
    values = [-math.inf, -2048.0, -1.0, -below, -0.0, 0.0, 1e-6, below, 1.0, 1.5, math.inf, math.nan]
    x = torch.tensor(values, device=DEVICE, dtype=dtype).view(1, len(values), 1, 1)
    codes = ops.ternarize(x)
    assert codes.dtype == dtype
    assert codes.flatten().tolist() == [-1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 192, 3, 5), (3, 7, 17, 1), (0, 4, 2, 2)])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_codes_equal_the_definition(shape, form, monkeypatch):
    monkeypatch.setattr(_launch, "TILE", 64)
    x = (2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(DEVICE).contiguous(memory_format=form)
    codes = ops.ternarize(x)
    assert torch.equal(codes, reference.ternarize(x))
    assert codes.stride() == x.stride() or not x.numel() or 1 in shape


def test_other_layouts_are_copied():
    x = 2 * torch.randn(2, 5, 4, 6, device=DEVICE)
    assert torch.equal(ops.ternarize(x.transpose(1, 3)), ops.ternarize(x).transpose(1, 3))


def test_gradient_passes_straight_through():
    x = (2 * torch.randn(2, 4, 3, 3, device=DEVICE)).requires_grad_()
    weight = torch.randn(2, 4, 3, 3, device=DEVICE)
    (grad,) = torch.autograd.grad(ops.ternarize(x), x, weight)
    assert torch.equal(grad, weight)


def test_codes_of_a_loop_are_binary_digits():
    """Residual, gain, code, estimate, residual: digits of |x|, most significant first, with the sign of x."""
    x = torch.tensor([5.5, -6.0, 0.25, 7.99], device=DEVICE).view(1, 4, 1, 1)
    estimate, digits = torch.zeros_like(x), []
    for threshold in (4.0, 2.0, 1.0):
        codes = ops.ternarize((x - estimate) / threshold)
        estimate = estimate + codes * threshold
        digits.append(codes.flatten().tolist())
    assert digits == [[1, -1, 0, 1], [0, -1, 0, 1], [1, 0, 0, 1]]
