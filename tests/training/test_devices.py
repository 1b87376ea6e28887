"""Two processes are one with twice the batch, and write once; the options that change a training step do what they
say."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lit_rnncomp.data.samples import sample_photographs

pytestmark = pytest.mark.slow
CONFIGS = Path(__file__).parents[2] / "configs"
COMMAND = Path(sys.executable).with_name("lit-rnncomp")


def options(folder: Path, **trainer: object) -> Path:
    """A small run without noise, measured on three pictures: an odd number."""
    config = {
        "model": {
            "class_path": "LSTMCompressor",
            "init_args": {"width": 0.03, "iterations": 2, "binarize": "sign", "lr": 0.002},
        },
        "data": {
            "init_args": {"val": [str(path) for path in sample_photographs()[:3]], "max_side": 64, "steps_per_epoch": 4}
        },
        "trainer": {
            **{"max_steps": 8, "max_epochs": -1, "accelerator": "cpu", "log_every_n_steps": 1},
            "check_val_every_n_epoch": 1,
            **{"enable_progress_bar": False, "enable_model_summary": False, **trainer},
        },
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def rows(folder: Path, name: str) -> list[float]:
    with (folder / "runs/lightning_logs/version_0/metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def checkpoint(folder: Path, name: str = "last.ckpt") -> dict:
    (path,) = folder.glob(f"runs/lightning_logs/version_0/checkpoints/{name}")
    return torch.load(path, weights_only=False)


@pytest.fixture(scope="module")
def pair(starts, tmp_path_factory) -> tuple[Path, Path]:
    """The folders of a run with one process and batches of 4, and of one with two processes and batches of 2."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    process = starts(one, "fit", f"--config={options(one)}", "--data.batch_size=4")
    # The command itself, which has to start the second process.
    loggers = [
        {"class_path": "CSVLogger", "init_args": {"save_dir": "runs"}},
        {"class_path": "WandbLogger", "init_args": {"save_dir": "runs", "project": "lit-rnncomp"}},
    ]
    path = options(two, devices=2, strategy="ddp", logger=loggers)
    command = [sys.executable, COMMAND, "fit", f"--config={path}", "--data.batch_size=2"]
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = subprocess.run(command, cwd=two, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert process.wait() == 0, process.output()
    return one, two


def test_losses_and_weights_are_those_of_twice_the_batch(pair):
    one, two = pair
    for name in ("train/l1", "train/grad_norm", "train/grad_norm_encoder"):
        assert len(rows(one, name)) == 8
        assert rows(two, name) == pytest.approx(rows(one, name), rel=1e-4), name
    ours, theirs = checkpoint(two)["state_dict"], checkpoint(one)["state_dict"]
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-6)


def test_an_uneven_validation_counts_every_picture_once(pair):
    one, two = pair
    for name in ("val/auc_ms_ssim", "val/mean_psnr", "val/ms_ssim_01", "val/auc_ms_ssim_best"):
        assert rows(two, name) == pytest.approx(rows(one, name), rel=1e-5) and len(rows(one, name)) == 2, name


def test_everything_is_written_once(pair):
    _, two = pair
    assert [path.name for path in two.glob("runs/lightning_logs/*")] == ["version_0"]
    folder = two / "runs/lightning_logs/version_0"
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last-1.ckpt", "last.ckpt"]
    (start,) = json.loads((folder / "provenance.json").read_text())
    assert start["processes"] == 2
    assert len(list(two.glob("runs/wandb/offline-run-*"))) == 1
    (media,) = two.glob("runs/wandb/offline-run-*/files/media")
    assert len(list(media.glob("images/val/pictures_*.png"))) == 2


@pytest.fixture
def small(starts, tmp_path):
    """Runs two steps with a file of `configs/trainer` and further arguments; returns the folder."""

    def run(name: str, *arguments: str) -> Path:
        folder = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        extra = [f"--config={CONFIGS / 'trainer' / name}.yaml"] if name else []
        size = [
            "--model.width=0.03",
            "--model.iterations=4",
            "--trainer.max_steps=2",
            "--data.batch_size=2",
            *arguments,
        ]
        process = starts(folder, "fit", f"--config={options(folder)}", *extra, *size)
        assert process.wait() == 0, process.output()
        return folder

    return run


def test_bfloat16_is_for_the_convolutions_only(small):
    plain, mixed = small(""), small("bf16")
    (start,) = json.loads((mixed / "runs/lightning_logs/version_0/provenance.json").read_text())
    assert start["precision"] == "bf16-mixed"
    assert all(weight.dtype in (torch.float32, torch.float64) for weight in checkpoint(mixed)["state_dict"].values())
    assert rows(mixed, "train/l1") != rows(plain, "train/l1")
    assert rows(mixed, "train/l1") == pytest.approx(rows(plain, "train/l1"), rel=0.05)


def test_accumulated_batches_are_one_large_one(small):
    large = small("", "--data.batch_size=8")
    cut = small("accumulate", "--data.batch_size=2")
    assert checkpoint(cut)["global_step"] == checkpoint(large)["global_step"] == 2
    weights = {
        name: weight for name, weight in checkpoint(large)["state_dict"].items() if name != "best_auc"
    }  # one measured between
    for name, weight in weights.items():
        torch.testing.assert_close(checkpoint(cut)["state_dict"][name], weight, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step(small):
    plain = ["--model.optimizer=sgd", "--model.lr=1.0", "--trainer.max_steps=1"]
    free, clipped = small("", *plain), small("", *plain, "--trainer.gradient_clip_val=0.001")
    start = checkpoint(small("", *plain, "--model.lr=0.0"))["state_dict"]
    norms = []
    for folder in (free, clipped):
        end = checkpoint(folder)["state_dict"]
        norms.append(
            torch.stack([(end[name] - weight).double().norm() for name, weight in start.items() if "codec" in name])
            .norm()
            .item()
        )
    gradient = rows(clipped, "train/grad_norm")[0]  # before clipping
    assert gradient == pytest.approx(rows(free, "train/grad_norm")[0]) and gradient > 0.01
    assert norms == pytest.approx(
        [1.9 * gradient, 1.9 * 0.001], rel=1e-3
    )  # Nesterov's first step is 1.9 times the gradient


def test_the_average_of_the_weights_is_what_is_measured_and_kept(small):
    folder = small("ema", "--trainer.max_steps=8", "--trainer.callbacks.decay=0.5")
    best = checkpoint(folder)
    average, current = best["state_dict"], best["current_model_state"]
    assert any((average[name] != current[name]).any() for name in average)
    areas = rows(folder, "val/auc_ms_ssim")
    assert rows(folder, "val/auc_ms_ssim_best") == pytest.approx([areas[0], max(areas)])


@pytest.mark.parametrize("name", ["low_memory", "truncated"])
def test_memory_options_run(small, name):
    assert len(rows(small(name), "train/l1")) == 2


def test_deferred_gradients_train_alike(small):
    plain, deferred = small("", "--trainer.max_steps=3"), small("deferred", "--trainer.max_steps=3")
    assert rows(deferred, "train/l1") == pytest.approx(rows(plain, "train/l1"), rel=1e-5)
    assert rows(deferred, "train/grad_norm") == pytest.approx(rows(plain, "train/grad_norm"), rel=1e-4)
