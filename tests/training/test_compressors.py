"""The Lightning modules: loss, curve, checkpoints that `load` reads, and configurations that fit the code."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image

import lit_rnncomp
from lit_rnncomp.data.module import PhotographData
from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.images import tensor_to_uint8, to_signal
from lit_rnncomp.models.refiner import Refiner
from lit_rnncomp.training import (
    AssociativeLSTMCompressor,
    Compressor,
    GRUCompressor,
    LSTMCompressor,
    ResidualGRUCompressor,
)
from lit_rnncomp.training.agreement import Agreement
from lit_rnncomp.training.callbacks import StepSeeds
from lit_rnncomp.training.checkpoints import best_checkpoint
from lit_rnncomp.training.optimizers import make_optimizer, make_schedule
from lit_rnncomp.training.rate_distortion import RateDistortionCurve
from lit_rnncomp.training.report import PredictedPictures

VARIANTS = [LSTMCompressor, AssociativeLSTMCompressor, GRUCompressor, ResidualGRUCompressor]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:192, :192]
    for k in range(3):
        picture = np.stack([y + 10 * k, x, (x + y) // 2], -1) % 256
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{k}.png")
    return folder


def quick_trainer(folder: Path, **options: object) -> L.Trainer:
    values = {
        "max_steps": 3,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        **options,
    }
    return L.Trainer(default_root_dir=folder, callbacks=[best_checkpoint(), StepSeeds(), Agreement()], **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("reconstruction", ["one_shot", "additive", "residual_scaling"])
def test_every_variant_takes_the_papers_keywords(variant: type[Compressor], reconstruction: str) -> None:
    module = variant(reconstruction=reconstruction, width=0.02, iterations=2)  # type: ignore[arg-type]
    assert module.codec.config.unit == variant.unit
    loss = module.codec(torch.zeros(1, 3, 32, 32)).residuals[0].abs().mean()
    assert loss.isfinite()


def test_defaults_are_the_papers() -> None:
    with torch.device("meta"):
        config = LSTMCompressor().codec.config
    assert (config.width, config.iterations, config.bits, config.code_stride) == (1.0, 16, 32, 16)
    assert (config.frontend, config.binarize, config.priming) == ("conv", "stochastic", 0)


def test_fit_keeps_the_best_checkpoint_and_load_reads_it(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = GRUCompressor(width=0.02, iterations=2)
    data = PhotographData(train=str(pictures), val=str(pictures), batch_size=2, steps_per_epoch=3)
    trainer = quick_trainer(tmp_path)
    trainer.fit(module, data)
    best = trainer.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    assert trainer.checkpoint_callback.monitor == "val/auc_ms_ssim"  # type: ignore[union-attr]
    logged = trainer.logged_metrics
    for name in (
        "val/auc_ms_ssim",
        "val/mean_psnr",
        "val/mean_psnr_hvs",
        "val/auc_ms_ssim_best",
        "val/ms_ssim_01",
        "val/psnr_02",
    ):
        assert name in logged
    codec = lit_rnncomp.load(best)
    for name, tensor in module.codec.state_dict().items():
        assert torch.equal(codec.network.state_dict()[name], tensor)
    assert codec.decode(codec.encode(Image.open(pictures / "0.png"))).size == (192, 192)


def test_the_best_checkpoint_has_the_largest_area(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = GRUCompressor(width=0.02, iterations=2, lr=0.01)
    data = PhotographData(train=str(pictures), val=str(pictures), batch_size=2, steps_per_epoch=2, max_side=96)
    areas: dict[int, float] = {}

    class Noting(L.Callback):
        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if not trainer.sanity_checking:
                areas[trainer.global_step] = float(trainer.callback_metrics["val/auc_ms_ssim"])

    trainer = quick_trainer(tmp_path, max_steps=8)
    trainer.callbacks.append(Noting())  # type: ignore[attr-defined]
    trainer.fit(module, data)
    best = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=False)  # type: ignore[union-attr]
    assert len(areas) == 4 and len(set(areas.values())) == 4
    assert best["global_step"] == max(areas, key=areas.__getitem__)


def test_predict_writes_the_picture_after_every_iteration(pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = GRUCompressor(width=0.02, iterations=2)
    trainer = L.Trainer(
        accelerator="cpu",
        logger=CSVLogger(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=PredictedPictures(),
    )
    trainer.predict(module, PhotographData(val=str(pictures), max_side=64))
    written = sorted((Path(trainer.log_dir) / "predictions").rglob("*.png"))  # type: ignore[arg-type]
    assert [f"{path.parent.name}/{path.name}" for path in written] == [
        f"{k}/iteration_{t:02d}.png" for k in range(3) for t in (1, 2)
    ]
    truth = torch.from_numpy(np.asarray(Image.open(pictures / "2.png"))[64:128, 64:128].copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = tensor_to_uint8(module.eval().codec(to_signal(truth)).reconstructions[1])
    assert np.array_equal(np.asarray(Image.open(written[-1])), expected)


def test_loss_is_the_mean_absolute_residual() -> None:
    module = LSTMCompressor(width=0.02, iterations=3, binarize="sign")
    module.trainer = L.Trainer(max_steps=1, logger=False, accelerator="cpu", enable_checkpointing=False)
    module.log = lambda *args, **options: None  # type: ignore[method-assign]
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = torch.stack(module.codec(image).residuals).abs().mean()
    torch.testing.assert_close(module.training_step(image, 0), expected)
    mixed = LSTMCompressor(width=0.02, iterations=3, binarize="sign", ms_ssim_weight=1.0)
    mixed.codec, mixed.trainer, mixed.log = module.codec, module.trainer, module.log  # type: ignore[method-assign]
    assert 0 < mixed.training_step(image, 0) <= 1


def test_curve_adds_up_over_pictures_and_is_perfect_for_perfect_pictures() -> None:
    curve = RateDistortionCurve(16, 1 / 8)
    image = torch.rand(2, 3, 176, 176) * 2 - 1
    curve.update(image[:1], [image[:1]] * 16)
    curve.update(image[1:], [image[1:]] * 16)
    ms_ssim, psnr = METRICS["ms_ssim"], METRICS["psnr"]
    assert curve.summary(curve.compute())[ms_ssim] == pytest.approx(1.875)
    assert curve.count == 2
    worse = RateDistortionCurve(16, 1 / 8)
    worse.update(image, [image + 0.2 / t for t in range(1, 17)])
    values = worse.compute()["psnr"]
    assert (np.diff(values) > 0).all()
    mean = worse.summary(worse.compute())[psnr]
    assert values[0] < mean < values[-1] < curve.summary(curve.compute())[psnr] == 100


def test_schedules() -> None:
    optimizer = make_optimizer("adam", torch.nn.Linear(2, 2), 1.0, 1e-8, 0)
    for name, middle in (("constant", 1.0), ("linear", 0.55), ("cosine", 0.55)):
        factor = make_schedule(optimizer, name, 10, 110, 0.1).lr_lambdas[0]  # type: ignore[arg-type]
        assert factor(0) == pytest.approx(1 / 11)
        assert factor(10) == 1
        assert factor(60) == pytest.approx(middle)
        assert factor(500) == pytest.approx(1.0 if name == "constant" else 0.1)
    short, long = (make_schedule(optimizer, "wsd", 10, total, 0.1, 0.2).lr_lambdas[0] for total in (110, 1000))
    assert [short(step) for step in range(88)] == [long(step) for step in range(88)], "until it decays, length is open"
    assert (short(88), short(99), short(110), short(500)) == pytest.approx((1, 0.55, 0.1, 0.1))
    with pytest.raises(ValueError, match="decay=0"):
        make_schedule(optimizer, "wsd", 10, 110, 0.1, 0)


def test_muon_orthogonalises_kernels_and_leaves_the_rest_to_adam(tiny_codec) -> None:
    codec = tiny_codec(reconstruction="coefficient_gain", frontend="dct", code_stride=8, bits=8).train()
    codec.requires_grad_(True)
    optimizer = make_optimizer("muon", codec, 0.01, 1e-8, 0.0)
    before = {name: p.detach().clone() for name, p in codec.named_parameters()}
    torch.stack(codec(torch.rand(1, 3, 32, 32) * 2 - 1).residuals).abs().mean().backward()
    optimizer.step()
    kernel = "decoder.layers.0.input_conv.weight"
    step = (dict(codec.named_parameters())[kernel] - before[kernel]).flatten(1)
    singular = torch.linalg.svdvals(step)
    assert singular[0] / singular[4] < 3  # of a plain gradient: hundreds
    gain = dict(codec.named_parameters())["reconstruction.log_gain"] - before["reconstruction.log_gain"]
    assert 0.005 < gain.abs().max() <= 0.011  # Adam's first step is the learning rate
    bias = dict(codec.named_parameters())["decoder.head.bias"] - before["decoder.head.bias"]
    assert bias.abs().max() <= 0.0011


def test_muon_leaves_grouped_kernels_to_adam() -> None:
    network = Refiner(channels=8, blocks=1)
    muon, adam = make_optimizer("muon", network, 0.01, 1e-8, 0.0).param_groups
    assert {id(p) for p in adam["params"]} == {
        id(p) for n, p in network.named_parameters() if n in ("own.weight", "embedding") or n.endswith("bias")
    }
    assert len(muon["params"]) + len(adam["params"]) == len(list(network.parameters()))
    assert (muon["use_muon"], adam["use_muon"], adam["lr"]) == (True, False, 0.001)


def test_not_a_number_stops_the_run_and_names_the_checkpoint(pictures: Path, tmp_path: Path) -> None:
    module = LSTMCompressor(width=0.02, iterations=2, optimizer="sgd", lr=1e30)
    data = PhotographData(train=str(pictures), val=str(pictures), batch_size=1, steps_per_epoch=50)
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) at step \d+"):
        quick_trainer(tmp_path, max_steps=50, num_sanity_val_steps=0).fit(module, data)


@pytest.mark.parametrize("wrong", [{"ms_ssim_weight": 2.0}, {"early_iterations": 17}, {"width": -1.0}])
def test_wrong_options_are_named(wrong: dict) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        LSTMCompressor(**wrong)
