"""The NumPy networks against those of torch, and that the codec's commands do without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import Field, fields, make_dataclass

import numpy as np
import pytest
import torch

from lit_rnncomp.codec import weights
from lit_rnncomp.codec.api import load
from lit_rnncomp.codec.binary_codec import BinaryCodec as Codec
from lit_rnncomp.codec.tensor_files import CheckpointError
from lit_rnncomp.codec.torch_engine import TorchEngine
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.numpy_codec import NumpyCodec, unsupported
from lit_rnncomp.models.recurrent_codec import RecurrentCodec

BASE = {"unit": "residual_gru", "frontend": "dct", "code_stride": 8, "bits": 8, "width": 0.05}
VARIANTS = [
    {"reconstruction": "measured_gain", "projections": "per_iteration", "shortcut": True},
    {"reconstruction": "coefficient_gain"},
    {"reconstruction": "iteration_gain", "shortcut": True, "priming": 2},
    {"reconstruction": "additive", "projections": "per_iteration"},
    {"reconstruction": "one_shot", "output": "tanh"},
]
IMAGE = np.random.default_rng(5).integers(0, 256, (8, 10, 3), np.uint8).repeat(8, 0).repeat(8, 1)[:64, :80]


def numpy_of(network: RecurrentCodec) -> NumpyCodec:
    return NumpyCodec(network.config, {name: tensor.numpy() for name, tensor in network.state_dict().items()})


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_codes_and_pictures_are_those_of_torch(tiny_codec, options: dict) -> None:
    network = tiny_codec(**BASE, **options)
    theirs, ours = TorchEngine(network).exact(), numpy_of(network).exact()
    given = [codes for codes, _ in theirs.encode(IMAGE, 4)]
    coded = list(ours.encode(IMAGE, 4))
    for (codes, picture), expected, decoded, truth in zip(
        coded, given, ours.decode(given), theirs.decode(given), strict=True
    ):
        assert np.array_equal(codes, expected)
        assert np.array_equal(picture(), truth())
        assert np.array_equal(decoded(), truth())
    # In float32 rounding may tip a sample; the codes are given, so nothing else can differ.
    *_, picture = numpy_of(network).decode(given)
    difference = np.abs(picture().astype(int) - coded[-1][1]())
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_codes_put_in_by_the_caller_are_what_the_loop_goes_on_with(tiny_codec) -> None:
    network = tiny_codec(**BASE, **VARIANTS[0])
    flip = lambda t, codes: -codes if t == 1 else codes  # noqa: E731
    ours = [(codes, picture()) for codes, picture in numpy_of(network).exact().encode(IMAGE, 3, flip)]
    theirs = [(codes, picture()) for codes, picture in TorchEngine(network).exact().encode(IMAGE, 3, flip)]
    for (codes, picture), (expected, truth) in zip(ours, theirs, strict=True):
        assert np.array_equal(codes, expected)
        assert np.array_equal(picture, truth)


@pytest.mark.parametrize(
    "options",
    [{"unit": "gru"}, {"frontend": "conv", "code_stride": 16}, {"reconstruction": "residual_scaling"}],
    ids=str,
)
def test_other_networks_are_left_to_torch(tmp_path, tiny_codec, options: dict) -> None:
    network = tiny_codec(**{**BASE, **options})
    (name,) = {"unit", "frontend", "reconstruction"} & options.keys()
    with pytest.raises(ValueError, match=f"no NumPy version of a network with .*{name}='{options[name]}'"):
        NumpyCodec(network.config, {})
    weights.save(tmp_path / "other.safetensors", network)
    assert isinstance(load(tmp_path / "other.safetensors").network, RecurrentCodec)


def test_load_takes_numpy_on_a_cpu_and_files_are_the_same(tmp_path, tiny_codec) -> None:
    network = tiny_codec(**BASE, **VARIANTS[0])
    weights.save(tmp_path / "small.safetensors", network, half=True)
    ours, theirs = load(tmp_path / "small.safetensors"), Codec(weights.load(tmp_path / "small.safetensors"))
    assert isinstance(ours.network, NumpyCodec)
    assert ours.digest == theirs.digest
    data = theirs.encode(IMAGE[:50, :61])
    assert ours.encode(IMAGE[:50, :61]) == data
    assert np.array_equal(np.asarray(ours.decode(data, exact=True)), np.asarray(theirs.decode(data, exact=True)))


def test_a_file_that_is_not_what_was_saved_is_left_to_torch_which_names_the_fault(tmp_path, tiny_codec) -> None:
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "small.safetensors"
    weights.save(path, tiny_codec(**BASE, **VARIANTS[0]))
    config, _, digest = weights.read(path)
    tensors = load_file(path)
    tensors["decoder.gate.bias"] = tensors["decoder.gate.bias"][:-1]
    save_file(tensors, path, {"codec_config": json.dumps(config), "digest": digest})
    with pytest.raises(CheckpointError, match="do not fit this version's network"):
        load(path)


def test_saturated_gates_are_exact() -> None:
    from lit_rnncomp.models.numpy_codec import _sigmoid, _tanh

    x = np.array([-1e4, -1.0, 0.0, 1.0, 1e4], np.float32)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(_sigmoid(x), torch.sigmoid(torch.from_numpy(x)), rtol=1e-6)
        np.testing.assert_allclose(_tanh(x), np.tanh(x), rtol=1e-6, atol=1e-7)


def test_encode_and_decode_never_load_torch(tmp_path) -> None:
    from PIL import Image

    Image.fromarray(IMAGE).save(tmp_path / "picture.png")
    code = (
        "import sys; from lit_rnncomp.cli import main\n"
        "for line in (['encode', 'picture.png', 'file.rnnc'], ['decode', 'file.rnnc', 'again.png']):\n"
        "    sys.argv[1:] = line; main()\n"
        "assert not {'torch', 'triton', 'lightning'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "again.png").stat().st_size


# Of each option another value than `BASE` and the defaults have; what of it is not refused must be computed.
OTHER_VALUES = {
    "unit": ["lstm", "associative_lstm", "gru"],
    "reconstruction": ["one_shot", "residual_scaling", "iteration_gain", "coefficient_gain", "measured_gain"],
    "width": [0.1],
    "iterations": [3],
    "bits": [5],
    "code_stride": [16],
    "frontend": ["conv"],
    "binarize": ["sign"],
    "gain_input": ["reconstruction"],
    "output": ["tanh"],
    "padding": ["tf_same"],
    "priming": [2],
    "projections": ["per_iteration"],
    "shortcut": [True],
    "codes": ["ternary"],
    "layers": ["toderici2016"],
}
REFUSED = {
    "unit": OTHER_VALUES["unit"],
    "reconstruction": ["residual_scaling"],
    "code_stride": [16],
    "frontend": ["conv"],
    "codes": ["ternary"],
    "layers": ["toderici2016"],
}
# What an option cannot be without.
NEEDS = {
    "codes": {"frontend": "lapped", "reconstruction": "additive", "bits": 192},
    "layers": {"unit": "lstm", "frontend": "conv", "code_stride": 4},
}


@pytest.mark.parametrize("field", fields(CodecConfig), ids=lambda field: field.name)
def test_every_option_is_computed_or_refused_by_name(tiny_codec, field: Field) -> None:
    for value in OTHER_VALUES[field.name]:
        needs = NEEDS.get(field.name, {})
        network = tiny_codec(**{**BASE, **needs, field.name: value})
        if value in REFUSED.get(field.name, []):
            foreign = {f"{field.name}={value!r}", *(f"{name}={given!r}" for name, given in needs.items())}
            assert set(unsupported(network.config)) == foreign - {"reconstruction='additive'", "bits=192"}
            continue
        theirs, ours = TorchEngine(network).exact(), numpy_of(network).exact()
        for (codes, picture), (expected, truth) in zip(ours.encode(IMAGE, 3), theirs.encode(IMAGE, 3), strict=True):
            assert np.array_equal(codes, expected)
            np.testing.assert_allclose(
                picture(), truth().astype(int), atol=1
            )  # torch has the transform's constants as float32


@pytest.mark.parametrize(
    "field", [f for f in fields(CodecConfig) if isinstance(f.default, str)], ids=lambda field: field.name
)
def test_a_value_that_it_has_never_heard_of_is_refused_by_name(field: Field) -> None:
    config = CodecConfig(**BASE)
    object.__setattr__(config, field.name, "novel")
    assert unsupported(config) == [f"{field.name}='novel'"]


def test_an_option_that_it_has_never_heard_of_is_refused_by_name() -> None:
    newer = make_dataclass("Newer", [("ternary", bool, False)], bases=(CodecConfig,), frozen=True)
    with pytest.raises(ValueError, match="ternary=False"):
        NumpyCodec(newer(**BASE), {})


def test_default_configuration_is_the_papers_and_so_needs_torch() -> None:
    assert unsupported(CodecConfig()) == ["unit='lstm'", "code_stride=16", "frontend='conv'"]
