"""Many files at a time: by how many processes, and which of the names are inputs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.commands import files, refused
from helpers.files import assembled
from PIL import Image

from lit_rnncomp.cli import main
from lit_rnncomp.codec import batch, container, names, weights
from lit_rnncomp.codec.names import Pair, Plan
from lit_rnncomp.files import OutputError
from lit_rnncomp.progress import Progress

PICTURE = b"no photograph is needed"


class Place(NamedTuple):
    """A photograph, and a model for it."""

    photo: Path
    model: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Callable) -> Place:
    folder = tmp_path_factory.mktemp("batch")
    made = Place(folder / "photo.png", folder / "tiny.safetensors")
    y, x = np.mgrid[:176, :192]
    Image.fromarray(np.stack([y, x, (x * y) % 251], -1).astype(np.uint8)).save(made.photo)
    weights.save(made.model, tiny_codec(unit="gru", iterations=2))
    return made


def who(pair: Pair, progress: Progress) -> batch.Done:
    """Says which process did the work."""
    return batch.Done("", {"process": os.getpid(), "threads": os.environ.get("OPENBLAS_NUM_THREADS")})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity of processes")
@pytest.mark.parametrize("allowed", [1, 2])
def test_no_more_processes_than_cores_that_may_be_used(allowed: int, tmp_path: Path, capsys, monkeypatch) -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("there is one core")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    pairs = [Pair(str(tmp_path / name), str(tmp_path / f"{name}.rnnc")) for name in "abcd"]
    os.sched_setaffinity(0, sorted(before)[:allowed])
    try:
        batch.run(who, Plan(pairs, True), workers=0, as_json=True)
    finally:
        os.sched_setaffinity(0, before)
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    processes = {one["process"] for one in done}
    assert len(done) == 4 and len(processes) == allowed and (os.getpid() in processes) == (allowed == 1)
    assert {one["threads"] for one in done} == {None if allowed == 1 else "1"}


def test_one_name_that_ends_in_rnnc_is_the_output() -> None:
    assert names.encoding(["a.jpg", "b.jpg.rnnc"], None).pairs == [Pair("a.jpg", "b.jpg.rnnc")]
    with pytest.raises(OutputError, match=r"writes one file that ends in \.rnnc, not b\.rnnc, c\.rnnc"):
        names.encoding(["a.jpg", "b.rnnc", "c.rnnc"], None)


def test_several_files_and_folders(place: Place, tmp_path: Path, capsys) -> None:
    """The rest is done when one fails, in one process and in two; names within a folder stay."""
    for name in ("in/a.jpg", "in/[b].png", "in/deep/c.bmp", "in/bad.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(place.photo).save(tmp_path / name)
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    for workers in ("1", "2"):
        out = str(tmp_path / f"out{workers}")
        with pytest.raises(SystemExit) as stopped:
            main(
                ["encode", str(tmp_path / "in"), "-o", out, "--workers", workers, "--json", "--model", str(place.model)]
            )
        said = capsys.readouterr()
        lines = [json.loads(line) for line in said.out.splitlines()]
        assert stopped.value.code == 1 and len(lines) == 4
        assert sorted(files(Path(out))) == ["[b].rnnc", "a.rnnc", "deep/c.rnnc"]
        assert [Path(line["source"]).name for line in lines if "error" in line] == ["bad.png"]
        assert said.err.startswith("1 of 4 failed:\n") and "bad.png: not a picture" in said.err
    assert files(tmp_path / "out1") == files(tmp_path / "out2")
    main(["decode", *map(str, sorted((tmp_path / "out1").glob("*.rnnc"))), "--model", str(place.model)])
    assert {"[b].png", "a.png"} <= files(tmp_path / "out1").keys()
    main(["decode", out, "-o", str(tmp_path / "pictures"), "--suffix", "tif", "--model", str(place.model)])
    assert sorted(files(tmp_path / "pictures")) == ["[b].tif", "a.tif", "deep/c.tif"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["decode", out, "-o", str(tmp_path / "pictures"), "--suffix", "tif", "--model", str(place.model)])
    assert stopped.value.code == 1 and capsys.readouterr().err.count("already exists; -f replaces it") == 3


@pytest.mark.parametrize("suffix", ["gif", "tga", "pcx", "sgi", "jpg", "webp", "avif"])
def test_a_picture_that_a_format_cannot_hold_stops_no_other(place: Place, tmp_path: Path, capsys, suffix: str) -> None:
    known = ["--model", str(place.model)]
    (tmp_path / "in").mkdir()
    small, wide = tmp_path / "in" / "b.rnnc", tmp_path / "in" / "a.rnnc"
    main(["encode", str(place.photo), str(small), *known])
    parsed = container.parse(small.read_bytes())
    wide.write_bytes(assembled(replace(parsed.header, width=66000, height=1), parsed.chunks))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["decode", str(wide.parent), "-o", str(tmp_path / "out"), "--suffix", suffix, *known])
    said = capsys.readouterr().err
    assert stopped.value.code == 1 and list(files(tmp_path / "out")) == [f"b.{suffix}"]
    assert "1 of 2 failed:" in said and f"cannot write {tmp_path / 'out' / f'a.{suffix}'}: " in said
    assert "pixels a side, not 66000x1; use .png or .tif" in said
    assert "pixels a side" in refused(["decode", str(wide), str(tmp_path / f"a.{suffix}"), *known], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png a.jpg", "cannot write a.rnnc twice, for a.png and for a.jpg"),
        ("a.png b.png c.rnnc", "the output of several inputs is a folder"),
        ("a.png b.png -", "the output of several inputs is a folder"),
        ("a.png - b.png", "cannot be one of several inputs"),
        ("folder", "the folder folder holds nothing to read; its files end in .txt"),
        ("a.png b.png -o a.jpg", "the output of several inputs is a folder"),
        ("a.png b.png --workers=-1", "--workers -1 is below 0"),
    ],
)
def test_names_of_several_are_checked_before_the_work(
    place: Place, tmp_path: Path, capsys, monkeypatch, words: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a.jpg", "b.png"):
        Path(name).write_bytes(PICTURE)
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("no picture")
    before = files(tmp_path)
    assert message in refused(["encode", *words.split()], capsys)
    assert files(tmp_path) == before


def test_default_names_and_standard_input(place: Place, tmp_path: Path, capsys) -> None:
    photo = tmp_path / "my.holiday"  # no ending of a picture
    photo.write_bytes(place.photo.read_bytes())
    main(["encode", str(photo), "--model", str(place.model)])
    assert files(tmp_path).keys() == {"my.holiday", "my.holiday.rnnc"}
    script = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()"]
    known = ["--model", str(place.model)]
    coded = subprocess.run(
        [*script, "encode", "-", *known], input=photo.read_bytes(), capture_output=True, timeout=120, check=True
    ).stdout
    assert coded == (tmp_path / "my.holiday.rnnc").read_bytes()
    picture = subprocess.run(
        [*script, "decode", "-", "-", *known], input=coded, capture_output=True, timeout=120, check=True
    ).stdout
    main(["decode", str(tmp_path / "my.holiday.rnnc"), str(tmp_path / "a.png"), *known])
    assert Image.open(io.BytesIO(picture)).format == "PNG" and picture == (tmp_path / "a.png").read_bytes()
