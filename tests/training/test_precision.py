"""With `bf16-mixed` convolutions alone are in bfloat16: gates, states, the sum of an additive codec, front ends and
metrics are float32; entropy models, which count in integers, are not touched."""

import lightning as L
import pytest
import torch

from lit_rnncomp.evaluation import metrics
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.frontend import make_frontend
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.callbacks import Precision
from lit_rnncomp.training.ternary_decoder import TernaryDecoder
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel

DCT = {"frontend": "dct", "code_stride": 8, "bits": 8}
NETWORKS = [
    {"unit": "lstm", "reconstruction": "additive"},
    {"unit": "associative_lstm", "reconstruction": "one_shot"},
    {"unit": "gru", "reconstruction": "residual_scaling"},
    {
        "unit": "residual_gru",
        "reconstruction": "measured_gain",
        "projections": "per_iteration",
        "shortcut": True,
        **DCT,
    },
]


def mixed():
    return torch.autocast("cpu", torch.bfloat16)


def tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors(each)


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network["unit"])
def test_states_and_sums_are_float32(network, deferred):
    torch.manual_seed(0)
    codec = RecurrentCodec(CodecConfig(width=0.03125, iterations=3, **network)).train()
    codec.defer_gradients = deferred
    seen, halves = [], []
    for cell in (*codec.encoder.layers, *codec.decoder.layers):
        cell.register_forward_hook(lambda module, inputs, outputs: seen.extend(tensors(outputs)))
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with mixed():
        for step in codec.encode(image):
            seen += tensors([step.codes, step.estimate.value, step.estimate.drawn])
            halves.append(step.estimate.value)
    assert len(seen) > 20 and {tensor.dtype for tensor in seen} == {torch.float32}
    torch.manual_seed(0)
    full = [step.estimate.value for step in RecurrentCodec(codec.config).train().encode(image)]
    assert (halves[0] != full[0]).any(), "the convolutions are in bfloat16"


@pytest.mark.parametrize("frontend", ["dct", "lapped"])
def test_front_ends_lose_nothing(frontend):
    options = {"codes": "ternary", "bits": 192, "iterations": 4} if frontend == "lapped" else {"bits": 8}
    transform = make_frontend(
        CodecConfig(unit="residual_gru", reconstruction="additive", frontend=frontend, code_stride=8, **options)
    )
    image = torch.rand(1, 3, 32, 40) * 2 - 1
    with mixed():
        there = transform.analysis(image)
        back = transform.synthesis(there)
    assert torch.equal(there, transform.analysis(image)) and torch.equal(back, transform.synthesis(there))
    torch.testing.assert_close(back, image, atol=1e-5, rtol=0)


def test_entropy_models_are_not_touched():
    torch.manual_seed(0)
    module = TernaryEntropyModel(channels=16, blocks=1)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    with mixed():
        bpp = module.bpp(module.at(image, 5, "psnr"))
    assert torch.equal(bpp, module.bpp(module.at(image, 5, "psnr")))


def test_ternary_pictures_are_measured_in_float32(monkeypatch):
    torch.manual_seed(0)
    module = TernaryDecoder(channels=16, blocks=1)
    enabled = []
    for name in ("psnr", "ms_ssim", "psnr_hvs"):
        measure = getattr(metrics, name)

        def watched(*pictures, measure=measure, **options):
            enabled.append(torch.is_autocast_enabled("cpu"))
            assert all(picture.dtype == torch.float32 for picture in pictures)
            return measure(*pictures, **options)

        monkeypatch.setattr(metrics, name, watched)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with mixed():
        module.validation_step(image, 0)
    assert len(enabled) == 15 and not any(enabled)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_other_precisions_are_refused(precision):
    trainer = L.Trainer(precision=precision, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match=f"trainer.precision={precision} .*: use bf16-mixed"):
        Precision().setup(trainer, TernaryDecoder(channels=16, blocks=1), "fit")
    kept = L.Trainer(precision="bf16-mixed", accelerator="cpu", logger=False, enable_checkpointing=False)
    Precision().setup(kept, TernaryDecoder(channels=16, blocks=1), "fit")
