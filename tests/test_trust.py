"""Bad things that a command may meet: each ends in one line and exit code 2, and nothing is written or lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import binary_models
from helpers.files import assembled
from PIL import Image

from lit_rnncomp import files
from lit_rnncomp.codec import container, weights
from lit_rnncomp.images import read_image

COMMAND = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_codec: Callable) -> Path:
    from lit_rnncomp.codec.api import load

    folder = tmp_path_factory.mktemp("trust")
    y, x = np.mgrid[:40, :56]
    Image.fromarray(np.stack([6 * y, 4 * x, y + x], -1).astype(np.uint8)).save(folder / "photo.png")
    weights.save(folder / "tiny.safetensors", tiny_codec(unit="gru", iterations=2))
    data = load(folder / "tiny.safetensors").encode(Image.open(folder / "photo.png"))
    (folder / "photo.rnnc").write_bytes(data)
    return folder


def refused(arguments: list[object], where: Path, limit: tuple[int, int] | None = None, **environment: str) -> str:
    """The one line with which a process ends that must leave no file in `where`. `limit`: of a resource."""
    before = {path: path.stat().st_size for path in where.rglob("*")}
    done = subprocess.run(
        [*COMMAND, *map(os.fspath, map(_word, arguments))],
        capture_output=True,
        timeout=120,
        cwd=where,
        env={**os.environ, **environment},
        preexec_fn=None if limit is None else lambda: resource.setrlimit(limit[0], (limit[1], limit[1])),
    )
    error = done.stderr.decode(errors="surrogateescape")
    assert done.returncode == 2 and error.count("\n") == 1 and "Traceback" not in error, error
    assert {path: path.stat().st_size for path in where.rglob("*")} == before
    return error


def _word(argument: object) -> str | Path:
    return argument if isinstance(argument, (str, Path)) else str(argument)


@pytest.mark.parametrize("device", ["cuda:77", "nonsense", "meta", "cpu:x"])
@pytest.mark.parametrize("model", [None, "tiny.safetensors"])
def test_a_device_that_is_not_there(folder: Path, tmp_path: Path, device: str, model: str | None) -> None:
    known = [] if model is None else ["--model", folder / model]
    message = refused(["encode", folder / "photo.png", "x.rnnc", "--device", device, *known], tmp_path)
    assert f"no device '{device}' on this machine" in message


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_out_of_memory(folder: Path, tmp_path: Path, engine: str) -> None:
    Image.new("L", (7000, 7000)).save(tmp_path / "large.png")  # larger ones are refused for what decoding may take
    known = ["--model", folder / "tiny.safetensors", "--iterations", 1] if engine == "torch" else []
    message = refused(
        ["encode", tmp_path / "large.png", "x.rnnc", *known], tmp_path, (resource.RLIMIT_AS, 1_100_000_000)
    )
    assert "out of memory" in message


def test_names_that_are_not_text(folder: Path, tmp_path: Path) -> None:
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    names = [os.fsdecode(name) for name in (b"caf\xe9.rnnc", b"caf\xe9.png", b"[b]\xe9.rnnc")]
    missing = refused(["info", names[2]], tmp_path, **strict)
    assert "cannot read [b]" in missing and "No such file" in missing
    known = ["--model", str(folder / "tiny.safetensors")]
    for words in (
        ["encode", str(folder / "photo.png"), names[0], *known],
        ["info", names[0]],
        ["truncate", names[0], names[2], "--iterations", "1"],
        ["decode", names[0], names[1], *known],
        ["encode", names[1], names[0], "-f", *known],
    ):
        done = subprocess.run(
            [*COMMAND, *words], capture_output=True, cwd=tmp_path, timeout=120, env={**os.environ, **strict}
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_full_disk(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stops a write in its middle, as a full disk does."""
    limit = (resource.RLIMIT_FSIZE, 100)
    known = ["--model", folder / "tiny.safetensors"]
    for words, name in (
        (["encode", folder / "photo.png", "x.rnnc", *known], "x.rnnc"),
        (["decode", folder / "photo.rnnc", "x.png", *known], "x.png"),
        (["decode", folder / "photo.rnnc", "x.jpg", *known], "x.jpg"),
        (["export", folder / "tiny.safetensors", "x.safetensors"], "x.safetensors"),
    ):
        assert f"cannot write {name}: File too large" in refused(words, tmp_path, limit)


def test_a_pipe_without_a_writer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    os.mkfifo(tmp_path / "pipe")
    for read in (files.read_input, read_image):
        start = time.monotonic()
        with pytest.raises(ValueError, match="nothing came through this pipe for 0.2 seconds"):
            read(tmp_path / "pipe")
        assert time.monotonic() - start < 10


def test_a_pipe_is_read_to_its_end(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = (folder / "photo.png").read_bytes()

    def write() -> None:
        with (tmp_path / "pipe").open("wb") as pipe:
            pipe.write(data[:50])
            pipe.flush()
            time.sleep(0.3)
            pipe.write(data[50:])

    for read, expected in ((files.read_input, data), (read_image, Image.open(folder / "photo.png").convert("RGB"))):
        writer = threading.Thread(target=write)
        writer.start()
        assert read(tmp_path / "pipe") == expected
        writer.join()


@pytest.mark.parametrize("field", ["unit", "reconstruction", "width_thousandths", "bits", "stride"])
def test_a_header_is_compared_with_the_model(field: str) -> None:
    codec = binary_models.codec()
    header, _, chunks = container.parse(codec.encode(np.zeros((20, 20, 3), np.uint8)))
    layout = header.layout._replace(**{field: getattr(header.layout, field) ^ 3})
    with pytest.raises(container.BitstreamError, match="not this model's layout"):
        codec.decode(assembled(replace(header, layout=layout), chunks))


def test_no_iterations_are_no_limit(folder: Path, tmp_path: Path) -> None:
    for count in ("0", "-1"):
        message = refused(["truncate", folder / "photo.rnnc", "x.rnnc", f"--iterations={count}"], tmp_path)
        assert f"--iterations {count} is not a positive number" in message
