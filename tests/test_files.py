"""What the verbs write, and above all what they do not: no verb replaces a file that is not its own, unless it is told
to."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.commands import files, refused
from PIL import Image

from lit_rnncomp.cli import VERBS, main
from lit_rnncomp.codec import weights
from lit_rnncomp.files import TEMPORARY, write_bytes, wrote

PHOTOGRAPH = io.BytesIO()
Image.new("RGB", (32, 32), "teal").save(PHOTOGRAPH, "PNG")
PHOTOGRAPH = PHOTOGRAPH.getvalue()


class Place:
    """A folder with all that the verbs read, and what each of them is told to write there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photo, self.model, self.file = folder / "photo.png", folder / "tiny.safetensors", folder / "photo.rnnc"
        self.data, self.results, self.study = folder / "data", folder / "results", folder / "study"

    def command(self, verb: str, output: Path, *options: str) -> list[str]:
        known = ["--model", str(self.model)]
        words = {
            "encode": [str(self.photo), str(output), *known],
            "decode": [str(self.file), str(output), *known],
            "truncate": [str(self.file), str(output), "--iterations", "1"],
            "export": [str(self.model), str(output)],
            "compare": [str(self.model), "jpeg420", "--picture", str(self.photo), "--out", str(output)],
            "sweep best": [str(self.study), "--export", str(output)],
            "rehearse": ["--small", "--only", "peak", "--out", str(output)],
            "plot": [str(self.results), "--out", str(output)],
            "report": [str(self.results), "--out", str(output), "--codecs", "none", "--pictures", "1"],
            "evaluate": [
                *known,
                "--data",
                str(self.data),
                "--codecs",
                "jpeg420",
                "--frames",
                "1",
                "--out",
                str(output),
            ],
            "data mine": ["--images", str(self.data), "--out", str(output), "--workers", "1"],
            "sweep run": [str(self.folder / "sweep.yaml"), "--count", "1", "--out", str(output)],
            "fit": [
                *TRAINING,
                f"--data.train={self.data}",
                f"--data.val={self.data}",
                f"--trainer.logger.save_dir={output}",
                "--trainer.max_steps=1",
            ],
            "predict": [
                *TRAINING[:-1],
                f"--data.predict={self.data}",
                "--trainer.logger=false",
                f"--trainer.default_root_dir={output}",
            ],
        }
        return [*verb.split(), *words[verb], *options]


TRAINING = [
    "--model=LSTMCompressor", "--model.init_args.width=0.03", "--model.init_args.iterations=2",
    "--data.init_args.max_side=64", "--data.init_args.num_workers=0", "--data.init_args.batch_size=1",
    "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    "--trainer.logger=CSVLogger",
]  # fmt: skip
# An output that exists is refused; -f replaces it.
FORCED = {
    "encode": "new.rnnc",
    "decode": "new.png",
    "truncate": "new.rnnc",
    "export": "new.safetensors",
    "compare": "strip.png",
    "sweep best": "new.ckpt",
    "rehearse": "new.json",
}
# What such a verb replaces, it wrote itself: the file that a person names, or files in the folder that a person names.
OWN = {
    "plot": ("rd.png", ["rd.png", "rd.svg"]),
    "report": ("report.html", ["report.html"]),
    "evaluate": ("out", ["out/run.json", "out/strip.png", "out/rd.png", "out/points.csv", "out/pictures/a.png.json"]),
    "data mine": ("out", ["out/index.json", "out/tiles-00000.npy"]),
    "sweep run": ("out", ["out/study.db", "out/trials"]),
    "fit": ("out", ["out/config.yaml", "out/strip.png", "out/metrics.csv"]),
    "predict": ("out", ["out/predictions/a/iteration_01.png"]),
}
# They write nothing, or only into a temporary folder or a run's folder of a new number.
NOTHING = {"info", "models", "bench", "bdrate", "demo", "validate", "test"}


def test_every_verb_is_here() -> None:
    assert {*FORCED, *OWN, *NOTHING} == set(VERBS), (
        "say of a new verb what it may replace, and the tests below hold it to that"
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Callable) -> Place:
    from lit_rnncomp.codec.api import load
    from lit_rnncomp.evaluation.evaluate import evaluate

    place = Place(tmp_path_factory.mktemp("files"))
    place.data.mkdir()
    y, x = np.mgrid[:176, :192]
    Image.fromarray(np.stack([y, x, (x * y) % 251], -1).astype(np.uint8)).save(place.photo)
    (place.data / "a.png").write_bytes(place.photo.read_bytes())
    weights.save(place.model, tiny_codec(unit="gru", iterations=2))
    place.file.write_bytes(load(place.model).encode(Image.open(place.photo)))
    evaluate(
        model=[str(place.model)], data=str(place.data), codecs="jpeg420", out=str(place.results), frames=1, json=True
    )
    sweep = {
        "method": "random",
        "metric": {"name": "auc", "goal": "maximize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    command = ["${interpreter}", "-c", "raise SystemExit('a trial of a test')", "${args}"]
    (place.folder / "sweep.yaml").write_text(yaml.safe_dump({**sweep, "program": "none", "command": command}))
    return place


@pytest.fixture(scope="module")
def place(made: Place) -> Place:
    """With the study that `sweep best` reads."""
    pytest.importorskip("optuna", reason="needs lit-rnncomp[sweeps]")
    from lit_rnncomp.sweep.engine import Study
    from lit_rnncomp.sweep.reading import read_sweep

    study = Study(read_sweep(made.folder / "sweep.yaml"), made.study)
    trial = study.draw()
    kept = study.trial_folder(trial) / "checkpoints" / "best.ckpt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"the best checkpoint")
    study.finish(trial, [1.0], "complete")
    return made


def in_a_process(arguments: list[str], code: int) -> str:
    """The same for a verb that reads `sys.argv`; its line follows those of the libraries."""
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr.strip().split("\n")[-1]


@pytest.mark.parametrize("verb", FORCED)
def test_what_exists_is_refused_and_with_f_replaced(place: Place, tmp_path: Path, capsys, verb: str) -> None:
    output = tmp_path / FORCED[verb]
    output.write_bytes(PHOTOGRAPH)
    output.chmod(0o600)
    assert refused(place.command(verb, output), capsys).endswith(f"{output} already exists; -f replaces it\n")
    assert files(tmp_path) == {output.name: PHOTOGRAPH}
    main(place.command(verb, output, "-f"))
    assert list(files(tmp_path)) == [output.name] and output.read_bytes() != PHOTOGRAPH
    assert stat.S_IMODE(output.stat().st_mode) == 0o600, "a private file stays private"
    main(place.command(verb, output, "--force"))


@pytest.mark.parametrize("verb", FORCED)
def test_links_are_written_through(place: Place, tmp_path: Path, verb: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / FORCED[verb], tmp_path / FORCED[verb]
    link.symlink_to(target)
    main(place.command(verb, link))
    first = target.read_bytes()
    target.write_bytes(PHOTOGRAPH)
    main(place.command(verb, link, "-f"))
    same = target.read_bytes() != PHOTOGRAPH if verb == "rehearse" else len(target.read_bytes()) == len(first)
    assert link.is_symlink() and same  # measured figures have as many digits as they have
    assert files(tmp_path / "elsewhere").keys() == {target.name}


@pytest.mark.parametrize("verb", ["encode", "decode", "export", "compare", "sweep best"])
@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic link", "hard link"])
def test_an_input_is_never_the_output(place: Place, tmp_path: Path, capsys, verb: str, make: Callable) -> None:
    source = {
        "encode": place.photo,
        "decode": place.file,
        "export": place.model,
        "compare": place.photo,
        "sweep best": place.study / "trials" / "0000" / "checkpoints" / "best.ckpt",
    }[verb]
    before, output = source.read_bytes(), tmp_path / FORCED[verb]
    make(source, output)
    assert "the same file as the input" in refused(place.command(verb, output, "-f"), capsys)
    if verb not in ("encode", "decode"):  # there the name alone is refused
        assert "the same file as the input" in refused(place.command(verb, source, "-f"), capsys)
    assert source.read_bytes() == before


def test_truncate_in_place_only_with_f(place: Place, tmp_path: Path, capsys) -> None:
    file = tmp_path / "a.rnnc"
    file.write_bytes(place.file.read_bytes())
    file.chmod(0o600)
    arguments = ["truncate", str(file), str(file), "--iterations", "1"]
    assert "-f replaces it" in refused(arguments, capsys)
    assert file.read_bytes() == place.file.read_bytes()
    main([*arguments, "-f"])
    assert file.stat().st_size < place.file.stat().st_size and stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("encode", "out.jpg"),
        ("encode", "out"),
        ("encode", "p2.png"),
        ("decode", "x.psd"),
        ("compare", "x.psd"),
    ],
)
def test_names_are_checked_before_the_work(
    place: Place, tmp_path: Path, capsys, monkeypatch, verb: str, name: str
) -> None:
    """The model is missing, and would be found missing when the work starts."""
    monkeypatch.setattr(place, "model", tmp_path / "missing.ckpt")
    monkeypatch.chdir(tmp_path)
    message = refused(place.command(verb, Path(name)), capsys)
    assert f"cannot write {name}: " in message and (".rnnc" if verb == "encode" else ".png") in message
    assert not files(tmp_path)


def test_two_photographs_are_two_inputs(place: Place, tmp_path: Path, capsys) -> None:
    """`encode *.png` in a folder of two."""
    first, second = tmp_path / "p1.png", tmp_path / "p2.png"
    first.write_bytes(PHOTOGRAPH)
    second.write_bytes(PHOTOGRAPH)
    assert "twice" in refused(["encode", str(second), str(second), "--bpp", ".5"], capsys)
    assert files(tmp_path).keys() == {"p1.png", "p2.png"}
    main(["encode", str(first), str(second), "--model", str(place.model)])
    written = files(tmp_path)
    assert written.keys() == {"p1.png", "p1.rnnc", "p2.png", "p2.rnnc"}
    assert written["p1.png"] == written["p2.png"] == PHOTOGRAPH


@pytest.mark.parametrize("verb", ["encode", "truncate"])
def test_standard_output(place: Place, tmp_path: Path, verb: str) -> None:
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *place.command(verb, Path("-"))]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True, cwd=tmp_path)
    main(place.command(verb, tmp_path / "a.rnnc"))
    assert done.stdout == (tmp_path / "a.rnnc").read_bytes()
    assert b"bytes" in done.stderr and files(tmp_path).keys() == {"a.rnnc"}


def test_pipes_and_devices_are_written_to(place: Place, tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    main(place.command("encode", pipe))
    reader.join(timeout=10)
    main(place.command("encode", tmp_path / "a.rnnc"))
    assert received == [(tmp_path / "a.rnnc").read_bytes()] and pipe.is_fifo()
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_bytes(b"")
    except OSError:
        pytest.skip("this user makes no devices")
    main(place.command("encode", device))
    assert device.is_char_device() and files(tmp_path).keys() == {"a.rnnc"}


@pytest.mark.parametrize("verb", ["encode", "decode"])
def test_standard_output_by_its_other_names(place: Place, tmp_path: Path, verb: str) -> None:
    """Through a pipe and into a file; what is said of it does not come in between."""
    main(place.command(verb, tmp_path / FORCED[verb]))
    expected = (tmp_path / FORCED[verb]).read_bytes()
    start = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()"]
    command = place.command(verb, Path("/dev/stdout"))
    done = subprocess.run([*start, *command], capture_output=True, timeout=120, check=True)
    assert done.stdout == expected and b"-> /dev/stdout: " in done.stderr
    words = [verb, command[1], "-o", "/dev/stdout", *command[3:]]
    with (tmp_path / "redirected").open("wb") as file:
        subprocess.run([*start, *words], stdout=file, stderr=subprocess.PIPE, timeout=120, check=True)
    assert (tmp_path / "redirected").read_bytes() == expected


def test_decode_writes_a_png_to_pipes_and_devices_without_an_ending(place: Place, tmp_path: Path) -> None:
    main(place.command("decode", tmp_path / "a.png"))
    for name, kind in (("pipe", "PNG"), ("pipe.bmp", "BMP")):
        pipe, received = tmp_path / name, []
        os.mkfifo(pipe)
        reader = threading.Thread(target=lambda pipe=pipe, to=received: to.append(pipe.read_bytes()), daemon=True)
        reader.start()
        main(place.command("decode", pipe))
        reader.join(timeout=10)
        with Image.open(io.BytesIO(received[0])) as image:
            assert image.format == kind
        assert kind != "PNG" or received == [(tmp_path / "a.png").read_bytes()]
    main(place.command("decode", Path(os.devnull)))


def _put(path: Path) -> None:
    """A photograph of somebody's, or for a folder one in it."""
    path = path if path.suffix else path / "photo.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PHOTOGRAPH)


@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb, (_, names) in OWN.items() for name in names])
def test_a_file_of_another_origin_is_not_replaced(place: Place, tmp_path: Path, capsys, verb: str, name: str) -> None:
    _put(tmp_path / name)
    before = files(tmp_path)
    arguments = place.command(verb, tmp_path / OWN[verb][0])
    if verb == "fit":
        arguments += ["--trainer.logger.name=", "--trainer.logger.version="]
    error = in_a_process(arguments, 2) if verb in ("fit", "predict") else refused(arguments, capsys)
    assert f"{tmp_path / name} already exists and lit-rnncomp did not write it" in error
    assert {path: data for path, data in files(tmp_path).items() if path != "out/lock"} == before


@pytest.mark.parametrize("verb", ["plot", "report", "evaluate", "data mine"])
def test_what_a_verb_wrote_it_replaces(place: Place, tmp_path: Path, verb: str) -> None:
    for _ in range(2):
        main(place.command(verb, tmp_path / OWN[verb][0]))
    assert {name for name in OWN[verb][1]} <= files(tmp_path).keys()
    assert not list(tmp_path.rglob(f"{TEMPORARY}*"))


def test_a_photograph_in_a_results_folder_is_still_somebodys(place: Place, tmp_path: Path, capsys) -> None:
    main(place.command("evaluate", tmp_path / "out"))
    _put(tmp_path / "out" / "strip.png")
    capsys.readouterr()
    assert "strip.png already exists" in refused(place.command("evaluate", tmp_path / "out"), capsys)
    assert (tmp_path / "out" / "strip.png").read_bytes() == PHOTOGRAPH


def test_evaluate_goes_on_after_a_kill(place: Place, tmp_path: Path) -> None:
    """Whatever a killed evaluation leaves, it is known by its first file."""
    from lit_rnncomp.evaluation.records import ResultsError
    from lit_rnncomp.evaluation.results import Results, begin, write_json

    begin(tmp_path, ["a.png"])
    write_json(tmp_path / "summary.json", {})
    with pytest.raises(ResultsError, match="holds no measured picture"):
        Results.read(tmp_path)
    main(place.command("evaluate", tmp_path))
    assert Results.read(tmp_path).pictures


def test_fit_replaces_what_it_wrote(place: Place, tmp_path: Path) -> None:
    arguments = [*place.command("fit", tmp_path / "out"), "--trainer.logger.name=", "--trainer.logger.version="]
    for _ in range(2):
        in_a_process(arguments, 0)
    assert {"config.yaml", "provenance.json", "strip.png", "checkpoints/last.ckpt"} <= files(tmp_path / "out").keys()
    assert wrote(tmp_path / "out" / "strip.png") and wrote(tmp_path / "out" / "rate_distortion.png")


def test_a_study_without_our_sweep_is_not_taken_over(place: Place, tmp_path: Path) -> None:
    import optuna

    from lit_rnncomp.sweep.definition import SweepError
    from lit_rnncomp.sweep.engine import Study
    from lit_rnncomp.sweep.reading import read_sweep

    study = optuna.create_study(study_name="sweep", storage=f"sqlite:///{tmp_path / 'study.db'}")
    study.tell(study.ask(), 1.0)
    with pytest.raises(SweepError, match="another sweep"):
        Study(read_sweep(place.folder / "sweep.yaml"), tmp_path)


def test_a_name_may_be_as_long_as_the_file_system_allows(place: Place, tmp_path: Path) -> None:
    name = "n" * 250 + ".rnnc"
    main(place.command("encode", tmp_path / name))
    main(place.command("truncate", tmp_path / name, "-f"))
    write_bytes(tmp_path / ("n." + "s" * 253), b"")
    assert len(files(tmp_path)) == 2


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="the system has no /dev/full")
def test_a_full_device_is_one_line(place: Place, capsys) -> None:
    assert "cannot write /dev/full: No space left on device" in refused(
        place.command("encode", Path("/dev/full")), capsys
    )


def test_folders_and_missing_folders(place: Place, tmp_path: Path, capsys) -> None:
    (tmp_path / "x.rnnc").mkdir()
    assert "it is a folder" in refused(place.command("encode", tmp_path / "x.rnnc", "-f"), capsys)
    assert "there is no folder" in refused(place.command("encode", tmp_path / "no" / "x.rnnc", "-f"), capsys)
    (tmp_path / "loop.rnnc").symlink_to("loop.rnnc")
    assert "cannot write" in refused(place.command("encode", tmp_path / "loop.rnnc", "-f"), capsys)
