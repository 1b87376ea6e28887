"""Models of ternary codes on disk: the same model again, or one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import ternary_models
from safetensors.numpy import save_file

import lit_rnncomp
from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.tensor_files import CheckpointError
from lit_rnncomp.codec.ternary_weights import TernaryWeights
from lit_rnncomp.models import lapped

PHOTO = ternary_models.picture(40, 56)
Tensors = dict[str, np.ndarray]


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    codec = ternary_models.codec()
    ternary_weights.save(tmp_path / "small.safetensors", TernaryWeights(codec.tensors, codec.qualities), note="a test")
    loaded = lit_rnncomp.load(tmp_path / "small.safetensors")
    assert (loaded.name, loaded.digest, loaded.qualities) == ("small", codec.digest, codec.qualities)
    data = codec.encode(PHOTO, quality=60)
    assert loaded.encode(PHOTO, quality=60) == data and loaded.decode(data) == codec.decode(data)


def test_the_digest_covers_every_tensor_but_not_storage() -> None:
    tensors = ternary_models.tensors()
    original = ternary_weights.digest(tensors)
    assert ternary_weights.digest({n: t.astype(np.float64) for n, t in reversed(tensors.items())}) == original
    for name, tensor in tensors.items():
        other = tensor.copy()
        other.reshape(-1)[0] += 1 if other.reshape(-1)[0] < 100 else -1
        assert ternary_weights.digest({**tensors, name: other}) != original, name


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_one_line(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    ternary_weights.save(path, TernaryWeights(ternary_models.tensors(), []))
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    body = 8 + int.from_bytes(data[:8], "little")
    cut = path.with_name("cut.safetensors")
    cut.write_bytes(data[: int(random.integers(0, len(data)))])
    data[int(random.integers(body, len(data)))] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    for file, message in ((path, "not the ones that their digest names"), (cut, "not a readable safetensors file")):
        with pytest.raises(CheckpointError, match=message) as raised:
            lit_rnncomp.load(file)
        assert "\n" not in str(raised.value) and str(file) in str(raised.value)


def replaced(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: np.ascontiguousarray(change(tensors[name]))}


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def tune_weights(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], Tensors]:
    table = lapped.coefficient_weights(0.5).astype(np.float32)
    return lambda tensors: {**tensors, ternary_weights.TUNE_WEIGHTS: change(table)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("context.stem.weight"), "has no stem"),
        (without("context.mix.2.bias"), "has no tensor mix.2.bias"),
        (without("refiner.stem.bias"), "tensor embedding of the decoder's network"),
        (without("refiner.head.weight"), "the decoder's network has no tensor head.weight"),
        (without("refiner.wide.0.weight"), "of the decoder's network|no tensor wide"),
        (replaced("context.stem.weight", lambda t: t.astype(np.float32)), "not integers"),
        (replaced("context.probability", lambda t: t * 0), "leave 1..65535"),
        (replaced("context.head.0.bias", lambda t: t + 2**30), "sums are exact"),
        (replaced("context.wide.0.weight", lambda t: t[:, :-1]), "wide.0.weight of the entropy model is int8"),
        (replaced("refiner.head.weight", lambda t: t * np.nan), "weights that are not finite"),
        (replaced("refiner.own.weight", lambda t: t * np.inf), "weights that are not finite"),
        (
            replaced("refiner.head.weight", lambda t: t[:-1]),
            r"tensor head.weight of the decoder's network is float32\(19",
        ),
        (replaced("refiner.head.weight", lambda t: t.astype(np.int8)), "is int8.*, not floats"),
        (replaced("refiner.embedding", lambda t: t[:1]), "tensor embedding of the decoder's network"),
        (tune_weights(lambda t: t[:1]), r"tune_weights of the model is not \(2, 192\) positive numbers"),
        (tune_weights(lambda t: t - 1), r"tune_weights of the model is not \(2, 192\) positive numbers"),
        (tune_weights(lambda t: t * np.inf), "weights that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    change: Callable[[Tensors], Tensors], message: str, tmp_path: Path
) -> None:
    """Their digest is right: another program wrote them."""
    path = tmp_path / "small.safetensors"
    with np.errstate(invalid="ignore"):
        ternary_weights.save(path, TernaryWeights(change(ternary_models.tensors()), []))
    with pytest.raises(CheckpointError, match=message) as raised:
        lit_rnncomp.load(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("qualities", ["{}", "[1.5]", "[2816]", "[-1]", "null", "[true]"])
def test_qualities_that_are_no_steps_are_refused(qualities: str, tmp_path: Path) -> None:
    tensors = ternary_models.tensors()
    metadata = {"codes": "ternary", "digest": ternary_weights.digest(tensors).hex(), "qualities": qualities}
    save_file(tensors, tmp_path / "small.safetensors", metadata)
    with pytest.raises(CheckpointError, match="its qualities are not a list of steps"):
        lit_rnncomp.load(tmp_path / "small.safetensors")
