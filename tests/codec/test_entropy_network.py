"""The integer network equals the quantised torch network to the last bit, however its positions are grouped and
wherever it runs."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import processors
from helpers.entropy_models import network, sample, tensors_and_config

from lit_rnncomp.codec import entropy_weights
from lit_rnncomp.codec.entropy import EntropyCoder
from lit_rnncomp.codec.entropy_network import Context, EntropyModelError, IntegerBinaryRNN
from lit_rnncomp.codec.entropy_schedule import fronts, order, raster, rows
from lit_rnncomp.models.binary_rnn import BinaryRNN, BinaryRNNConfig

VARIANTS = [
    {"wiring": "released", "shared": True},
    {"wiring": "released", "shared": False},
    {"wiring": "paper", "shared": True},
    {"progressive": False, "shared": True},
    {"progressive": False, "shared": False},
    {"wiring": "released", "shared": True, "line": "conv"},
]


def trained_like(**options) -> BinaryRNN:
    """Weights large enough to reach every part of the tables, cells that saturate included."""
    torch.manual_seed(3)
    model = BinaryRNN(BinaryRNNConfig(**{"bits": 3, "iterations": 3, "width": 8, "state": 4, **options}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(3) if name.endswith("weight") else parameter.add_(torch.randn_like(parameter))
    model.quantized = True
    return model


def evaluate(model: IntegerBinaryRNN, codes: np.ndarray, groups=fronts, band: int = 384) -> np.ndarray:
    """Probabilities `(T, bits, rows, columns)`; codes become known only after they were asked for, as in a decoder."""
    _, bits, height, width = codes.shape
    context = Context(model, height, width, band)
    where = np.zeros((height + 4, width + 6), int)
    where[3:-1, 3:-3] = np.arange(height * width).reshape(height, width)
    result = np.zeros((len(codes), height * width, bits), np.int32)
    for t, iteration in enumerate(codes.transpose(0, 2, 3, 1)):
        if groups is rows:
            context.put_all(iteration)
        for group in groups(height, width):
            at = where.reshape(-1)[group]
            result[t, at] = context.probabilities(group)
            context.put(group, iteration.reshape(-1, bits)[at])
        context.advance()
    return result.transpose(0, 2, 1).reshape(codes.shape)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("size", [(1, 1), (9, 7), (3, 17)])
def test_it_equals_the_quantised_torch_network(options, size):
    model = trained_like(**options)
    codes = np.random.default_rng(0).integers(0, 2, (3, 3, *size)) * 2 - 1
    with torch.no_grad():
        logits = model.double()(torch.from_numpy(codes)[None].double())[0].numpy()
    index = np.rint(logits * 128).astype(int) + 2048
    tensors, config = model.integers()
    assert (index == logits * 128 + 2048).all()
    expected = tensors["table.probability"].numpy()[index]
    integer = IntegerBinaryRNN({name: tensor.numpy() for name, tensor in tensors.items()}, config)
    np.testing.assert_array_equal(evaluate(integer, codes), expected)
    assert size == (1, 1) or expected.std() > 2000, "probabilities are worth comparing"


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (13, 10)])
def test_fronts_rows_and_single_positions_agree_in_float32_and_float64(options, size):
    codes = np.random.default_rng(1).integers(0, 2, (4, 3, *size)) * 2 - 1
    expected = evaluate(network(dtype=np.float64, **options), codes, raster)
    for dtype in (np.float32, np.float64):
        for groups in (fronts, rows, raster):
            np.testing.assert_array_equal(evaluate(network(dtype=dtype, **options), codes, groups), expected)
    for band in (1, 4, 25):
        np.testing.assert_array_equal(evaluate(network(**options), codes, fronts, band), expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (5, 4), (17, 23)])
def test_a_front_needs_only_fronts_before_it(size):
    height, width = size
    place = {index: number for number, index in enumerate(order(height, width))}
    assert sorted(place) == list(range(height * width))
    number = np.zeros((height, width), int)
    where = np.zeros((height + 4, width + 6), int)
    where[3:-1, 3:-3] = np.arange(height * width).reshape(height, width)
    for front, group in enumerate(fronts(height, width)):
        number.reshape(-1)[where.reshape(-1)[group]] = front
    for y in range(height):
        for x in range(width):
            reach = [number[y - dy, max(0, x - 3) : x + 4].max() for dy in (1, 2, 3) if y >= dy]
            assert all(n < number[y, x] for n in reach + ([number[y, x - 1]] if x else []))


def test_rows_of_a_landscape_picture_make_few_fronts():
    assert len(list(fronts(64, 96))) == 96 + 4 * 63


SETTINGS = [*processors.SETTINGS, {"ATEN_CPU_CAPABILITY": "default"}]
SCRIPT = """
import hashlib, json, sys
import numpy as np
from lit_rnncomp.codec.container import Chunk
from lit_rnncomp.codec import entropy_weights
coder, codes = entropy_weights.load(sys.argv[1]), np.load(sys.argv[2])
chunks = [Chunk(bytes.fromhex(payload), kind) for payload, kind in json.load(open(sys.argv[3]))]
assert (coder.decode(chunks, *codes.shape[2:]) == codes).all(), "a file from another machine does not decode"
print(hashlib.sha256(b"".join(bytes([kind]) + payload for payload, kind in coder.encode(codes))).hexdigest())
assert "torch" not in sys.modules, "the coder needs no torch"
"""


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_files_are_the_same_under_every_setting_of_the_processor(setting, tmp_path):
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if "SkylakeX" in setting.values() and not {"X86_V4", "AVX512_SKX"} & set(found):
        pytest.skip("this processor has no AVX-512")
    coder = EntropyCoder(*tensors_and_config(bits=8, width=48, state=32))
    codes = sample(coder.network, 3, 24, 31)
    chunks = coder.encode(codes)
    assert not any(chunk.kind for chunk in chunks)
    entropy_weights.save(tmp_path / "model.safetensors", coder)
    np.save(tmp_path / "codes.npy", codes)
    (tmp_path / "chunks.json").write_text(json.dumps([(payload.hex(), kind) for payload, kind in chunks]))
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **setting}
    if environment.get("NPY_DISABLE_CPU_FEATURES") == "ALL":
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(found)
    arguments = [str(tmp_path / name) for name in ("model.safetensors", "codes.npy", "chunks.json")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.strip() == hashlib.sha256(b"".join(bytes([kind]) + payload for payload, kind in chunks)).hexdigest()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "line.bias"}, "line"),
        (lambda t: {k: v for k, v in t.items() if k != "table.tanh"}, "no tensor table.tanh"),
        (lambda t: {**t, "line.weight": t["line.weight"][:, :-1]}, "line.weight"),
        (lambda t: {**t, "line.weight": t["line.weight"].astype(np.float32)}, "float32"),
        (lambda t: {**t, "line.bias": t["line.bias"] + 2**24}, "layer line .* exact"),
        (lambda t: {**t, "line.weight": t["line.weight"].astype(np.int16) * 99}, "layer line .* exact"),
        (lambda t: {**t, "line.exponent": t["line.exponent"] - 40}, "layer line .* exact"),
        (lambda t: {**t, "table.probability": t["table.probability"] * 0}, "table probability .* 1..65535"),
        (lambda t: {**t, "table.sigmoid": t["table.sigmoid"] + 1}, "table sigmoid .* 0..256"),
    ],
)
def test_a_model_that_is_not_whole_or_not_exact_is_refused(change, message):
    tensors, config = tensors_and_config()
    with pytest.raises(EntropyModelError, match=message):
        IntegerBinaryRNN(change(tensors), config)


@pytest.mark.parametrize("change", [{"bits": 0}, {"width": "wide"}, {"iterations": 5}])
def test_a_configuration_that_does_not_fit_is_refused(change):
    tensors, config = tensors_and_config()
    with pytest.raises(EntropyModelError):
        IntegerBinaryRNN(tensors, {**config, **change})


def test_a_configuration_without_a_key_is_refused():
    tensors, config = tensors_and_config()
    del config["wiring"]
    with pytest.raises(EntropyModelError, match="wiring"):
        IntegerBinaryRNN(tensors, config)
