"""What a start takes from the one before it, what it does not, and what it leaves alone."""

import csv
import os
import pickle
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from helpers.small_runs import DATA_AND_TRAINER, GRU
from PIL import Image

from lit_rnncomp.training import GRUCompressor, sums
from lit_rnncomp.training.entropy import BitsPerBit
from lit_rnncomp.training.entropy_data import PackedCrops
from lit_rnncomp.training.report import picture_names
from lit_rnncomp.training.restart import TimeOfThisStart, moved
from lit_rnncomp.training.ternary_decoder import TernaryDecoder
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel

SMALL = [*GRU, *DATA_AND_TRAINER]


@pytest.fixture
def fit(starts, tmp_path):
    """Runs a small `fit` in a folder to its end; answers its exit code and output."""

    def run(*arguments: str, verb: str = "fit") -> tuple[int, str]:
        process = starts(tmp_path, verb, *SMALL, *arguments)
        return process.wait(), process.output()

    return run


def column(folder: Path, name: str) -> dict[int, float]:
    rows = [row for path in sorted(folder.glob("metrics*.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[name]) for row in rows if row.get(name)}


@pytest.mark.slow
def test_rates_are_those_of_each_start(fit, tmp_path):
    assert fit("--trainer.max_steps=2", "--model.init_args.optimizer=adamw")[0] == 0
    again = ("--trainer.max_steps=4", "--ckpt_path=last", "--model.init_args.schedule=linear")
    rates = ("--model.init_args.lr=0.1", "--model.init_args.weight_decay=0.5", "--model.init_args.eps=0.01")
    assert fit(*again, *rates, "--model.init_args.optimizer=adamw")[0] == 0
    folder = tmp_path / "runs/lightning_logs/version_0"
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=False)
    (group,) = last["optimizer_states"][0]["param_groups"]
    said = yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"]
    assert (group["initial_lr"], group["weight_decay"], group["eps"]) == (0.1, 0.5, 0.01)
    assert (said["lr"], said["weight_decay"], said["eps"]) == (0.1, 0.5, 0.01)
    assert group["lr"] == last["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0.1 * 0.02)  # the schedule's end
    code, output = fit(*again, "--model.init_args.optimizer=sgd", "--trainer.max_steps=6")
    assert code == 2 and "Traceback" not in output
    assert "with optimizer=sgd: what it knows is that of adamw; give the same" in output.splitlines()[-1]


@pytest.mark.slow
def test_a_moved_run_keeps_its_best_checkpoint(fit, tmp_path):
    # lr 100: later epochs are worse than the first.
    bad = ("--model.init_args.optimizer=sgd", "--model.init_args.lr=100")
    assert fit(*bad, "--trainer.max_epochs=2", f"--trainer.logger.init_args.save_dir={tmp_path / 'a'}")[0] == 0
    (tmp_path / "a").rename(tmp_path / "b")
    again = (f"--trainer.logger.init_args.save_dir={tmp_path / 'b'}", "--ckpt_path=last")
    assert fit(*bad, "--trainer.max_epochs=3", *again)[0] == 0
    folder = tmp_path / "b/lightning_logs/version_0"
    areas = column(folder, "val/auc_ms_ssim")
    kept = torch.load(folder / "checkpoints/best.ckpt", weights_only=False)["global_step"]
    assert len(areas) == 3 and areas[kept - 1] == max(areas.values())
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["b"]


def test_paths_move_only_with_their_files(tmp_path):
    state = {"dirpath": "/old/c", "best_model_path": "/old/c/best.ckpt", "best_k_models": {"/old/c/best.ckpt": 1.0}}
    assert moved(state, str(tmp_path)) is state  # a run that branches off has no best checkpoint yet
    (tmp_path / "best.ckpt").touch()
    here = str(tmp_path / "best.ckpt")
    assert moved(state, str(tmp_path))["best_k_models"] == {here: 1.0}
    assert moved(state, str(tmp_path))["best_model_path"] == here


@pytest.mark.slow
def test_overfitting_sees_the_same_batches_again(fit, tmp_path):
    still = ("--model.init_args.lr=0", "--model.init_args.binarize=sign", "--trainer.max_epochs=3")
    code, output = fit("--trainer.overfit_batches=2", *still)
    assert code == 0, output
    losses = list(column(tmp_path / "runs/lightning_logs/version_0", "train/l1").values())
    assert len(losses) == 6 and losses[0] != losses[1]
    assert losses[:2] == losses[2:4] == losses[4:]


@pytest.mark.slow
def test_a_dry_run_leaves_nothing_and_nulls_are_read_as_an_agent_writes_them(fit, tmp_path):
    code, output = fit("--trainer.fast_dev_run=true", "--model.init_args.truncate=None")
    assert code == 0, output
    assert [path.name for path in tmp_path.iterdir()] == ["output-0.txt"]


@pytest.mark.slow
def test_a_file_of_ones_own_in_the_folder_survives(fit, tmp_path):
    (tmp_path / "config.yaml").write_text("trainer: {max_steps: 1}\n")
    code, output = fit("--config=config.yaml", "--trainer.logger=false")
    assert code == 2 and "config.yaml already exists" in output.splitlines()[-1]
    assert (tmp_path / "config.yaml").read_text() == "trainer: {max_steps: 1}\n"


@pytest.mark.slow
def test_training_on_names_that_are_not_utf8(fit, tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / os.fsdecode(b"caf\xe9%d.png" % number))
    code, output = fit(f"--data.train={folder}", "--data.holdout=1", "--trainer.max_steps=1")
    assert code == 0, output


def test_pictures_of_one_name_keep_their_own_outputs(tmp_path):
    paths = [tmp_path / name for name in ("a/1.png", "b/1.png", "b/1.jpg", "b/c.d.png")]
    assert [name.as_posix() for name in picture_names(paths).values()] == ["a/1", "b/1.png", "b/1.jpg", "b/c.d"]
    assert picture_names(paths[:1]) == {paths[0]: Path("1")}
    assert picture_names(paths[:1] * 2) == {paths[0]: Path("1")}


def test_no_float64_is_moved_to_the_device():
    for module in (GRUCompressor(width=0.02, iterations=2), TernaryEntropyModel(), TernaryDecoder(), BitsPerBit(2)):
        states = dict(module.named_buffers())
        for metric in module.modules():
            states |= getattr(metric, "_defaults", {})
        assert [name for name, state in states.items() if state.dtype == torch.float64] == []


def test_sums_in_two_numbers_are_those_of_float64():
    values = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(1)) * 100
    total = sums.zeros(3)
    for value in values:
        total = sums.add(total, value)
    torch.testing.assert_close(sums.value(total), values.double().sum(0), rtol=1e-13, atol=0)
    assert (values.cumsum(0)[-1].double() - values.double().sum(0)).abs().max() > 1e-3, "one float32 is not enough"


def test_codes_are_opened_again_by_another_process(tmp_path):
    np.save(tmp_path / "codes.npy", np.arange(200_000, dtype=np.uint8).reshape(50, 1, 1, 40, 100))
    crops = PackedCrops(tmp_path / "codes.npy", 3)
    sent = pickle.dumps(crops)
    assert len(sent) < 10_000 and torch.equal(pickle.loads(sent)[7], crops[7])


@pytest.mark.parametrize("elapsed", [5.0, 90.0])
@pytest.mark.parametrize("environment", [{}, {"LIT_RNNCOMP_TRIAL": "3"}, {"WANDB_SWEEP_ID": "a"}])
def test_the_time_of_a_trial_counts_over_all_its_starts(monkeypatch, environment, elapsed):
    for name in ("LIT_RNNCOMP_TRIAL", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    checkpoint = {"callbacks": {"Timer": {"time_elapsed": {"train": elapsed}}}}
    trainer = L.Trainer(max_time={"minutes": 1}, logger=False, accelerator="cpu")
    TimeOfThisStart().on_load_checkpoint(trainer, None, checkpoint)
    assert ("Timer" in checkpoint["callbacks"]) == bool(environment)
    if environment:
        # Nothing is left after a minute: a step, so that it is measured.
        spent = checkpoint["callbacks"]["Timer"]["time_elapsed"]["train"]
        assert spent == 5 if elapsed == 5 else 59.9 < spent < 60
