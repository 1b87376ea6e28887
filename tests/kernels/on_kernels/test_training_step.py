"""A whole training step of the networks gives the same loss and gradients with kernels as without."""

import pytest
import torch
from helpers.op_cases import DEVICE

import rnncomp_kernels as ops
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from rnncomp_kernels import reference


def step(codec, image):
    codec.zero_grad()
    torch.manual_seed(0)
    loss = torch.stack([r.abs().mean() for r in codec(image).residuals]).mean()
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in codec.parameters() if p.grad is not None]


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("unit", ["lstm", "associative_lstm", "gru", "residual_gru"])
def test_same_loss_and_gradients(unit, deferred, monkeypatch):
    torch.manual_seed(1)
    config = CodecConfig(unit=unit, frontend="dct", code_stride=8, bits=4, width=1 / 128, iterations=3, binarize="sign")
    codec = RecurrentCodec(config).to(DEVICE)
    image = torch.rand(2, 3, 16, 24, device=DEVICE) * 2 - 1
    codec.defer_gradients = deferred
    loss, gradients = step(codec, image)
    codec.defer_gradients = False
    for name in (
        "lstm_update",
        "associative_lstm_update",
        "gru_reset",
        "gru_update",
        "residual_gru_update",
        "binarize",
    ):
        monkeypatch.setattr(ops, name, getattr(reference, name))
    expected_loss, expected = step(codec, image)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-6)
    assert len(gradients) == len(expected) > 10
    for x, y in zip(gradients, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-5)
