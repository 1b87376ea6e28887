"""The iteration loop: every unit in every framework, on both front ends and both strides."""

from __future__ import annotations

import itertools

import pytest
import torch

from lit_rnncomp.models.binarizer import Binarizer
from lit_rnncomp.models.config import RECONSTRUCTIONS, UNITS, CodecConfig
from lit_rnncomp.models.frontend import BlockDCT
from lit_rnncomp.models.loop import Estimate
from lit_rnncomp.models.reconstruction import GainEstimator

EVERY = [
    choice
    for choice in itertools.product(UNITS, RECONSTRUCTIONS, ("conv", "dct"), (8, 16))
    if choice[2] == "dct" or choice[1] not in ("coefficient_gain", "measured_gain")
]


@pytest.mark.parametrize(("unit", "reconstruction", "frontend", "stride"), EVERY)
def test_every_combination_runs_trains_and_decodes(tiny_codec, unit, reconstruction, frontend, stride) -> None:
    bits = 8 if stride == 8 else 32
    codec = tiny_codec(
        unit=unit, reconstruction=reconstruction, frontend=frontend, code_stride=stride, bits=bits, iterations=3
    )
    image = torch.rand(2, 3, 32, 64) * 2 - 1
    output = codec(image)
    assert [codes.shape for codes in output.codes] == [(2, bits, 32 // stride, 64 // stride)] * 3
    assert all(set(codes.unique().tolist()) <= {-1.0, 1.0} for codes in output.codes)
    for reconstruction_, residual in zip(output.reconstructions, output.residuals, strict=True):
        torch.testing.assert_close(reconstruction_ + residual, image)
    for decoded, encoded in zip(codec.decode(output.codes), output.reconstructions, strict=True):
        assert torch.equal(decoded, encoded)
    codec.train()
    torch.stack([r.abs().mean() for r in codec(image).residuals]).mean().backward()
    assert not [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_additive_adds_the_decoder_output_and_one_shot_does_not(tiny_codec) -> None:
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    for reconstruction, additive in (("additive", True), ("one_shot", False)):
        codec = tiny_codec(reconstruction=reconstruction)
        output, states, previous = codec(image), None, torch.zeros_like(image)
        for codes, picture in zip(output.codes, output.reconstructions, strict=True):
            estimate, states = codec.decoder(codes, states)
            torch.testing.assert_close(picture, estimate + previous if additive else estimate)
            previous = picture


def test_residual_scaling_with_gain_one_is_additive(tiny_codec) -> None:
    scaled = tiny_codec(reconstruction="residual_scaling")
    additive = tiny_codec(reconstruction="additive")
    additive.load_state_dict({k: v for k, v in scaled.state_dict().items() if not k.startswith("reconstruction")})
    last = scaled.reconstruction.estimator.last
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-100)  # elu(-100) + 2 = 1
    image = torch.rand(1, 3, 64, 32) * 2 - 1
    for a, b in zip(scaled(image).reconstructions, additive(image).reconstructions, strict=True):
        torch.testing.assert_close(a, b)


def test_gain_is_above_one_and_one_a_32_pixel_block() -> None:
    gain = GainEstimator()(torch.randn(2, 3, 64, 96) * 10)
    assert gain.shape == (2, 1, 2, 3)
    assert (gain > 1).all()


def test_measured_gains_follow_once_a_step_whatever_its_iterations(tiny_codec) -> None:
    codec = tiny_codec(reconstruction="measured_gain", frontend="dct", code_stride=8, bits=8, iterations=3).train()
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    before = codec.reconstruction.deviation.clone()
    first = codec.frontend.analysis(image).square().mean((0, 2, 3)).sqrt()
    codec(image, 2)
    assert torch.equal(codec.reconstruction.deviation[2], before[2])
    codec(image)
    after = codec.reconstruction.deviation
    torch.testing.assert_close(after[0], before[0].lerp(first, 0.02).lerp(first, 0.02))
    assert (after != before).any(1).all()


def test_measured_gains_follow_the_residuals_of_training_and_then_stay(tiny_codec) -> None:
    codec = tiny_codec(reconstruction="measured_gain", frontend="dct", code_stride=8, bits=8, iterations=3)
    framework, image = codec.reconstruction, torch.rand(4, 3, 32, 32) * 2 - 1
    before = framework.deviation.clone()
    output = codec.eval()(image)
    torch.testing.assert_close(list(codec.decode(output.codes)), output.reconstructions)
    assert torch.equal(framework.deviation, before)
    codec.train()
    for _ in range(300):
        codec(image)
    residuals = [codec.frontend.analysis(x) for x in (image, *codec.eval()(image).residuals[:2])]
    for t, residual in enumerate(residuals):
        root_mean_square = (residual * codec.gain(Estimate(t))).square().mean((0, 2, 3)).sqrt()
        torch.testing.assert_close(root_mean_square, torch.ones(192), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("gain_input", ["residual", "reconstruction"])
def test_gain_estimator_sees_what_the_option_says(tiny_codec, gain_input: str) -> None:
    codec = tiny_codec(reconstruction="residual_scaling", gain_input=gain_input, iterations=3)
    seen: list[torch.Tensor] = []
    codec.reconstruction.estimator.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    pictures = codec(torch.rand(1, 3, 32, 32) * 2 - 1).reconstructions
    assert len(seen) == 2
    torch.testing.assert_close(seen[0], pictures[0])
    torch.testing.assert_close(seen[1], pictures[1] - pictures[0] if gain_input == "residual" else pictures[1])


def test_gains_of_coefficients_bring_residuals_to_one_size(tiny_codec) -> None:
    codec = tiny_codec(reconstruction="coefficient_gain", frontend="dct", code_stride=8, bits=8, iterations=16)
    gain = codec.gain(Estimate(15))
    assert gain.shape == (192, 1, 1)
    assert codec.gain(Estimate(0)).eq(1).all()
    assert gain.min() >= 1
    assert gain.argmax() == 0  # the mean of luma is coded best
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    output = codec(image)
    torch.testing.assert_close(list(codec.decode(output.codes)), output.reconstructions)


def test_priming_runs_before_the_first_code_and_picture(tiny_codec) -> None:
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    plain, primed = tiny_codec(), tiny_codec(priming=2)
    runs: list[str] = []
    primed.encoder.register_forward_hook(lambda *_: runs.append("E"))
    primed.decoder.register_forward_hook(lambda *_: runs.append("D"))
    output = primed(image, iterations=2)
    assert "".join(runs) == "EEEDDDED"
    assert not torch.equal(output.reconstructions[0], plain(image).reconstructions[0])
    torch.testing.assert_close(list(primed.decode(output.codes)), output.reconstructions)


def test_block_dct_inverts_and_is_orthonormal_in_pixels() -> None:
    frontend = BlockDCT()
    image = torch.rand(2, 3, 24, 16) * 2 - 1
    coefficients = frontend.analysis(image)
    assert coefficients.shape == (2, 192, 3, 2)
    torch.testing.assert_close(frontend.synthesis(coefficients), image, rtol=1e-5, atol=1e-5)
    flat = frontend.analysis(torch.ones(1, 3, 8, 8)).flatten()
    assert flat[0] > 1
    assert flat[1:].abs().max() < 1e-5


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 3, 33, 32), (1, 3, 32, 40), (1, 3, 0, 32)])
def test_wrong_picture_shapes_are_named(tiny_codec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image of shape"):
        tiny_codec()(torch.zeros(shape))


def test_more_iterations_than_trained_for_are_refused(tiny_codec) -> None:
    with pytest.raises(ValueError, match=r"iterations=5 is outside 1\.\.4"):
        tiny_codec()(torch.zeros(1, 3, 32, 32), iterations=5)


def test_binarizer_is_unbiased_in_training_and_a_sign_otherwise() -> None:
    torch.manual_seed(0)
    binarizer = Binarizer(1, CodecConfig(bits=1))
    y = torch.tensor([-0.9, -0.3, 0.0, 0.5, 0.8])
    activation = torch.atanh(y)[:, None, None, None].expand(5, 1, 100, 100)
    binarizer.train()
    mean = binarizer(activation).mean((1, 2, 3))
    # Five standard errors of a mean of 10,000 signs.
    assert ((mean - y).abs() < 5 * ((1 - y * y) / 10_000).sqrt() + 1e-6).all()
    binarizer.eval()
    assert torch.equal(binarizer(activation)[:, 0, 0, 0], torch.tensor([-1.0, -1, 1, 1, 1]))


def test_gradient_passes_straight_through_to_tanh() -> None:
    import rnncomp_kernels as ops

    x = torch.randn(1, 2, 5, 5, requires_grad=True)
    for stochastic in (False, True):
        (gradient,) = torch.autograd.grad(ops.binarize(x, stochastic, seed=3).sum(), x)
        torch.testing.assert_close(gradient, 1 - x.tanh() ** 2)
