"""Training an entropy model: codes cached once, bits per bit logged and lowered, resumed exactly, exported as it was
measured."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from helpers.onlookers import CutAt
from lightning.pytorch.cli import LightningCLI
from PIL import Image

from lit_rnncomp.codec import entropy_weights, weights
from lit_rnncomp.codec.entropy_network import EntropyModelError
from lit_rnncomp.codec.tensor_files import CheckpointError
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.checkpoints import LastCheckpoint
from lit_rnncomp.training.entropy import EntropyModel, information
from lit_rnncomp.training.entropy_data import EntropyData, unpack
from lit_rnncomp.training.optimizers import total_steps

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .*dataloader. does not have many workers"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "entropy").glob("*.yaml"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with six soft pictures and an untrained codec of three iterations."""
    folder = tmp_path_factory.mktemp("entropy")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for index in range(6):
        small = Image.fromarray(random.integers(0, 256, (6, 7, 3), dtype=np.uint8))
        small.resize((112, 96), Image.Resampling.BICUBIC).save(folder / "pictures" / f"{index}.png")
    torch.manual_seed(0)
    config = CodecConfig(
        unit="gru", reconstruction="additive", width=0.03125, bits=4, code_stride=8, frontend="dct", iterations=3
    )
    weights.save(folder / "codec.safetensors", RecurrentCodec(config))
    return folder


def make(workspace, **options):
    model = EntropyModel(
        str(workspace / "codec.safetensors"), **{"width": 12, "state": 6, "line": "conv", "lr": 0.02, **options}
    )
    data = EntropyData(
        cache=str(workspace / "cache"),
        crops=2,
        patch=64,
        batch_size=4,
        train=str(workspace / "pictures"),
        holdout=2,
        steps_per_epoch=8,
    )
    return model, data


def trainer(folder, epochs: int, **options) -> L.Trainer:
    return L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"num_sanity_val_steps": 0, **options},
    )


@pytest.fixture(scope="module")
def fitted(workspace):
    L.seed_everything(1)
    model, data = make(workspace)
    run = trainer(workspace / "run", 4)
    run.fit(model, data)
    return run, model, data


def test_bits_per_bit_are_logged_for_each_iteration_and_fall(fitted):
    metrics = fitted[0].callback_metrics
    points = [float(metrics[f"val/bits_per_bit_{t:02d}"]) for t in (1, 2, 3)]
    assert float(metrics["val/bits_per_bit"]) == pytest.approx(np.mean(points))
    assert float(metrics["val/bits_per_bit"]) < 0.9
    assert all(0 < point < 1.05 for point in points)


def test_the_exported_integers_need_the_bits_that_were_logged(fitted, tmp_path):
    run, _, data = fitted
    coder = entropy_weights.load(run.checkpoint_callback.best_model_path)
    entropy_weights.save(tmp_path / "model.safetensors", coder)
    coder = entropy_weights.load(tmp_path / "model.safetensors")
    total, count = 0.0, 0
    for packed in data.val_dataloader():
        codes = unpack(packed, 4)[0].numpy().astype(np.int8)
        total, count = total + coder.information(codes).sum(), count + codes.size
        np.testing.assert_array_equal(coder.decode(coder.encode(codes), *codes.shape[2:]), codes)
    # Up to the rounding of probabilities to a 65536th.
    assert total / count == pytest.approx(float(run.checkpoint_callback.best_model_score), rel=1e-3)


def test_the_codes_in_the_cache_are_the_codecs_and_are_made_once(fitted, workspace):
    _, model, data = fitted
    before = {path: path.stat().st_mtime_ns for path in (workspace / "cache").rglob("*.npy")}
    assert len(before) == 1 + 2, "the crops, and each of the two pictures held out"
    data.prepare_data()
    assert before == {path: path.stat().st_mtime_ns for path in (workspace / "cache").rglob("*.npy")}
    picture = np.asarray(Image.open(data.split()[1][0]))[
        :, 8:104
    ]  # the centre of 112 columns, in whole multiples of 32
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    codec = weights.load(workspace / "codec.safetensors")
    with torch.inference_mode():
        expected = torch.stack([step.codes for step in codec.encode(pixels)], 1)
    cached = unpack(next(iter(data.val_dataloader())), model.model.config.bits)
    torch.testing.assert_close(cached, expected, rtol=0, atol=0)


def test_another_codec_or_other_crops_are_other_codes(fitted, workspace):
    data = fitted[2]
    codec = weights.load(workspace / "codec.safetensors")
    names = {data.crops_file(codec)}
    with torch.no_grad():
        next(codec.parameters()).add_(1)
    names.add(data.crops_file(codec))
    other = EntropyData(train=str(workspace / "pictures"), holdout=2, crops=3, patch=64, cache=str(workspace / "cache"))
    names.add(other.crops_file(codec))
    assert len(names) == 3


def test_a_run_can_start_from_an_earlier_entropy_model(fitted, workspace):
    earlier, tail = fitted[0].checkpoint_callback.best_model_path, {"enable_checkpointing": False}
    model, data = make(workspace, weights=earlier, lr=1e-6)
    run = trainer(workspace / "again", 1, **tail)
    run.fit(model, data)
    assert float(run.callback_metrics["val/bits_per_bit"]) == pytest.approx(
        float(fitted[0].checkpoint_callback.best_model_score), abs=1e-3
    )
    for options, message in (
        ({"weights": earlier, "width": 8}, "cannot start from .*width=12"),
        ({"weights": "none.ckpt"}, "no such"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            trainer(workspace / "again", 1, **tail).fit(*make(workspace, **options))


def test_the_codec_may_be_a_shipped_one():
    assert EntropyModel("residual_gru_dct64").model.config.iterations == 16
    with pytest.raises(FileNotFoundError, match="no model 'none'; the shipped models are .*residual_gru_dct64"):
        EntropyModel("none")
    with pytest.raises(CheckpointError, match="ternary64_16h.safetensors is a model of ternary codes; one of binary"):
        EntropyModel("ternary64_16h")


@pytest.mark.parametrize("cut", [5, 11])
def test_a_run_that_was_cut_resumes_to_the_same_weights(cut, workspace, tmp_path):
    def run(folder, callbacks, **fit):
        L.seed_everything(1)
        model, data = make(workspace, round_from=0.4)
        trainer(folder, 2, callbacks=callbacks).fit(model, data, **fit)
        return torch.nn.utils.parameters_to_vector(model.model.parameters())

    whole = run(tmp_path / "whole", [])
    with pytest.raises(RuntimeError, match="cut"):
        run(tmp_path / "cut", [CutAt(cut), LastCheckpoint(1)])
    resumed = run(tmp_path / "cut", [LastCheckpoint(1)], ckpt_path="last")
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def test_the_test_stage_reports_what_rounding_costs(fitted):
    run, model, data = fitted
    (metrics,) = run.test(model, data, verbose=False)
    assert abs(metrics["test/rounding_loss"]) < 0.02
    assert metrics["test/bits_per_bit"] == pytest.approx(float(run.callback_metrics["test/bits_per_bit"]))


@pytest.mark.parametrize("bits", [1, 4, 8, 11, 32])
def test_packing_is_undone(bits):
    codes = np.random.default_rng(0).integers(0, 2, (2, 3, bits, 4, 5)) * 2 - 1
    packed = torch.from_numpy(np.packbits(codes > 0, axis=2))
    np.testing.assert_array_equal(unpack(packed, bits).numpy(), codes)


def test_information_is_minus_log2_of_the_probability():
    logits, codes = torch.tensor([0.0, 2.0, 2.0, -30.0]), torch.tensor([1.0, 1.0, -1.0, 1.0])
    expected = -torch.log2(torch.sigmoid(logits.double() * codes))
    torch.testing.assert_close(information(logits, codes).double(), expected)


def test_a_checkpoint_of_something_else_is_named(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "codec.ckpt")
    with pytest.raises(EntropyModelError, match=r"codec\.ckpt: not a checkpoint of an entropy model"):
        entropy_weights.load(tmp_path / "codec.ckpt")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_parses_and_builds(config, workspace, monkeypatch):
    arguments = [
        "--config",
        str(config),
        "--model.init_args.codec",
        str(workspace / "codec.safetensors"),
        "--trainer.accelerator",
        "cpu",
    ]
    monkeypatch.setattr("sys.argv", ["fit"])
    cli = LightningCLI(
        L.LightningModule,
        L.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        run=False,
        args=arguments,
        trainer_defaults={"logger": False},
    )
    assert isinstance(cli.model, EntropyModel)
    assert isinstance(cli.datamodule, EntropyData)
    assert cli.model.model.config.iterations == 3


def test_the_recipes_are_found():
    assert {path.stem for path in CONFIGS} == {"paper", "progressive", "released", "single"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_epochs": 3}, 24),
        ({"max_epochs": 3, "max_steps": 10}, 10),
        ({"max_epochs": 3, "limit_train_batches": 2}, 6),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, 12),
        ({"max_epochs": 3, "accumulate_grad_batches": 3}, 9),
        ({"max_epochs": -1}, float("inf")),
    ],
)
def test_the_length_of_a_run_is_known_before_its_loader_is_built(options, expected, workspace):
    run = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, **options)
    run.datamodule = make(workspace)[1]
    assert total_steps(run) == expected
