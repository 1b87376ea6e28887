"""Ternary codes in the recurrent family: untrained an embedded transform coder, and codes whose meaning no float
decides."""

import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.codec.binary_codec import BinaryCodec
from lit_rnncomp.data.samples import sample_photographs
from lit_rnncomp.images import to_signal
from lit_rnncomp.models import lapped, ternary
from lit_rnncomp.models.binarizer import Binarizer
from lit_rnncomp.models.config import UNITS, CodecConfig
from lit_rnncomp.models.numpy_codec import NumpyCodec
from lit_rnncomp.models.recurrent_codec import RecurrentCodec

TERNARY = {"codes": "ternary", "frontend": "lapped", "bits": 192, "code_stride": 8}


def config(**options):
    return CodecConfig(**{"unit": "gru", "width": 0.01, "iterations": 11, **TERNARY, **options})


@pytest.fixture(scope="module")
def photograph():
    with Image.open(sample_photographs()[0]) as image:
        return np.asarray(image.convert("RGB").crop((0, 0, 128, 96)))


def signal(picture):
    return to_signal(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float())


@torch.no_grad()
def test_an_untrained_network_is_an_embedded_transform_coder(photograph):
    output = RecurrentCodec(config()).eval()(signal(photograph))
    errors = [residual.square().mean().item() for residual in output.residuals]
    psnr = 10 * np.log10(4 / np.array(errors))
    assert (np.diff(psnr) > 0).all()
    assert psnr[-1] > 45
    x = lapped.analysis(photograph) * lapped.coefficient_weights()[lapped.TUNES.index("psnr")].astype(np.float32)
    for t, codes in enumerate(output.codes):
        digits = ternary.levels(x, t + 1) - 2 * ternary.levels(x, t)
        # Two float32 transforms of one picture: a coefficient may lie a rounding from a threshold.
        assert np.mean(codes[0].permute(1, 2, 0).numpy() != digits) < 2e-4
        assert set(np.unique(codes)) <= {-1, 0, 1}


@torch.no_grad()
def test_its_codes_are_the_digits_of_its_own_coefficients(photograph):
    codec = RecurrentCodec(config()).eval()
    x = codec.analysis(signal(photograph)).numpy()
    for t, step in enumerate(codec.encode(signal(photograph))):
        assert (step.codes.numpy() == ternary.levels(x, t + 1) - 2 * ternary.levels(x, t)).all()
        assert (step.estimate.value.numpy() == ternary.levels(x, t + 1) * ternary.threshold(t)).all()


@torch.no_grad()
def test_untrained_it_draws_the_middles_of_intervals(photograph):
    codec = RecurrentCodec(config()).eval()
    x = codec.analysis(signal(photograph))
    for t, step in enumerate(codec.encode(signal(photograph))):
        level = torch.trunc(x / ternary.threshold(t))
        assert torch.equal(step.estimate.drawn, (level + level.sign() / 2) * ternary.threshold(t))


def test_a_residual_out_of_reach_teaches_nothing():
    binarizer = Binarizer(8, config())
    activation = torch.tensor([-3.0, -1.5, -0.5, 0.0, 0.5, 1.0, 2.5], requires_grad=True)
    codes = binarizer(activation.reshape(1, 1, 1, -1))
    assert codes.flatten().tolist() == [-1, -1, 0, 0, 0, 1, 1]
    codes.sum().backward()
    assert activation.grad.tolist() == [0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("projections", ["shared", "per_iteration"])
def test_every_unit_runs_trains_and_decodes(tiny_codec, unit, projections):
    codec = tiny_codec(**TERNARY, unit=unit, iterations=3, projections=projections)
    image = torch.rand(2, 3, 32, 24) * 2 - 1
    output = codec(image)
    assert [codes.shape for codes in output.codes] == [(2, 192, 4, 3)] * 3
    for decoded, encoded in zip(codec.decode(output.codes), output.reconstructions, strict=True):
        assert torch.equal(decoded, encoded)
    codec.train()
    torch.stack([r.abs().mean() for r in codec(image).residuals]).mean().backward()
    assert not [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


@torch.no_grad()
def test_codes_add_up_whatever_the_decoder_makes_of_them(tiny_codec):
    codec, image = tiny_codec(**TERNARY, iterations=4), torch.rand(1, 3, 32, 24) * 2 - 1
    steps = list(codec.encode(image))
    total = sum(step.codes * ternary.threshold(t) for t, step in enumerate(steps))
    assert torch.equal(steps[-1].estimate.value, total)
    assert not torch.equal(codec.picture(steps[-1].estimate), codec.frontend.synthesis(total))
    codec.decoder.head.weight.mul_(-3)
    for before, after in zip(steps, codec.encode(image), strict=True):
        assert torch.equal(before.codes, after.codes)
        torch.testing.assert_close(learned(after.estimate), -3 * learned(before.estimate), rtol=1e-4, atol=1e-6)


def learned(estimate):
    """What the decoder adds to the middles of intervals, in thresholds."""
    level = estimate.value / ternary.threshold(estimate.t - 1)
    return estimate.correction / ternary.threshold(estimate.t - 1) - level.sign() / 2


def test_the_decoder_learns_on_top_of_it(photograph):
    """Every picture gets better, and no code changes: corrections are in units of each iteration's threshold."""
    torch.manual_seed(0)
    codec, image = RecurrentCodec(config(iterations=7, width=0.03)), signal(photograph)[..., :64, :64]
    before = codec(image)
    start = torch.stack([residual.abs().mean() for residual in before.residuals]).detach()
    optimizer = torch.optim.Adam(codec.decoder.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        (torch.stack([residual.abs().mean() for residual in codec(image).residuals]) / start).sum().backward()
        optimizer.step()
    after = codec(image)
    for old, new in zip(before.residuals, after.residuals, strict=True):
        assert new.square().mean() < 0.95 * old.square().mean()
    assert all(torch.equal(old, new) for old, new in zip(before.codes, after.codes, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frontend": "dct"}, "'ternary' and 'lapped' go together"),
        ({"codes": "binary"}, "'ternary' and 'lapped' go together"),
        ({"bits": 8, "code_stride": 16}, "needs code_stride=8 and bits=192"),
        ({"reconstruction": "one_shot"}, "needs reconstruction='additive'"),
        ({"iterations": 12}, r"iterations=12 is outside 1\.\.11"),
        ({"codes": "quaternary"}, "codes='quaternary' is not one of binary, ternary"),
    ],
)
def test_what_ternary_codes_need_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        config(**options)


def test_what_does_not_know_them_refuses_them_by_name():
    with pytest.raises(ValueError, match="codes='ternary'"):
        NumpyCodec(config(unit="residual_gru"), {})
    with pytest.raises(ValueError, match="codes='ternary' are not supported yet"):
        BinaryCodec(RecurrentCodec(config()))
