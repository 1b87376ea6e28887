"""Every recipe on two processes, more processes than pictures, and a validation at the end of every run."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.starts import together
from PIL import Image

from lit_rnncomp.codec import weights
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.rate_distortion import PictureMeans

pytestmark = pytest.mark.slow
CONFIGS = Path(__file__).parents[2] / "configs"
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SMALL = ["--model.init_args.width=0.02", "--model.init_args.iterations=2"]
EACH_EPOCH = ["--trainer.check_val_every_n_epoch=1"]
# The recipes' own frameworks and schedules at a small size: two iterations where one is trained on at first.
EARLY = ["--model.init_args.early_iterations=1", "--model.init_args.early_fraction=0.5"]
BASE = f"--config={CONFIGS / 'model/lstm_additive.yaml'}"


def recipes() -> dict[str, list[str]]:
    small = {"entropy": ["--model.init_args.width=8", "--model.init_args.codec=codec.safetensors", "--data.patch=64"]}
    small["ternary"] = ["--model.init_args.channels=16", "--model.init_args.blocks=1", "--data.patch=32"]
    whole = {"quickstart": [*SMALL, *EARLY], "residual_gru_dct64": [*SMALL, *EARLY]}
    whole["truncated"] = [*SMALL, "--model.init_args.truncate=1"]
    whole["recurrent"] = [*SMALL, "--data.patch=32"]
    found: dict[str, list[str]] = {}
    for path in sorted(CONFIGS.rglob("*.yaml")):
        folder = path.parent.name
        if folder == "data":
            continue  # data: the test's pictures
        extra = whole.get(path.stem) or small.get(folder, SMALL)
        base = [BASE] if folder == "trainer" else []
        found[f"{folder}/{path.stem}"] = [*base, f"--config={path}", *extra]
    found["one iteration at first"] = [f"--config={CONFIGS / 'model/gru_one_shot.yaml'}", *SMALL, *EARLY]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        (folder / "photographs").mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"photographs/{number}.png")
    torch.manual_seed(0)
    config = CodecConfig(
        unit="gru", reconstruction="additive", width=0.03125, bits=4, code_stride=8, frontend="dct", iterations=3
    )
    weights.save(folder / "codec.safetensors", RecurrentCodec(config))
    return folder


@pytest.fixture
def fit(starts, folder, tmp_path):
    """Runs `fit` on some processes, as torchrun starts them; answers the values of a logged name."""

    def run(processes: int, *arguments: str, holdout: int = 3) -> None:
        (tmp_path / "photographs").symlink_to(folder / "photographs")
        (tmp_path / "codec.safetensors").symlink_to(folder / "codec.safetensors")
        data = ["--data.train=photographs", f"--data.holdout={holdout}", "--data.max_side=64", "--data.batch_size=2"]
        command = ["fit", *arguments, *data, *QUIET, f"--trainer.devices={processes}", "--trainer.strategy=ddp"]
        started = together(starts, processes, tmp_path, *command)
        codes = [process.wait(300) for process in started]
        assert codes == [0] * processes, started[0].output() + started[-1].output()

    return run


def logged(folder: Path, name: str) -> dict[int, float]:
    (path,) = folder.glob("runs/lightning_logs/version_0/metrics.csv")
    with path.open() as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_runs_three_steps_on_two_processes(fit, tmp_path, name):
    own = name.startswith("trainer/wandb")
    fit(2, *recipes()[name], "--trainer.max_steps=3", "--trainer.max_epochs=-1", "--trainer.num_sanity_val_steps=0")
    (last,) = tmp_path.glob(f"runs/{'*' if own else 'lightning_logs'}/*/checkpoints/last.ckpt")
    assert torch.load(last, weights_only=False)["global_step"] == 3
    assert last.with_name("best.ckpt").exists(), "validated after the last step"


@pytest.mark.parametrize(
    ("recipe", "metric"),
    [
        ("model/gru_one_shot", "val/auc_ms_ssim"),
        ("ternary/entropy", "val/bpp"),
        ("ternary/recurrent", "val/bpp_02"),
    ],
)
def test_more_processes_than_pictures_measure_each_once(fit, starts, tmp_path, recipe, metric):
    fit(3, *recipes()[recipe], "--trainer.max_steps=1", "--trainer.max_epochs=-1", "--model.init_args.lr=0", holdout=2)
    several = logged(tmp_path, metric)
    (tmp_path / "runs").rename(tmp_path / "several")
    arguments = [*recipes()[recipe], "--trainer.max_steps=1", "--trainer.max_epochs=-1", "--model.init_args.lr=0"]
    data = ["--data.train=photographs", "--data.holdout=2", "--data.max_side=64", "--data.batch_size=6"]
    one = starts(tmp_path, "fit", *arguments, *data, *QUIET)
    assert one.wait() == 0, one.output()
    assert logged(tmp_path, metric) == pytest.approx(several, rel=1e-5) and len(several) > 0


def test_the_panel_is_made_by_one_process(fit, tmp_path):
    """Two pictures on two processes: one for each to measure, and for the first to show."""
    length = ["--trainer.max_steps=2", "--trainer.max_epochs=-1", *EACH_EPOCH, "--data.steps_per_epoch=1"]
    watch = ["--trainer.callbacks+=onlookers.Passes", "--trainer.num_sanity_val_steps=0"]
    fit(2, *recipes()["trainer/wandb"], *length, *watch, holdout=2)
    assert [(tmp_path / f"passes-{rank}.txt").read_text() for rank in range(2)] == ["2\n2\n", "1\n1\n"]
    (media,) = tmp_path.glob("runs/wandb/offline-run-*/files/media")
    assert len(list(media.glob("images/val/pictures_*.png"))) == 2


@pytest.mark.parametrize(
    ("length", "steps"),
    [
        (["--trainer.max_steps=5", "--trainer.max_epochs=-1", "--data.steps_per_epoch=150"], [4]),
        (["--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2", "--data.steps_per_epoch=2"], [3, 5]),
        (["--trainer.max_steps=4", "--trainer.max_epochs=-1", *EACH_EPOCH, "--data.steps_per_epoch=2"], [1, 3]),
        (
            ["--trainer.max_epochs=4", "--trainer.val_check_interval=0.5", "--data.steps_per_epoch=2"],
            [0, 1, 2, 3, 4, 5, 6, 7],
        ),
        # About ten times whatever the length: at least ten steps apart, or after epochs.
        (["--trainer.max_steps=4", "--trainer.max_epochs=-1", "--data.steps_per_epoch=2"], [1, 3]),
        (["--trainer.max_epochs=3", "--data.steps_per_epoch=3"], [2, 5, 8]),
        (["--trainer.max_epochs=25", "--data.steps_per_epoch=1"], [2, 5, 8, 11, 14, 17, 20, 23, 24]),
        (
            ["--trainer.max_epochs=25", "--trainer.limit_train_batches=1", "--data.steps_per_epoch=50"],
            [2, 5, 8, 11, 14, 17, 20, 23, 24],
        ),
        (
            ["--trainer.max_steps=115", "--trainer.max_epochs=-1", "--data.steps_per_epoch=1000"],
            [*range(11, 115, 12), 114],
        ),
        (
            ["--trainer.max_epochs=36", "--trainer.accumulate_grad_batches=2", "--data.steps_per_epoch=6"],
            [*range(10, 108, 11), 107],
        ),
    ],
)
def test_a_run_is_measured_about_ten_times_and_at_its_end(starts, tmp_path, length, steps):
    process = starts(tmp_path, "fit", BASE, *SMALL, *QUIET, *length, "--data.batch_size=2", "--data.max_side=64")
    assert process.wait() == 0, process.output()
    areas = logged(tmp_path, "val/auc_ms_ssim")
    assert sorted(step for step in areas if step or 0 in steps) == steps
    best = torch.load(
        tmp_path / "runs/lightning_logs/version_0/checkpoints/best.ckpt", weights_only=False, map_location="cpu"
    )
    assert best["global_step"] - 1 in steps
    row = next(line for line in process.output().splitlines() if "MS-SSIM" in line and "│" in line)
    before, after = row.strip("│ ").split("│")[-2:]
    assert before != after


def test_a_run_keeps_one_best_checkpoint_for_each_metric(starts, tmp_path):
    second = [f"--config={CONFIGS / 'trainer/best_psnr_hvs.yaml'}", "--model.init_args.lr=0.01"]
    length = ["--trainer.max_steps=8", "--trainer.max_epochs=-1", *EACH_EPOCH, "--data.steps_per_epoch=2"]
    process = starts(
        tmp_path, "fit", BASE, *SMALL, *second, *QUIET, *length, "--data.batch_size=2", "--data.max_side=64"
    )
    assert process.wait() == 0, process.output()
    for name, metric in (("best", "val/auc_ms_ssim"), ("best_psnr_hvs", "val/mean_psnr_hvs")):
        values = {step: value for step, value in logged(tmp_path, metric).items() if step}
        (path,) = tmp_path.glob(f"runs/lightning_logs/version_0/checkpoints/{name}.ckpt")
        assert torch.load(path, weights_only=False)["global_step"] - 1 == max(values, key=values.__getitem__)
        best = logged(tmp_path, f"{metric}_best")
        assert best[max(best)] == pytest.approx(max(values.values()), rel=1e-5)


def test_means_over_pictures_weigh_batches_by_their_size():
    means = PictureMeans(["a", "b"])
    means.update({"a": torch.tensor(1.0), "b": torch.tensor(4.0)}, 3)
    means.update({"b": torch.tensor(0.0), "a": torch.tensor(5.0)}, 1)
    assert means.compute() == {"a": 2.0, "b": 3.0}
