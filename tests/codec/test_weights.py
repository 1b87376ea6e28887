"""Weights of others on disk: what is damaged, hostile or of another kind is refused in one line that names the file."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from helpers import binary_models
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

import lit_rnncomp
from lit_rnncomp.codec import weights
from lit_rnncomp.codec.entropy_network import EntropyModelError
from lit_rnncomp.codec.tensor_files import CheckpointError
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.numpy_codec import shapes
from lit_rnncomp.models.recurrent_codec import RecurrentCodec

Arrays = dict[str, np.ndarray]
Change = Callable[[Arrays, dict[str, str]], None]
OPTIONS: dict[str, Any] = {"width": 0.01, "iterations": 2, "bits": 8, "code_stride": 8, "frontend": "dct"}


@pytest.fixture(scope="module", params=["residual_gru", "gru"], ids=["in NumPy", "in torch"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with an entropy model, for each of the two engines."""
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    network = RecurrentCodec(CodecConfig(unit=request.param, **OPTIONS))
    weights.save(path, network, binary_models.codec().entropy)
    return path


def changed(whole: Path, target: Path, change: Change, digest: bool = True) -> Path:
    """A copy in which `change` did something to tensors and metadata; with the digest of a network that is what it
    claims, as another program would write it."""
    with safe_open(whole, "np") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118
    change(tensors, metadata)
    if digest:
        network = {name: t for name, t in tensors.items() if not name.startswith(weights.ENTROPY_PREFIX)}
        try:
            config = CodecConfig.from_dict(json.loads(metadata["codec_config"]))
            metadata["digest"] = weights._digest(config, network).hex()
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
    save_file(tensors, target, metadata)
    return target


def refused(path: Path, kind: type[ValueError] = CheckpointError) -> str:
    with pytest.raises(kind) as raised:
        lit_rnncomp.load(path)
    message = str(raised.value)
    assert "\n" not in message and str(path) in message
    return message


def test_every_flipped_bit_is_found(whole: Path, tmp_path: Path) -> None:
    """Of the network and of the entropy model; what loads is the model that was written."""
    original, random = whole.read_bytes(), Random(0)
    good = lit_rnncomp.load(whole)
    body = 8 + int.from_bytes(original[:8], "little")
    path = tmp_path / "flipped.safetensors"
    places = [random.randrange(8 * body) for _ in range(60)]
    places += [random.randrange(8 * body, 8 * len(original)) for _ in range(60)]
    found = 0
    for bit in places:
        data = bytearray(original)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            loaded = lit_rnncomp.load(path)
        except (CheckpointError, EntropyModelError) as error:
            assert "\n" not in str(error) and str(path) in str(error)
            found += 1
            continue
        # A name in the metadata that nothing reads, or the entropy model as a whole.
        assert bit < 8 * body and loaded.digest == good.digest
        assert loaded.entropy is None or loaded.entropy.digest == good.entropy.digest
    assert found > 100


def drop(name: str) -> Change:
    def change(tensors: Arrays, metadata: dict[str, str]) -> None:
        del tensors[name]

    return change


def spoil(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda tensors, metadata: tensors.update({name: np.ascontiguousarray(change(tensors[name]))})


def configure(**options: Any) -> Change:
    def change(tensors: Arrays, metadata: dict[str, str]) -> None:
        metadata["codec_config"] = json.dumps({**json.loads(metadata["codec_config"]), **options})

    return change


def describe(**texts: str) -> Change:
    return lambda tensors, metadata: metadata.update(texts)


HEAD = "decoder.head.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop(HEAD), "Missing key|do not fit"),
        (spoil(HEAD, lambda t: t.ravel()), "do not fit"),
        (spoil(HEAD, lambda t: t[..., None]), "do not fit"),
        (spoil(HEAD, lambda t: t[:1]), "do not fit"),
        (spoil(HEAD, lambda t: t * np.nan), "not finite"),
        (spoil("decoder.stem.bias", lambda t: t + np.inf), "not finite"),
        (configure(width=4.0), "do not fit"),
        (configure(width=float("inf")), "do not fit"),
        (configure(alpha_h=float("nan")), "do not fit"),
        (configure(iterations=2.0), "do not fit"),
        (configure(bits=None), "do not fit"),
        (configure(unit=["gru"]), "do not fit"),
        (configure(newer=1), "unknown codec option newer"),
        (describe(codec_config="null"), "do not fit"),
        (describe(codec_config="[]"), "do not fit"),
        (describe(codec_config="{"), "not readable metadata"),
        (describe(codec_config="[" * 100_000), "not readable metadata"),
        (describe(codec_config='{"width": ' * 50_000), "not readable metadata"),
        (lambda tensors, metadata: metadata.pop("codec_config") and None, "no 'codec_config' in its metadata"),
    ],
)
def test_weights_that_do_not_fit_are_refused(whole: Path, tmp_path: Path, change: Change, message: str) -> None:
    with np.errstate(invalid="ignore"):
        path = changed(whole, tmp_path / "changed.safetensors", change)
    assert any(part in refused(path) for part in message.split("|"))


@pytest.mark.parametrize(
    "change", [lambda tensors, metadata: metadata.pop("digest") and None, describe(digest="0" * 16)]
)
def test_a_digest_is_there_and_right(whole: Path, tmp_path: Path, change: Change) -> None:
    assert "digest" in refused(changed(whole, tmp_path / "changed.safetensors", change, digest=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (describe(entropy_config="null"), "not an object"),
        (describe(entropy_config="[1]"), "not an object"),
        (describe(entropy_config='{"bits": Infinity}'), "lacks or spoils"),
        (describe(entropy_config='{"bits": null}'), "lacks or spoils"),
        (describe(entropy_config="[" * 100_000), "not readable metadata"),
        (describe(entropy_digest="0" * 16), "not the ones that their digest names"),
        (drop("entropy.head.0.bias"), "is not for"),
        (spoil("entropy.head.0.weight", lambda t: t[0]), "not for|misshapen|not integers"),
    ],
)
def test_entropy_models_that_do_not_fit_are_refused(whole: Path, tmp_path: Path, change: Change, message: str) -> None:
    path = changed(whole, tmp_path / "changed.safetensors", change)
    assert any(part in refused(path, EntropyModelError) for part in message.split("|"))


def test_numbers_that_numpy_does_not_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "eight.safetensors"
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16):
        save_torch({HEAD: torch.ones(2, 2).to(dtype)}, path, {"codec_config": "{}", "digest": ""})
        refused(path)


def test_a_claim_of_size_costs_no_memory(tmp_path: Path) -> None:
    """Width 4 of the paper's network is 4.8 GB of weights, and this file holds none."""
    script = """
import resource, sys, torch, lit_rnncomp
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try: lit_rnncomp.load(sys.argv[1])
except ValueError as error: print(error)
print("GREW", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    config = json.dumps(CodecConfig(width=4.0).to_dict())
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "wide.safetensors", {"codec_config": config, "digest": "00"})
    torch.save({"codec_config": CodecConfig(width=4.0).to_dict(), "state_dict": {}}, tmp_path / "wide.ckpt")
    for name in ("wide.safetensors", "wide.ckpt"):
        command = [sys.executable, "-c", script, str(tmp_path / name)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        assert f"{name}: the weights do not fit this version's network" in said
        assert int(said.split("GREW")[1]) < 200_000, "kilobytes"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"codec_config": {}},
        {"codec_config": {}, "state_dict": None},
        {"codec_config": {}, "state_dict": {"codec.a": 1}},
        {"codec_config": None, "state_dict": {}},
        {"codec_config": {"width": "x"}, "state_dict": {}},
        {"codec_config": {"width": 0.01}, "state_dict": {3: torch.ones(1)}},
        [],
        torch.ones(3),
    ],
    ids=str,
)
def test_checkpoints_of_another_kind_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    refused(path)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path, random = tmp_path / "tiny.ckpt", Random(0)
    network = RecurrentCodec(CodecConfig(unit="gru", **OPTIONS))
    state = {f"codec.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"codec_config": network.config.to_dict(), "state_dict": state}, path)
    original, digest = path.read_bytes(), lit_rnncomp.load(path).digest
    refusals = 0
    for _ in range(60):
        data = bytearray(original)
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        if random.random() < 0.3:
            data = data[: random.randrange(len(data))]
        path.write_bytes(data)
        try:
            assert lit_rnncomp.load(path).digest == digest
        except CheckpointError as error:
            refusals += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert refusals > 40


def test_weights_that_are_not_finite_are_refused_in_checkpoints(tmp_path: Path) -> None:
    network = RecurrentCodec(CodecConfig(unit="gru", **OPTIONS))
    with torch.no_grad():
        network.decoder.head.weight.fill_(torch.nan)
    state = {f"codec.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"codec_config": network.config.to_dict(), "state_dict": state}, tmp_path / "nan.ckpt")
    assert "not finite" in refused(tmp_path / "nan.ckpt")


@pytest.mark.parametrize("name", ["folder.safetensors", "folder.ckpt"])
def test_what_cannot_be_read_is_not_called_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert "Is a directory" in refused(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such"):
        lit_rnncomp.load(tmp_path / f"missing-{name}")


@pytest.mark.parametrize("projections", ["shared", "per_iteration"])
@pytest.mark.parametrize("reconstruction", ["iteration_gain", "coefficient_gain", "measured_gain"])
def test_shapes_are_those_of_torch(projections: str, reconstruction: str) -> None:
    for more in ({}, {"shortcut": True, "width": 0.05}):
        config = CodecConfig(
            **{**OPTIONS, "unit": "residual_gru", "reconstruction": reconstruction, **more},
            projections=projections,
        )
        expected = {name: tuple(t.shape) for name, t in RecurrentCodec(config).state_dict().items()}
        assert shapes(config) == expected
    config = CodecConfig(unit="residual_gru", reconstruction="one_shot", **OPTIONS)
    assert shapes(config) == {name: tuple(t.shape) for name, t in RecurrentCodec(config).state_dict().items()}


def test_measured_memory_of_numpy_weights_is_theirs(whole: Path) -> None:
    tracemalloc.start()
    lit_rnncomp.load(whole)
    assert tracemalloc.get_traced_memory()[1] < 40 * whole.stat().st_size
    tracemalloc.stop()
