"""What `fit` and its sisters understand, and what they say when there is no such thing."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lit_rnncomp.codec.torch_engine import TorchEngine
from lit_rnncomp.training.command import prepared

SMALL = ["--model.init_args.width=0.02", "--model.init_args.iterations=2", "--data.batch_size=2", "--data.max_side=64"]
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def test_an_agents_null_is_one():
    assert prepared(["fit", "--model.init_args.truncate=None", "--x=None1"])[1:] == [
        "--model.init_args.truncate=null",
        "--x=None1",
    ]


@pytest.mark.parametrize("given", [["--model", "Foo"], ["--model=Foo"], ["--model.class_path=Foo"]])
def test_an_unknown_model_is_answered_with_the_names(given):
    with pytest.raises(ValueError, match="there is no model 'Foo': there are LSTMCompressor, Assoc") as error:
        prepared(["fit", *given])
    for name in ("GRUCompressor", "ResidualGRUCompressor", "EntropyModel", "TernaryDecoder"):
        assert name in str(error.value)


def test_a_model_of_ones_own_that_cannot_be_imported_is_named():
    with pytest.raises(ValueError, match="cannot import the model nowhere_at_all.Codec: No module named"):
        prepared(["fit", "--model=nowhere_at_all.Codec"])
    with pytest.raises(ValueError, match="the module math has no Codec"):
        prepared(["fit", "--model=math.Codec"])
    assert prepared(["fit", "--model=torch.nn.Linear"]) == ["fit", "--model=torch.nn.Linear"]


def test_help_after_a_model_is_the_models_help():
    assert prepared(["fit", "--model", "LSTMCompressor", "--help"]) == ["fit", "--model.help=LSTMCompressor"]


def test_no_such_device_is_one_line(tiny_codec):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ValueError, match="device cuda cannot be used here: .*; give cpu"):
        TorchEngine(tiny_codec(), "cuda")


@pytest.mark.slow
def test_no_such_accelerator_is_one_line(starts, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    process = starts(tmp_path, "fit", "--model=LSTMCompressor", *SMALL, "--trainer.accelerator=cuda")
    assert process.wait() == 2
    assert "Traceback" not in process.output() and "CUDA" in process.output().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer.val_check_interval=0"], "trainer.val_check_interval is 0, must be at least 1"),
        (["--trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch is 0, must be at least 1"),
        (["--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches is 0, must be at least 1"),
        (["--trainer.devices=abc"], "`devices` selected with `CPUAccelerator` should be an int > 0"),
        (["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=nothing"], "metric `nothing` which is not"),
        (["--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.monitor=val/auc_ms_ssim"], "more than one"),
        (["--trainer.max_steps=abc"], "Got value: abc"),
        (["--trainer.max_stepz=1"], "unrecognized arguments: --trainer.max_stepz=1; did you mean --trainer.max_steps?"),
        (["--model.widht=1"], "Option 'widht' is not accepted"),
        (["--model.init_args.width=-1"], "error: width=-1.0 is outside (0, 4]"),
    ],
)
def test_wrong_options_of_lightning_are_one_line(starts, tmp_path, words, said):
    mode = ["--trainer.callbacks.mode=max"] if "ModelCheckpoint" in words[0] else []
    command = ["--model=LSTMCompressor", *SMALL, *QUIET, "--data.steps_per_epoch=1", "--trainer.max_epochs=1"]
    process = starts(tmp_path, "fit", *command, *words, *mode)
    code, output = process.wait(), process.output()
    assert code == 2 and "Traceback" not in output and "usage" not in output, output
    assert output.splitlines()[-1].startswith("lit-rnncomp: error: ") and said in output.splitlines()[-1]


@pytest.mark.slow
def test_nothing_is_logged_every_zero_steps(starts, tmp_path):
    command = ["--model=LSTMCompressor", *SMALL, *QUIET, "--trainer.log_every_n_steps=0", "--trainer.max_steps=1"]
    process = starts(tmp_path, "fit", *command)
    assert process.wait() == 0, process.output()


@pytest.mark.slow
def test_a_checkpoint_knows_its_model(starts, tmp_path):
    fit = starts(tmp_path, "fit", "--model=GRUCompressor", *SMALL, *QUIET, "--trainer.max_steps=1")
    assert fit.wait() == 0, fit.output()
    (checkpoint,) = Path(tmp_path).glob("runs/*/version_0/checkpoints/last.ckpt")
    command = [f"--ckpt_path={checkpoint}", "--data.max_side=64", *QUIET]
    validate = starts(tmp_path, "validate", *command)
    assert validate.wait() == 0, validate.output()
    assert "val/auc_ms_ssim" in validate.output()


@pytest.mark.slow
def test_options_of_the_command_line_win_over_those_of_a_checkpoint(starts, tmp_path):
    """Others stay as the checkpoint has them: a branch of a run may have another decay, and needs no second list."""
    options = "--model.lr=0.003", "--model.schedule=wsd", "--model.init_args.decay=0.01"
    fit = starts(tmp_path, "fit", "--model=GRUCompressor", *SMALL, *QUIET, *options, "--trainer.max_steps=1")
    assert fit.wait() == 0, fit.output()
    (checkpoint,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    again = f"--ckpt_path={checkpoint}", "--model.decay=0.5", "--trainer.max_steps=2", *SMALL[2:]
    branch = starts(tmp_path, "fit", "--model=GRUCompressor", *QUIET, *again)
    assert branch.wait() == 0, branch.output()
    (reached,) = tmp_path.glob("runs/*/version_1/checkpoints/last.ckpt")
    found = torch.load(reached, weights_only=True)
    assert found["global_step"] == 2
    kept = {name: found["hyper_parameters"][name] for name in ("decay", "lr", "schedule", "width", "iterations")}
    assert kept == {"decay": 0.5, "lr": 0.003, "schedule": "wsd", "width": 0.02, "iterations": 2}


@pytest.mark.slow
def test_a_part_of_ones_own_is_trained_as_the_page_says(starts, tmp_path):
    page = (Path(__file__).parents[2] / "configs/README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "mine.py").write_text(code)
    fit = starts(tmp_path, "fit", "--model=mine.SquaredError", *SMALL, *QUIET, "--trainer.max_steps=2")
    assert fit.wait() == 0, fit.output()
    (metrics,) = tmp_path.glob("runs/*/version_0/metrics.csv")
    assert "val/auc_ms_ssim" in metrics.read_text()
    assert (metrics.parent / "checkpoints/best.ckpt").exists()


REST = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
"""
ALEXNET = f"""
from torch import nn
{REST}

def alexnet(weights=None):
    net = nn.Module()
    sizes = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
    layers = []
    for number, size in enumerate(sizes):
        layers += [nn.Conv2d(*size), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(3, 2)] if number in (0, 1, 4) else []
    net.features = nn.Sequential(*layers)
    return net


class AlexNet_Weights:
    DEFAULT = None
"""


@pytest.mark.slow
def test_lpips_is_a_loss_as_the_page_says(tmp_path):
    """The page's class and torchmetrics, with AlexNet's layers in the place of torchvision: its weights are a
    download."""
    page = (Path(__file__).parents[2] / "configs/README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("from . import models\n")
    (tmp_path / "torchvision/models.py").write_text(ALEXNET)
    for name in ("transforms", "ops"):  # torchmetrics imports them for other metrics
        (tmp_path / f"torchvision/{name}.py").write_text(REST)
    (tmp_path / "torchvision-1.0.dist-info").mkdir()
    (tmp_path / "torchvision-1.0.dist-info/METADATA").write_text("Name: torchvision\nVersion: 1.0\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    model = [
        "--model=mine.Perceptual",
        "--model.init_args.share=0.5",
        "--data.patch=64",
        "--trainer.log_every_n_steps=1",
    ]
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "fit", *model, *SMALL, *QUIET]
    done = subprocess.run(
        [*command, "--trainer.max_steps=2"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (metrics,) = tmp_path.glob("runs/*/version_0/metrics.csv")
    with metrics.open() as file:
        found = [float(row["train/lpips"]) for row in csv.DictReader(file) if row.get("train/lpips")]
    assert len(found) == 2 and min(found) > 0
