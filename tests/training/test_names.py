"""Names of files and runs that YAML, or UTF-8, does not take as they are."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lit_rnncomp.codec.tensor_files import read_checkpoint
from lit_rnncomp.codec.weights import CONFIG_KEY
from lit_rnncomp.training.yaml_of_names import load

CAFE = os.fsdecode(b"caf\xe9")
SMALL = [
    "--model=GRUCompressor",
    "--model.init_args.width=0.02",
    "--model.init_args.iterations=2",
    "--data.batch_size=2",
    "--data.steps_per_epoch=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]


@pytest.fixture
def run(starts, tmp_path):
    """Runs a verb to its end, which must be a good one."""

    def start(verb: str, *arguments: str) -> None:
        process = starts(tmp_path, verb, *SMALL, *arguments)
        assert process.wait() == 0, next(iter(tmp_path.glob("output-*"))).read_text(errors="backslashreplace")

    return start


def test_yaml_has_names_of_any_bytes():
    assert load(f"[{CAFE}, 1]") == [CAFE, 1] == load(yaml.safe_dump([CAFE, 1]))
    assert load(f"{{a: {CAFE}, b: '${{a}}.png'}}") == {"a": CAFE, "b": f"{CAFE}.png"}
    assert load("1e-3") == 0.001 and load("{abc}") == "{abc}"


@pytest.mark.slow
def test_every_verb_takes_names_that_are_not_utf8(run, tmp_path):
    folder = tmp_path / CAFE
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (64, 64), (60 * number, 90, 120)).save(folder / f"{CAFE}{number}.png")
    data = f"--data.train={folder}", f"--data.val={folder}", f"--data.predict={folder / CAFE}0.png"
    run("fit", "--trainer.max_steps=1", f"--trainer.logger.init_args.save_dir={CAFE}_runs", *data)
    checkpoint = f"{CAFE}.ckpt"
    shutil.copy(next(tmp_path.glob(f"{CAFE}_runs/*/*/checkpoints/last.ckpt")), tmp_path / checkpoint)
    assert read_checkpoint(tmp_path / checkpoint, "a codec", CONFIG_KEY, "codec.")[1]
    run("fit", "--trainer.max_steps=1", f"--model.init_args.weights={checkpoint}", *data)
    (said,) = tmp_path.glob("runs/lightning_logs/version_0/config.yaml")
    run("validate", f"--config={said}", f"--ckpt_path={checkpoint}")
    run("predict", *data, f"--ckpt_path={checkpoint}")
    assert list(tmp_path.glob(f"runs/lightning_logs/*/predictions/{CAFE}0/iteration_01.png"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "folder"), [("2024_01_15", "2024_01_15"), ("007", "007"), ("7", "version_7")])
def test_a_run_has_the_name_that_it_is_given(run, tmp_path, name, folder):
    for steps in (1, 2):
        run("fit", f"--trainer.logger.init_args.version={name}", f"--trainer.max_steps={steps}", "--ckpt_path=last")
    assert [path.name for path in Path(tmp_path / "runs/lightning_logs").iterdir()] == [folder]
    assert len(list(tmp_path.glob("runs/lightning_logs/*/metrics-001.csv"))) == 1
