"""What `fit` and its sisters understand, and what they say when there is no such thing."""

import re
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
def test_a_checkpoint_knows_its_model(starts, tmp_path):
    fit = starts(tmp_path, "fit", "--model=GRUCompressor", *SMALL, *QUIET, "--trainer.max_steps=1")
    assert fit.wait() == 0, fit.output()
    (checkpoint,) = Path(tmp_path).glob("runs/*/version_0/checkpoints/last.ckpt")
    command = [f"--ckpt_path={checkpoint}", "--data.max_side=64", *QUIET]
    validate = starts(tmp_path, "validate", *command)
    assert validate.wait() == 0, validate.output()
    assert "val/auc_ms_ssim" in validate.output()


@pytest.mark.slow
def test_a_part_of_ones_own_is_trained_as_the_page_says(starts, tmp_path):
    page = (Path(__file__).parents[2] / "configs/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    fit = starts(tmp_path, "fit", "--model=mine.SquaredError", *SMALL, *QUIET, "--trainer.max_steps=2")
    assert fit.wait() == 0, fit.output()
    (metrics,) = tmp_path.glob("runs/*/version_0/metrics.csv")
    assert "val/auc_ms_ssim" in metrics.read_text()
    assert (metrics.parent / "checkpoints/best.ckpt").exists()
