"""Training the two networks of ternary codes: what is logged is what files and pictures have, exported as one model."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from helpers.ternary_runs import (
    SMALL,
    assert_bits_are_those_of_files,
    assert_pictures_are_those_of_files,
    fit,
)
from PIL import Image

import lit_rnncomp
from lit_rnncomp.cli import main
from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.models import lapped
from lit_rnncomp.models.refiner import Refiner
from lit_rnncomp.training.recurrent_ternary import RecurrentTernaryDecoder, RecurrentTernaryEntropyModel
from lit_rnncomp.training.ternary_decoder import TernaryDecoder
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel

STATELESS = (TernaryEntropyModel, TernaryDecoder)


@pytest.fixture(scope="module")
def fitted(pictures, tmp_path_factory):
    """Trainer, module and data of each of the two, after a few steps."""
    runs = {}
    for kind in STATELESS:
        L.seed_everything(1)
        module = kind(**SMALL, lr=0.01)
        trainer, data = fit(module, pictures, tmp_path_factory.mktemp("run"))
        runs[kind] = trainer, module.eval(), data
    return runs


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    """The file that `export` makes of both."""
    context, decoder = (fitted[kind][0].checkpoint_callback.best_model_path for kind in fitted)
    file = tmp_path_factory.mktemp("export") / "model.safetensors"
    main(["export", decoder, str(file), "--entropy", context])
    return file


def test_bits_per_pixel_are_logged_and_fall(fitted):
    trainer, module, _ = fitted[TernaryEntropyModel]
    rates = [float(trainer.callback_metrics[f"val/bpp_{t:02d}"]) for t in range(1, 10)]
    assert rates == sorted(rates)
    assert float(trainer.callback_metrics["val/bpp"]) == rates[-1]
    assert trainer.checkpoint_callback.monitor == "val/bpp"
    before = TernaryEntropyModel(**SMALL)
    with torch.no_grad():
        for picture in fitted[TernaryEntropyModel][2].val_dataloader():
            before.validation_step(picture / 127.5 - 1, 0)
    assert rates[-1] < 0.9 * before.means.compute()["val/bpp"]
    assert (module.mean_bits > 0).any()


@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_the_bits_that_are_logged_are_those_of_files(fitted, model, tune):
    """Of an iteration in which every coefficient has a code that is not 0, for files leave out those that have none."""
    path = Path(fitted[TernaryEntropyModel][0].checkpoint_callback.best_model_path)
    module = TernaryEntropyModel(**SMALL)
    module.network.load_state_dict(ternary_weights.load_context_model(path).state_dict())
    assert_bits_are_those_of_files(module, lit_rnncomp.load(model), tune)


def test_decoded_pictures_are_those_of_files(fitted, model):
    module = TernaryDecoder(**SMALL)
    path = Path(fitted[TernaryDecoder][0].checkpoint_callback.best_model_path)
    module.network.load_state_dict(ternary_weights.load_refiner(path).state_dict())
    held = fitted[TernaryDecoder][2].split()[1][0]
    assert_pictures_are_those_of_files(module, lit_rnncomp.load(model), held)


def test_quality_is_logged_for_both_tunes(fitted):
    metrics = fitted[TernaryDecoder][0].callback_metrics
    for name, after in (("psnr", 9), ("ms_ssim", 9), ("psnr_hvs", 9)):
        points = [float(metrics[f"val/{name}_{t:02d}"]) for t in range(5, after + 1)]
        assert points == sorted(points)
        assert float(metrics[f"val/mean_{name}"]) == pytest.approx(np.mean(points), rel=1e-5)
    assert fitted[TernaryDecoder][0].checkpoint_callback.monitor == "val/mean_psnr"


def test_an_untrained_decoder_is_as_good_as_the_middles_of_intervals():
    module = TernaryDecoder(**SMALL)
    module.log = lambda *args, **options: None
    torch.manual_seed(0)
    loss = module.training_step(torch.rand(4, 3, 64, 64) * 2 - 1, 0)
    assert loss.item() == pytest.approx(1)


def test_every_iteration_counts_alike():
    """An iteration's loss is its bits over their running mean, so about 1 however many they are."""
    module = TernaryEntropyModel(**SMALL)
    module.log = lambda *args, **options: None
    module.trainer = L.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    torch.manual_seed(0)
    image = torch.rand(12, 3, 64, 64) * 2 - 1
    loss = module.training_step(image, 0)
    drawn = module.mean_bits > 0
    assert 4 < drawn.sum() < 11
    assert 0.9 < loss.item() < 1.1
    before = module.mean_bits.clone()
    module.follow(module.mean_bits, torch.tensor([5, 5]), torch.tensor([2.0, 4.0]))
    kept = 0.98**2
    assert module.mean_bits[5] == pytest.approx(float(before[5]) * kept + 3 * (1 - kept) if before[5] else 3)
    assert torch.equal(module.mean_bits[6:], before[6:])


def test_export_makes_one_model_of_both(fitted, model, pictures, tmp_path, capsys):
    context, decoder = (fitted[kind][0].checkpoint_callback.best_model_path for kind in fitted)
    half = tmp_path / "half.safetensors"
    main(["export", decoder, str(half), "--entropy", context, "--half"])
    assert "model " in capsys.readouterr().out
    assert half.stat().st_size < model.stat().st_size
    picture = Image.open(pictures / "0.png")
    for path in (model, half):
        codec = lit_rnncomp.load(path)
        assert isinstance(codec, TernaryCodec)
        assert codec.decode(codec.encode(picture, bpp=1)).size == picture.size
    for arguments, message in (
        ([decoder], "name the checkpoint of their entropy model"),
        ([decoder, "--entropy", decoder], "not a checkpoint of an entropy model of ternary codes"),
        ([context, "--entropy", context], "not a checkpoint of"),
    ):
        with pytest.raises(SystemExit):
            main(["export", arguments[0], str(tmp_path / "x.safetensors"), *arguments[1:]])
        assert message in capsys.readouterr().err
        assert not (tmp_path / "x.safetensors").exists()


def test_export_averages_two_decoders_and_weighs_coefficients_anew(fitted, pictures, tmp_path, capsys):
    context, decoder = (fitted[kind][0].checkpoint_callback.best_model_path for kind in fitted)
    trainer, _ = fit(TernaryDecoder(**SMALL, weights=decoder, lr=0.01), pictures, tmp_path, steps=3)
    other, out = trainer.checkpoint_callback.best_model_path, str(tmp_path / "mean.safetensors")
    both = ["export", decoder, out, "--entropy", context, "--mean"]
    main([*both, other, "--visual-ac", "0.5", "--visual-chroma", "0.9"])
    made = ternary_weights.load(Path(out)).tensors
    one, two = (ternary_weights.load_refiner(Path(path)).stem.weight for path in (decoder, other))
    assert not torch.equal(one, two)
    np.testing.assert_array_equal(made["refiner.stem.weight"], (one + two) / 2)
    wanted = lapped.coefficient_weights(visual_ac=0.5, visual_chroma=0.9)
    np.testing.assert_array_equal(made["tune_weights"], wanted.astype(np.float32))
    fit(TernaryDecoder(**{**SMALL, "channels": 4}), pictures, tmp_path / "narrow", steps=3)
    narrow = next((tmp_path / "narrow").rglob("*.ckpt"))
    with pytest.raises(SystemExit):
        main([*both, str(narrow), "-f"])
    assert "of different shapes" in capsys.readouterr().err


def test_an_entropy_model_whose_passes_know_no_codes_trains_and_codes(pictures, tmp_path):
    torch.manual_seed(0)
    module = TernaryEntropyModel(**SMALL, known_codes=False, lr=0.01)
    before = {name: p.clone() for name, p in module.network.named_parameters()}
    fit(module, pictures, tmp_path)
    changed = {name for name, p in module.network.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if not name.startswith(("seen", "mix", "merge"))}
    tensors, _ = ternary_weights.TernaryWeights.of(module.network, Refiner(8, 1))
    assert_bits_are_those_of_files(module, TernaryCodec(tensors), "psnr")


def test_codes_of_a_block_alone_can_be_made_files(pictures, tmp_path):
    torch.manual_seed(0)
    module = TernaryEntropyModel(**SMALL, neighbours=False, lr=0.01)
    fit(module, pictures, tmp_path)
    tensors, _ = ternary_weights.TernaryWeights.of(module.network, Refiner(8, 1))
    assert_bits_are_those_of_files(module, TernaryCodec(tensors), "psnr")


def test_weights_of_coefficients_travel_with_the_model(pictures, tmp_path):
    torch.manual_seed(0)
    weighting = {"visual_power": 0.8, "visual_ac": 0.7, "visual_chroma": 0.9}
    module = TernaryEntropyModel(**SMALL, **weighting, lr=0.01)
    fit(module, pictures, tmp_path)
    (path,) = tmp_path.rglob("best.ckpt")
    context = ternary_weights.load_context_model(path)
    tensors, _ = ternary_weights.TernaryWeights.of(context, Refiner(8, 1, **weighting))
    codec = TernaryCodec(tensors)
    assert codec.tune_weights[1, 7] == pytest.approx(1.732 * 0.7 * (16 / 61) ** 0.8)
    assert codec.tune_weights[1, 64 + 7] == pytest.approx(1.732 * 0.7 * 0.9 * 0.375 * (16 / 61) ** 0.8)
    assert codec.tune_weights[1, [0, 64]] == pytest.approx([1.732, 0.75 * 1.732])
    assert_bits_are_those_of_files(module, codec, "visual")
    with pytest.raises(ValueError, match="for visual_power=0.8 and the decoder for 1.0: train both with the same"):
        ternary_weights.TernaryWeights.of(context, Refiner(8, 1))
    with pytest.raises(ValueError, match=r"visual_power=1.5 is outside \[0, 1\]"):
        TernaryDecoder(**SMALL, visual_power=1.5)
    for name in ("visual_ac", "visual_chroma"):
        with pytest.raises(ValueError, match=rf"{name}=0.0 is outside \(0, 1\]"):
            TernaryDecoder(**SMALL, **{name: 0.0})
        with pytest.raises(ValueError, match=f"with {name}=1 alone"):
            RecurrentTernaryEntropyModel(**SMALL, **{name: 0.5})


@pytest.mark.parametrize(
    ("kind", "logged", "options"),
    [
        (RecurrentTernaryEntropyModel, "val/bpp", {"fed": "levels"}),
        (RecurrentTernaryEntropyModel, "val/bpp", {"fed": "codes", "known_codes": False}),
        (RecurrentTernaryDecoder, "val/mean_psnr", {}),
    ],
)
def test_networks_with_a_state_learn(kind, logged, options, pictures, tmp_path):
    """A validation unrolls them: what it logs gets better, and every weight that is used learns."""

    def run(steps, lr):
        L.seed_everything(1)
        module = kind(**SMALL, **options, lr=lr)
        trainer, _ = fit(module, pictures, tmp_path, steps=steps)
        return module, float(trainer.callback_metrics[logged])

    (before, worse), (after, better) = run(3, 0.0), run(12, 0.01)
    assert better < 0.9 * worse if kind is RecurrentTernaryEntropyModel else better > worse + 0.05
    for (name, old), new in zip(before.network.named_parameters(), after.network.parameters(), strict=True):
        assert torch.equal(old, new) is not new.requires_grad, name


def test_files_are_made_with_no_network_that_has_a_state(fitted, pictures, tmp_path, capsys):
    decoder = fitted[TernaryDecoder][0].checkpoint_callback.best_model_path
    trainer, _ = fit(RecurrentTernaryEntropyModel(**SMALL), pictures, tmp_path, steps=3)
    made = trainer.checkpoint_callback.best_model_path
    with pytest.raises(SystemExit) as end:
        main(["export", decoder, str(tmp_path / "x.safetensors"), "--entropy", made])
    assert end.value.code == 2
    assert "not a checkpoint of an entropy model of ternary codes" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
