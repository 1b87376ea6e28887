"""The benchmark runs on any model, and reports nothing when the coder is wrong."""

import json

import numpy as np
import pytest
from helpers.entropy_models import tensors_and_config

from lit_rnncomp.codec import benchmark_entropy, entropy_weights
from lit_rnncomp.codec.entropy import EntropyCoder


def test_it_measures_a_saved_model(tmp_path, capsys):
    path = str(tmp_path / "model.safetensors")
    entropy_weights.save(path, EntropyCoder(*tensors_and_config()))
    size = ["--rows", "9", "--columns", "12", "--iterations", "2", "--repeats", "1"]
    benchmark_entropy.main(["--model", path, "--json", *size])
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["model"] == path
    assert 0 < result["bits_per_bit"] < 1
    assert all(result[name] > 0 for name in ("encode_s", "decode_s", "fronts_s", "line_s", "single_s"))
    benchmark_entropy.main(["--model", path, *size])
    assert path in capsys.readouterr().out


def test_it_reports_nothing_when_decoding_fails(monkeypatch):
    coder = EntropyCoder(*tensors_and_config())
    monkeypatch.setattr(
        coder, "decode", lambda chunks, rows, columns: np.zeros((2, coder.bits, rows, columns), np.int8)
    )
    with pytest.raises(AssertionError, match="no figures"):
        benchmark_entropy.measure(coder, 2, 5, 6, 1)


def test_the_shapes_it_compares_are_whole_models():
    models = dict(benchmark_entropy.untrained(2, bits=2))
    assert set(models) == {f"{line} {width}" for line in ("conv", "lstm") for width in (32, 48, 64)}
    assert models["conv 32"].iterations == 2
