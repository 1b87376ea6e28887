"""The fused layers' public functions on the plain path: the same as convolutions and the update; errors that name the
tensor."""

import pytest
import torch
import torch.nn.functional as F

import rnncomp_kernels as ops
from rnncomp_kernels import reference


def test_lstm_is_two_convolutions_and_the_update():
    x, weight, bias = torch.randn(2, 3, 7, 6), torch.randn(16, 3, 3, 3), torch.randn(16)
    hidden, h, c = torch.randn(16, 4, 1, 1), torch.randn(2, 4, 4, 3), torch.randn(2, 4, 4, 3)
    expected = reference.lstm_update(F.conv2d(x, weight, bias, 2, 1), c, F.conv2d(h, hidden))
    for ours, theirs in zip(ops.conv_lstm_step(x, weight, bias, hidden, h, c, stride=2), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("first", [False, True])
def test_residual_gru_is_three_convolutions_and_the_update(first):
    x, weight, bias = torch.randn(2, 3, 7, 6), torch.randn(16, 3, 3, 3), torch.randn(16)
    hidden, candidate, h = torch.randn(12, 4, 3, 3), torch.randn(4, 4, 3, 3), torch.randn(2, 4, 4, 3)
    gates, of_h = F.conv2d(x, weight, bias, 2, 1), F.conv2d(h, hidden, padding=1)
    state = (of_h, F.conv2d(reference.gru_reset(gates, of_h, h), candidate, padding=1), h)
    expected = reference.residual_gru_update(gates, *(() if first else state), alpha_h=0.3, alpha_x=0.2)
    result = ops.conv_residual_gru_step(x, weight, bias, hidden, candidate, None if first else h, 2, 0.3, 0.2)
    for name in ("h", "out"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name))


T = torch.zeros


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ops.conv_lstm_step(T(1, 3, 4, 4), T(8, 2, 3, 3), None, T(8, 2, 1, 1)),
            r"x \(1, 3, 4, 4\), weight \(8, 2, 3, 3\)",
        ),
        (lambda: ops.conv_lstm_step(T(1, 3, 4, 4), T(8, 3, 2, 2), None, T(8, 2, 1, 1)), "k odd"),
        (lambda: ops.conv_lstm_step(T(1, 3, 4, 4), T(8, 3, 3, 3), None, T(8, 3, 1, 1)), "hidden_weight has shape"),
        (
            lambda: ops.conv_lstm_step(T(1, 3, 4, 4), T(8, 3, 3, 3), T(7), T(8, 2, 1, 1)),
            r"bias has shape \(7,\), expected \(8,\)",
        ),
        (lambda: ops.conv_lstm_step(T(1, 3, 4, 4), T(8, 3, 3, 3), None, T(8, 2, 1, 1), T(1, 2, 4, 4)), "c missing"),
        (
            lambda: ops.conv_lstm_step(T(1, 3, 4, 4), T(8, 3, 3, 3).half(), None, T(8, 2, 1, 1)),
            "weight is torch.float16",
        ),
        (
            lambda: ops.conv_gru_step(T(1, 3, 4, 4), T(6, 3, 3, 3), None, T(4, 2, 1, 1), T(2, 2, 3, 3)),
            "candidate_weight is",
        ),
        (
            lambda: ops.conv_gru_step(T(1, 3, 4, 4), T(6, 3, 3, 3), None, T(4, 2, 1, 1), T(2, 2, 1, 1), T(1, 2, 3, 4)),
            "h has shape",
        ),
        (
            lambda: ops.conv_gru_step(T(1, 3, 4, 4), T(6, 3, 3, 3), None, T(4, 2, 1, 1), T(2, 2, 1, 1, device="meta")),
            r"candidate_weight is torch.float32 \(2, 2, 1, 1\) on meta, expected torch.float32 \(2, 2, 1, 1\) on cpu",
        ),
        (
            lambda: ops.conv_residual_gru_step(T(1, 3, 4, 4), T(6, 3, 3, 3), None, T(4, 2, 1, 1), T(2, 2, 1, 1)),
            r"conv_residual_gru_step: x \(1, 3, 4, 4\), weight \(6, 3, 3, 3\): expected .* \(4 \* C, in, k, k\)",
        ),
        (
            lambda: ops.conv_residual_gru_step(T(1, 3, 4, 4), T(8, 3, 3, 3), None, T(4, 2, 1, 1), T(2, 2, 1, 1)),
            r"hidden_weight has shape \(4, 2, 1, 1\), expected \(6, 2, k, k\)",
        ),
        (
            lambda: ops.conv_residual_gru_step(T(1, 3, 4, 4), T(8, 3, 3, 3), None, T(6, 2, 1, 1), T(2, 2, 3, 3)),
            "conv_residual_gru_step: candidate_weight is",
        ),
        (
            lambda: ops.conv_residual_gru_step(
                T(1, 3, 4, 4), T(8, 3, 3, 3), None, T(6, 2, 1, 1), T(2, 2, 1, 1), T(1, 2, 3, 4), 2
            ),
            r"conv_residual_gru_step: h has shape \(1, 2, 3, 4\), expected \(1, 2, 2, 2\)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
