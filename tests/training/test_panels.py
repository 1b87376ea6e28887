"""What a run leaves behind: panels in an offline Weights & Biases run, and where the run came from."""

import json
import re
import struct
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from lit_rnncomp.data.module import PhotographData
from lit_rnncomp.training.provenance import source_state
from lit_rnncomp.training.report import shown

ROOT = Path(__file__).parents[2]
OPTIONS = """
model: {class_path: GRUCompressor, init_args: {width: 0.03, iterations: 3}}
data: {init_args: {batch_size: 2, steps_per_epoch: 4, max_side: 96}}
seed_everything: 11
trainer:
  {max_steps: 8, max_epochs: -1, accelerator: cpu, log_every_n_steps: 1, enable_progress_bar: false,
   enable_model_summary: false}
"""


def records(path: Path) -> list[Record]:
    """The records of a `.wandb` file: a LevelDB log of protocol buffers behind seven bytes."""
    data, at, found, part = path.read_bytes(), 7, [], b""
    while at < len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        part += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last of its parts
            found.append(Record.FromString(part))
            part = b""
    return found


@pytest.fixture(scope="module")
def run(starts, tmp_path_factory) -> Path:
    """A run with `configs/trainer/wandb.yaml`, no account and no network, started twice: for 8 steps, and 2 more."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "options.yaml").write_text(OPTIONS)
    for steps in (8, 10):
        files = "--config=options.yaml", f"--config={ROOT / 'configs/trainer/wandb.yaml'}"
        process = starts(folder, "fit", *files, "--ckpt_path=last", f"--trainer.max_steps={steps}")
        assert process.wait() == 0, process.output()
    return folder


@pytest.fixture(scope="module")
def logged(run: Path) -> Path:
    """The folder of the first start."""
    return min(run.glob("runs/wandb/offline-run-*"))


@pytest.fixture(scope="module")
def history(logged: Path) -> list[dict]:
    """What was logged, a dictionary for each time that something was."""
    steps: list[dict] = []
    for record in records(next(logged.glob("*.wandb"))):
        if record.WhichOneof("record_type") == "history":
            steps.append({})
            for item in record.history.item:
                *outer, last = [item.key] if item.key else item.nested_key
                place = steps[-1]
                for name in outer:
                    place = place.setdefault(name, {})
                place[last] = json.loads(item.value_json)
    return steps


def values(history: list[dict], key: str) -> list:
    return [step[key] for step in history if key in step]


@pytest.mark.slow
def test_scalars_are_logged(history):
    for name in (
        "train/l1",
        "train/grad_norm",
        "train/grad_norm_encoder",
        "train/grad_norm_decoder",
        "train/pictures_per_second",
    ):
        assert len(values(history, name)) == 8 and min(values(history, name)) > 0, name
    best = values(history, "val/auc_ms_ssim_best")
    assert best == pytest.approx(list(np.maximum.accumulate(values(history, "val/auc_ms_ssim")))) and len(best) == 2


@pytest.mark.slow
def test_the_curve_is_a_table_and_a_plot_of_each_metric(logged, history):
    tables = [json.loads(path.read_text()) for path in logged.glob("files/media/table/val/curve_[0-9]*.table.json")]
    assert len(tables) == len(values(history, "val/curve")) == 2
    rows = {tuple(row) for table in tables for row in table["data"]}
    expected = set()
    for step in history:
        if "val/ms_ssim_01" in step:
            expected |= {
                (t / 8, *(step[f"val/{name}_{t:02d}"] for name in ("ms_ssim", "psnr", "psnr_hvs"))) for t in (1, 2, 3)
            }
    assert all(table["columns"] == ["bpp", "ms_ssim", "psnr", "psnr_hvs"] for table in tables)
    np.testing.assert_allclose(sorted(rows), sorted(expected), rtol=1e-6)
    updates = [
        list(item.nested_key) for record in records(next(logged.glob("*.wandb"))) for item in record.config.update
    ]
    for name in ("ms_ssim", "psnr", "psnr_hvs"):
        assert ["_wandb", "visualize", f"val/curve_{name}"] in updates


@pytest.mark.slow
def test_pictures_show_the_original_reconstructions_and_residuals(logged, history):
    pictures = sorted(logged.glob("files/media/images/val/pictures_*.png"))
    assert len(pictures) == len(values(history, "val/pictures")) == 2
    strip = np.asarray(Image.open(pictures[0])).astype(int)
    data = PhotographData(max_side=96)
    first = next(iter(data.val_dataloader()))[0].permute(1, 2, 0).numpy().astype(int)
    height, width = first.shape[:2]
    assert strip.shape == (2 * height, (1 + len(shown(3))) * width, 3)
    np.testing.assert_array_equal(strip[:height, :width], first)
    for column in range(1, 4):
        reconstruction, residual = (
            strip[top : top + height, column * width : (column + 1) * width] for top in (0, height)
        )
        inside = (reconstruction > 0) & (reconstruction < 255)
        assert np.abs((first - reconstruction) / 2 + 127.5 - residual)[inside].max() <= 1
    caption = values(history, "val/pictures")[0]["caption"]
    assert caption == "original; then after iteration 1, 2, 3, residuals below"


@pytest.mark.slow
def test_the_whole_configuration_is_in_the_run_and_in_its_folder(run, logged):
    (folder,) = run.glob("runs/lit-rnncomp/*")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["optimizer"] == "adam" and config["data"]["init_args"]["scale"] == [0.6, 1.0]
    assert (
        config["trainer"]["logger"]["class_path"].endswith("WandbLogger")
        and config["last_checkpoint"]["every_n_steps"] == 1000
    )
    sent = {}
    for record in records(next(logged.glob("*.wandb"))):
        sent |= {item.key: json.loads(item.value_json) for item in record.config.update if item.key == "config"}
    for name, part in sent["config"].items():
        assert part == config[name] or name in ("ckpt_path", "trainer"), name
    assert sent["config"]["trainer"]["max_steps"] == 8
    assert config["trainer"]["max_steps"] == 10
    again = [path.name.rsplit("-", 1)[1] for path in run.glob("runs/wandb/offline-run-*")]
    assert again == [folder.name] * 2, "the second start goes on with the first one's run"


@pytest.mark.slow
def test_the_artifact_with_the_alias_best_is_the_best_checkpoint(run, logged):
    """Lightning's own upload is of the last one, under that alias."""
    uploaded = [
        record.artifact
        for record in records(next(logged.glob("*.wandb")))
        if record.WhichOneof("record_type") == "artifact" and "best" in record.artifact.aliases
    ]
    assert uploaded and {artifact.type for artifact in uploaded} == {"model"}
    for artifact in uploaded:
        (entry,) = artifact.manifest.contents
        assert entry.path == "best.ckpt"
    (best,) = run.glob("runs/lit-rnncomp/*/checkpoints/best.ckpt")
    assert entry.size in (best.stat().st_size, *(each.stat().st_size for each in run.rglob("*.ckpt")))


@pytest.mark.slow
def test_provenance_has_a_record_of_each_start(run):
    (folder,) = run.glob("runs/lit-rnncomp/*")
    first, second = json.loads((folder / "provenance.json").read_text())
    assert (first["step"], second["step"]) == (0, 8)
    commit, diff = source_state(ROOT / "lit_rnncomp")
    assert first["commit"] == commit
    assert (first["diff"] is not None) == bool(diff)
    assert not first["diff"] or (folder / first["diff"]).read_bytes() == diff
    assert (first["seed"], first["processes"], first["precision"]) == (11, 1, "32-true")
    assert first["data"] == PhotographData().fingerprint()
    assert first["command"][1:3] == ["fit", "--config=options.yaml"]
    assert re.search(r"\d+ cores$", first["device"])
    for name in ("torch", "lightning", "wandb", "numpy"):
        assert first["packages"][name] == version(name)


def test_commit_and_diff_give_the_source_back(tmp_path):
    def git(*arguments, folder="package"):
        return subprocess.run(["git", "-C", str(tmp_path / folder), *arguments], check=True, capture_output=True).stdout

    package = tmp_path / "package"
    package.mkdir()
    assert source_state(package) == (None, b"")
    git("init", "-q")
    (package / "__init__.py").write_text("a = 1\n")
    git("add", ".")
    git("-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "one")
    head = git("rev-parse", "HEAD").decode().strip()
    assert source_state(package) == (head, b"")
    (package / "__init__.py").write_text("a = 2\n")
    (package / "new.bin").write_bytes(bytes(range(256)))
    commit, diff = source_state(package)
    assert commit == head
    git("clone", "-q", str(package), str(tmp_path / "clone"))
    subprocess.run(["git", "-C", str(tmp_path / "clone"), "apply"], input=diff, check=True)
    for name in ("__init__.py", "new.bin"):
        assert (tmp_path / "clone" / name).read_bytes() == (package / name).read_bytes()
