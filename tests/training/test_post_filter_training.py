"""Training the filter of decoded pictures, with the decoder or after it."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from helpers.ternary_runs import SMALL, assert_pictures_are_those_of_files, fit
from PIL import Image

import lit_rnncomp
from lit_rnncomp.cli import main
from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.container import BitstreamError
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.models.context_model import ContextModel
from lit_rnncomp.training.recurrent_ternary import RecurrentTernaryDecoder
from lit_rnncomp.training.ternary_decoder import TernaryDecoder

FILTER = {"filter_channels": 8, "filter_blocks": 2}


@pytest.fixture(scope="module")
def decoder(pictures, tmp_path_factory):
    """A checkpoint without a filter, and its mean PSNR."""
    L.seed_everything(1)
    module, folder = TernaryDecoder(**SMALL, lr=0.01), tmp_path_factory.mktemp("run")
    trainer, _ = fit(module, pictures, folder)
    return next(folder.rglob("best.ckpt")), float(trainer.callback_metrics["val/mean_psnr"])


def best(folder: Path) -> Path:
    (path,) = folder.rglob("best.ckpt")
    return path


def test_a_filter_learns_with_its_decoder(pictures, tmp_path):
    L.seed_everything(1)
    module = TernaryDecoder(**SMALL, **FILTER, ms_ssim_weight=0.5, early_ends=0.5, lr=0.01)
    loss = module.training_step(torch.rand(4, 3, 64, 64) * 2 - 1, 0)
    assert loss.item() > 1, "the error before the filter, that of whole pictures after it, and the similarity"
    fit(module, pictures, tmp_path)
    names = {"relative_error", "relative_error_filtered", "relative_1-ms_ssim"}
    assert module.step_values.keys() == {f"train/{name}" for name in names}
    assert torch.any(module.network.filter.head.weight != 0) and torch.any(module.network.head.weight != 0)


@pytest.mark.parametrize("stages", [1, 2])
def test_filtered_pictures_are_those_of_files(stages, pictures, tmp_path):
    L.seed_everything(1)
    module = TernaryDecoder(**SMALL, **FILTER, stages=stages, lr=0.02)
    _, data = fit(module, pictures, tmp_path, steps=9)
    loaded = ternary_weights.load_refiner(best(tmp_path))
    module.eval().network.load_state_dict(loaded.state_dict())
    tensors, _ = ternary_weights.TernaryWeights.of(ContextModel(8, 1, stages=stages), loaded)
    codec = TernaryCodec(tensors)
    held = data.split()[1][0]
    assert_pictures_are_those_of_files(module, codec, held)
    unfiltered = TernaryCodec({name: x for name, x in tensors.items() if not name.startswith("filter.")})
    data = codec.encode(Image.open(held), step=1200)
    with pytest.raises(BitstreamError, match="made by model"):
        unfiltered.decode(data)
    unfiltered.digest = codec.digest
    assert np.any(np.asarray(codec.decode(data)) != np.asarray(unfiltered.decode(data)))


def test_a_filter_alone_leaves_its_decoder_as_it_was(decoder, pictures, tmp_path):
    checkpoint, before = decoder
    module = TernaryDecoder(**SMALL, **FILTER, filter_alone=True, weights=str(checkpoint), lr=0.01)
    trainer, _ = fit(module, pictures, tmp_path, steps=30)
    after = ternary_weights.load_refiner(best(tmp_path)).state_dict()
    earlier = ternary_weights.load_refiner(checkpoint).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in earlier.items())
    assert torch.any(after["filter.head.weight"] != 0)
    assert float(trainer.callback_metrics["val/mean_psnr"]) > before + 0.01


def test_a_filter_begins_as_none(decoder, pictures, tmp_path):
    checkpoint, before = decoder
    module = TernaryDecoder(**SMALL, **FILTER, weights=str(checkpoint), lr=0.0)
    trainer, _ = fit(module, pictures, tmp_path, steps=3)
    assert float(trainer.callback_metrics["val/mean_psnr"]) == pytest.approx(before, abs=1e-4)


def test_more_blocks_of_a_filter_begin_as_none(pictures, tmp_path):
    torch.manual_seed(0)
    earlier = TernaryDecoder(**SMALL, **FILTER, lr=0.01)
    fit(earlier, pictures, tmp_path / "earlier", steps=3)
    deeper = {**FILTER, "filter_blocks": 4}
    module = TernaryDecoder(**SMALL, **deeper, weights=str(best(tmp_path / "earlier")), lr=0.0)
    trainer, _ = fit(module, pictures, tmp_path / "deeper", steps=3)
    before = float(earlier.trainer.callback_metrics["val/mean_psnr"])
    assert float(trainer.callback_metrics["val/mean_psnr"]) == pytest.approx(before, abs=1e-4)


def test_export_takes_the_filter_along(decoder, pictures, tmp_path, capsys):
    L.seed_everything(1)
    module = TernaryDecoder(**SMALL, **FILTER, lr=0.01)
    fit(module, pictures, tmp_path, steps=3)
    context = tmp_path / "context.ckpt"
    network = ContextModel(8, 1)
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state, "context_config": {"channels": 8, "blocks": 1}}, context)
    made = tmp_path / "model.safetensors"
    main(["export", str(best(tmp_path)), str(made), "--entropy", str(context), "--half"])
    names = lit_rnncomp.load(made).tensors
    assert names["filter.head.weight"].dtype == np.float16 and "refiner.filter.head.weight" not in names


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="filter_alone trains a filter after a decoder: it needs filter_channels and"):
        TernaryDecoder(**SMALL, **FILTER, filter_alone=True)
    with pytest.raises(ValueError, match="filter_channels=-8 or filter_blocks=6 is negative"):
        TernaryDecoder(**SMALL, filter_channels=-8)
    with pytest.raises(ValueError, match="filter_channels=8: networks with a state are trained with filter_channels=0"):
        RecurrentTernaryDecoder(**SMALL, **FILTER)
