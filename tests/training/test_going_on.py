"""What `--ckpt_path` means: whose options, weights and metrics a start takes from the one before it."""

import csv
import shutil

import pytest
import torch
import yaml
from helpers.small_runs import DATA_AND_TRAINER, GRU

from lit_rnncomp.sweep.trials import metrics_kept

pytestmark = pytest.mark.slow
VERSION = "runs/lightning_logs/version_0"
LAST = f"{VERSION}/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def three_steps(starts, tmp_path_factory):
    """A folder with a run of three steps."""
    folder = tmp_path_factory.mktemp("run")
    process = starts(folder, "fit", *GRU, *DATA_AND_TRAINER, "--trainer.max_steps=3")
    assert process.wait() == 0, process.output()
    return folder


@pytest.fixture
def run(starts, three_steps, tmp_path):
    """Runs a verb in a copy of that folder to its end; answers its exit code and output."""
    folder = tmp_path / "copy"
    shutil.copytree(three_steps, folder)

    def start(*arguments: str, verb: str = "fit", model: list[str] = GRU) -> tuple[int, str]:
        process = starts(folder, verb, *model, *DATA_AND_TRAINER, *arguments)
        return process.wait(), process.output()

    start.folder = folder
    return start


def refused(result: tuple[int, str], *parts: str) -> bool:
    """Whether a start ended with exit code 2 and one line that has all the parts."""
    code, output = result
    line = output.splitlines()[-1]
    assert code == 2 and "Traceback" not in output and line.startswith("lit-rnncomp: error: "), output
    assert all(part in line for part in parts), line
    return True


@pytest.mark.parametrize("way", ["word", "words", "file"])
def test_options_win_over_those_of_a_checkpoint(run, way):
    (run.folder / "lr.yaml").write_text("model: {init_args: {lr: 0.1}}\n")
    given = {"word": "--model.init_args.lr=0.1", "words": '--model.init_args={"lr":0.1}', "file": "--config=lr.yaml"}
    code, output = run(given[way], "--trainer.max_steps=4", f"--ckpt_path={LAST}", model=[])
    assert code == 0, output
    folder = run.folder / "runs/lightning_logs/version_1"
    reached = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    said = yaml.safe_load((folder / "config.yaml").read_text())["model"]["init_args"]
    assert reached["global_step"] == 4 and reached["optimizer_states"][0]["param_groups"][0]["lr"] == 0.1
    assert (said["lr"], said["width"], said["reconstruction"]) == (0.1, 0.02, "one_shot")


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_another_architecture_is_refused(run, verb):
    other = run(f"--ckpt_path={LAST}", verb=verb, model=["--model=LSTMCompressor"])
    assert refused(other, LAST, "unit is lstm in this run, gru there")


def test_weights_of_another_shape_are_one_line(run):
    command = f"--ckpt_path={LAST}", "--model=TernaryDecoder"
    assert refused(run(*command, verb="validate", model=[]), "the checkpoint's weights are not those of this model")


def test_the_last_checkpoint_is_measured_or_refused(run):
    code, output = run("--ckpt_path=last", verb="validate")
    assert code == 0 and f"Loaded model weights from the checkpoint at {LAST}" in output, output
    other = "--trainer.logger.init_args.version=other"
    assert refused(run("--ckpt_path=last", other, verb="validate"), "no run in runs/lightning_logs/other has a last")


@pytest.mark.parametrize("verb", ["validate", "predict"])
def test_measuring_a_run_keeps_its_metrics(run, verb):
    before = (run.folder / VERSION / "metrics.csv").read_text()
    named = "--trainer.logger.init_args.version=version_0"
    code, output = run(f"--config={VERSION}/config.yaml", named, f"--ckpt_path={LAST}", verb=verb, model=[])
    assert code == 0, output
    assert (run.folder / VERSION / "metrics.csv").read_text() == before
    found = [path.name for path in (run.folder / VERSION).glob("*-*.csv")]
    assert found == (["validate-001.csv"] if verb == "validate" else [])


@pytest.mark.parametrize("length", ["--trainer.max_steps=3", "--trainer.max_steps=2", "--trainer.max_epochs=1"])
def test_a_finished_run_stays_as_it_is(run, length):
    kept = [run.folder / VERSION / name for name in ("metrics.csv", "config.yaml")]
    before = [path.read_bytes() for path in kept]
    code, output = run(length, "--ckpt_path=last")
    assert code == 0 and output.count("nothing is left to do") == 1, output
    assert [path.read_bytes() for path in kept] == before
    assert not list((run.folder / VERSION).glob("metrics-*.csv"))


def test_a_dry_run_touches_no_run(run):
    files = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    code, output = run("--trainer.fast_dev_run=true", "--ckpt_path=last")
    assert code == 0, output
    assert {path for path in run.folder.rglob("*") if path.is_file()} - files.keys() == {run.folder / "output-1.txt"}
    assert all(path.read_bytes() == data for path, data in files.items())


def test_a_start_that_logs_nothing_leaves_the_metrics(tmp_path):
    (tmp_path / "metrics.csv").write_text("1")
    with metrics_kept(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["metrics-001.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_metrics_get_the_next_free_number(tmp_path):
    (tmp_path / "metrics-003.csv").write_text("3")
    (tmp_path / "metrics.csv").write_text("4")
    with metrics_kept(tmp_path):
        (tmp_path / "metrics.csv").write_text("5")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "metrics-003.csv": "3",
        "metrics-004.csv": "4",
        "metrics.csv": "5",
    }


@pytest.mark.parametrize("version", ["lr[1]", "a/b", ""])
def test_a_run_goes_on_in_the_folder_that_is_named(run, version):
    named = f"--trainer.logger.init_args.version={version}", "--ckpt_path=last"
    assert run(*named, "--trainer.max_steps=2")[0] == 0
    code, output = run(*named, "--trainer.max_steps=4")
    assert code == 0, output
    folder = run.folder / "runs/lightning_logs" / version
    logged = [list(csv.DictReader(path.open())) for path in sorted(folder.glob("metrics*.csv"))]
    steps = [[int(row["step"]) for row in rows if row["train/l1"]] for rows in logged]
    assert steps == [[0, 1], [2, 3]] and max(int(row["step"]) for row in logged[1]) == 3


def test_the_first_start_of_a_numbered_run(run):
    code, output = run("--trainer.logger.init_args.version=5", "--ckpt_path=last", "--trainer.max_steps=1")
    assert code == 0 and "no run to go on with in runs/lightning_logs/version_5: this is" in output, output


def test_going_on_needs_a_logger_by_name(run):
    assert refused(run("--trainer.logger=true", "--ckpt_path=last"), "--ckpt_path=last needs a logger by name")


def test_checkpoints_of_another_kind_are_one_line(run):
    full = torch.load(run.folder / LAST, weights_only=True)
    names = ("state_dict", "pytorch-lightning_version", "hyper_parameters", "loops", "global_step", "epoch")
    torch.save({name: full[name] for name in names}, run.folder / "weights.ckpt")
    torch.save({"state_dict": full["state_dict"]}, run.folder / "stable.ckpt")
    torch.save([1], run.folder / "list.ckpt")
    (run.folder / "some.safetensors").write_bytes(b"8")
    start = "has weights alone: to start from them, give --model.init_args.weights="
    for name in ("weights.ckpt", "stable.ckpt", "some.safetensors"):
        assert refused(run(f"--ckpt_path={name}"), f"{name} {start}{name} without --ckpt_path")
    assert refused(run("--ckpt_path=stable.ckpt", verb="validate"), start)
    assert refused(run("--ckpt_path=list.ckpt"), "list.ckpt is no checkpoint of fit")
    code, output = run("--ckpt_path=weights.ckpt", verb="validate")
    assert code == 0, output


@pytest.mark.parametrize("kind", [GRU, ["--model=TernaryEntropyModel", "--model.init_args.channels=8"]])
def test_start_weights_are_measured_and_not_needed_again(run, kind):
    folder = run.folder / "runs/lightning_logs/started"
    named = "--trainer.logger.init_args.version=started"
    options = "--trainer.limit_val_batches=1", "--data.multiple=64"
    assert run("--trainer.max_steps=1", named, *options, model=kind)[0] == 0
    start = (folder / "checkpoints/last.ckpt").rename(run.folder / "start.ckpt")
    weights = "--model.init_args.weights=start.ckpt"
    figures = []
    for words in ((weights,), (f"--ckpt_path={start}",)):
        code, output = run(*words, *options, verb="validate", model=kind)
        assert code == 0, output
        figures.append([line for line in output.splitlines() if "val/" in line])
    assert figures[0] == figures[1] != []
    assert run(weights, named, *options, "--trainer.max_steps=1", model=kind)[0] == 0
    start.unlink()
    code, output = run(weights, named, *options, "--trainer.max_steps=2", "--ckpt_path=last", model=kind)
    assert code == 0, output


@pytest.mark.parametrize("overfit", [[], ["--trainer.overfit_batches=3"]])
def test_a_run_that_goes_on_amid_an_epoch_is_an_unbroken_one(run, overfit):
    last, rates = {}, []
    for version, lengths in (("once", (7,)), ("twice", (4, 7))):
        named = f"--trainer.logger.init_args.version={version}"
        for steps in lengths:
            code, output = run(named, *overfit, f"--trainer.max_steps={steps}", "--ckpt_path=last")
            assert code == 0, output
        folder = run.folder / "runs/lightning_logs" / version
        last[version] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
        rows = [row for path in folder.glob("metrics*.csv") for row in csv.DictReader(path.open())]
        rates += [float(row["train/pictures_per_second"]) for row in rows if row["train/pictures_per_second"]]
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(last["twice"][part], last["once"][part], rtol=0, atol=0)
    assert len(rates) >= 12 and min(rates) > 0.1


def test_an_ordinary_run_goes_on_with_few_batches(run):
    named = "--trainer.logger.init_args.version=few", "--ckpt_path=last"
    assert run(*named, "--trainer.max_steps=4")[0] == 0
    code, output = run(*named, "--trainer.max_steps=7", "--trainer.overfit_batches=2")
    assert code == 0, output
