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
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
