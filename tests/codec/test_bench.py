"""The seconds of each stage, of real runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_rnncomp.codec import weights
from lit_rnncomp.codec.bench import _run, bench


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_stages_add_up_to_the_command(photo: Path, tiny_codec, capsys: pytest.CaptureFixture[str]) -> None:
    model = photo.with_name("tiny.safetensors")
    weights.save(model, tiny_codec(unit="gru"))
    bench(str(photo), str(model), bpp=0.4, threads=[1], repeats=1, paper=False, json=True)
    encode, decode = json.loads(capsys.readouterr().out)
    assert (encode["verb"], decode["verb"], encode["iterations"]) == ("encode", "decode", 2)
    for row in (encode, decode):
        stages = [row[name] for name in ("start-up", "network", "entropy coding", "files")]
        assert min(stages) >= 0 and row["command"] == pytest.approx(sum(stages))
        assert row["network"] > 0 and row["peak_mib"] > 50


def test_the_memory_is_that_of_the_command_alone() -> None:
    held = np.ones(40_000_000)  # 305 MiB of this process
    seconds, peak = _run([sys.executable, "-c", "held = b'1' * 70_000_000"])
    assert 60 < peak < 200 and seconds > 0 and held[-1] == 1
    with pytest.raises(ValueError, match="^no such thing$"):
        _run([sys.executable, "-c", "import sys; sys.exit('lit-rnncomp: error: no such thing')"])


def test_bad_input_is_one_line(photo: Path) -> None:
    with pytest.raises(ValueError, match="no model 'nothing'"):
        bench(str(photo), "nothing", threads=[1], paper=False)
    with pytest.raises(ValueError, match="threads=0"):
        bench(str(photo), threads=[0])
