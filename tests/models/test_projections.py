"""What differs from iteration to iteration, projections and the shortcut, and starting from a network without them."""

from __future__ import annotations

import copy

import pytest
import torch

from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.loop import Estimate
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.compressors import warm_start
from lit_rnncomp.training.optimizers import make_optimizer

DCT = {"frontend": "dct", "code_stride": 8, "bits": 8, "reconstruction": "measured_gain"}
OWN = {"projections": "per_iteration"}
IMAGE = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("options", [OWN, DCT | OWN, DCT | {"shortcut": True}, DCT | OWN | {"shortcut": True}], ids=str)
@pytest.mark.parametrize("unit", ["lstm", "residual_gru"])
def test_they_run_decode_and_learn(tiny_codec, options: dict, unit: str) -> None:
    codec = tiny_codec(unit=unit, iterations=3, binarize="sign", **options)
    output = codec(IMAGE)
    for decoded, encoded in zip(codec.decode(output.codes), output.reconstructions, strict=True):
        assert torch.equal(decoded, encoded)
    gradients = []
    for recompute in (False, True):
        trained = copy.deepcopy(codec).train()
        trained.recompute = recompute
        torch.stack([r.abs().mean() for r in trained(IMAGE).residuals]).mean().backward()
        gradients.append([p.grad for p in trained.parameters()])
    assert all(g.abs().max() > 0 for g in gradients[0])
    torch.testing.assert_close(*gradients)


def test_only_the_projections_of_an_iteration_change_it(tiny_codec) -> None:
    codec = tiny_codec(**DCT, **OWN, shortcut=True)
    before = codec(IMAGE).reconstructions
    with torch.no_grad():
        codec.encoder.stem[2].weight.neg_()
        codec.decoder.shortcut.weight[2].neg_()
    after = codec(IMAGE).reconstructions
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False, False]


def test_the_shortcut_codes_what_the_recurrent_layers_cannot_see(tiny_codec) -> None:
    codec = tiny_codec(**DCT, shortcut=True, iterations=1)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.zero_()
        for bit, coefficient in enumerate(range(0, 192, 24)):
            codec.binarizer.shortcut.weight[0, bit, coefficient] = 1
            codec.decoder.shortcut.weight[0, coefficient, bit] = 0.5
    target = codec.frontend.analysis(IMAGE)
    (code,), (picture,) = codec(IMAGE).codes, codec(IMAGE).reconstructions
    assert torch.equal(code > 0, target[:, ::24] >= 0)
    gain = codec.gain(Estimate())
    torch.testing.assert_close((codec.frontend.analysis(picture) * gain)[:, ::24], code / 2, rtol=1e-4, atol=1e-4)


def test_warm_start_begins_where_the_simpler_network_was(tiny_codec) -> None:
    simple = tiny_codec(**DCT)
    rich = RecurrentCodec(CodecConfig(width=0.01, iterations=4, **DCT, **OWN, shortcut=True)).eval()
    warm_start(rich, simple)
    torch.testing.assert_close(rich(IMAGE).reconstructions, simple(IMAGE).reconstructions)
    again = RecurrentCodec(rich.config)
    warm_start(again, rich)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), rich.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("there", "here", "message"),
    [
        (DCT | OWN, DCT, "encoder.stem.weight .* nothing there"),
        (DCT | {"shortcut": True}, DCT, "no binarizer.shortcut.weight"),
        (DCT, DCT | {"width": 0.05}, r"\(8, 192, 1, 1\) there"),
        (DCT | {"unit": "gru"}, DCT, "in this network"),
    ],
    ids=["projections", "shortcut", "width", "unit"],
)
def test_warm_start_refuses_another_network(tiny_codec, there: dict, here: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warm_start(tiny_codec(**here), tiny_codec(**there))


def test_shortcuts_learn_at_the_full_rate_without_decay(tiny_codec) -> None:
    codec = tiny_codec(**DCT, shortcut=True)
    groups = make_optimizer("muon", codec, 0.01, 1e-8, 0.1).param_groups
    (group,) = [g for g in groups if any(p is codec.decoder.shortcut.weight for p in g["params"])]
    assert (group["use_muon"], group["lr"], group["weight_decay"]) == (False, 0.01, 0.0)


@pytest.mark.parametrize("options", [{"frontend": "conv"}, {"frontend": "dct", "code_stride": 16}], ids=str)
def test_a_shortcut_needs_coefficients_at_the_codes_resolution(options: dict) -> None:
    with pytest.raises(ValueError, match="shortcut=True needs frontend='dct' and code_stride=8"):
        CodecConfig(shortcut=True, **options)
