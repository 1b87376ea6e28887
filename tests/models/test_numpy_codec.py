"""The NumPy networks against those of torch, and that the codec's commands do without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from lit_rnncomp.codec import weights, weights_file
from lit_rnncomp.codec.api import Codec, load
from lit_rnncomp.codec.torch_engine import TorchEngine
from lit_rnncomp.models import CodecConfig, RecurrentCodec
from lit_rnncomp.models.numpy_codec import NumpyCodec, supports

BASE = {"unit": "residual_gru", "frontend": "dct", "code_stride": 8, "bits": 8, "width": 0.05}
VARIANTS = [
    {"reconstruction": "scheduled_gain", "gains": "measured", "projections": "per_iteration", "shortcut": True},
    {"reconstruction": "scheduled_gain", "gains": "coefficient", "hidden_kernel": 3},
    {"reconstruction": "scheduled_gain", "shortcut": True, "priming": 2},
    {"reconstruction": "additive", "projections": "per_iteration", "hidden_kernel": 5, "alpha_h": 0.3, "alpha_x": 0.2},
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
    assert not supports(network.config)
    with pytest.raises(ValueError, match="no NumPy version"):
        NumpyCodec(network.config, {})
    weights.save(tmp_path / "other.safetensors", network)
    assert isinstance(load(tmp_path / "other.safetensors").network, RecurrentCodec)


def test_load_takes_numpy_on_a_cpu_and_files_are_the_same(tmp_path, tiny_codec) -> None:
    network = tiny_codec(**BASE, **VARIANTS[0])
    weights.save(tmp_path / "small.safetensors", network, dtype=torch.float16)
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
    config, _, digest = weights_file.read(path)
    tensors = load_file(path)
    tensors["decoder.gate.bias"] = tensors["decoder.gate.bias"][:-1]
    save_file(tensors, path, {"codec_config": json.dumps(config), "digest": digest})
    with pytest.raises(weights.CheckpointError, match="do not fit this version's network"):
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


def test_default_configuration_is_the_papers_and_so_needs_torch() -> None:
    assert not supports(CodecConfig())
