"""Weights and entropy models on disk: safetensors files with the configuration beside the weights, and Lightning
checkpoints.

No code in them is run; torch is imported where a checkpoint or a network of torch asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..files import Output, write_bytes
from ..models import ternary
from ..models.config import CodecConfig
from ..models.numpy_codec import NumpyCodec, unsupported
from .digest import fingerprint
from .entropy import EntropyCoder
from .entropy_network import EntropyModelError

if TYPE_CHECKING:
    import torch

    from ..models.binary_rnn import BinaryRNN
    from ..models.context_model import ContextModel
    from ..models.recurrent_codec import RecurrentCodec
    from ..models.refiner import Refiner

CONFIG_KEY = "codec_config"
DIGEST_KEY = "digest"
ENTROPY_CONFIG_KEY = "entropy_config"
ENTROPY_PREFIX = "entropy."
"""In a codec's file, what the names of its entropy model's tensors begin with."""

CODES_KEY = "codes"
QUALITIES_KEY = "qualities"
"""Of a model of ternary codes: the step of each quality from 1 to 100, a JSON list."""
CONTEXT_CONFIG_KEY = "context_config"
REFINER_CONFIG_KEY = "refiner_config"
"""In checkpoints of the two networks of ternary codes: the arguments of `ContextModel` and `Refiner`."""

Arrays = dict[str, NDArray[Any]]


class TernaryWeights(NamedTuple):
    """A model of ternary codes: `context.*` and `refiner.*` tensors, and the step of each quality (none:
    uncalibrated)."""

    tensors: Arrays
    qualities: list[int]

    @classmethod
    def of(cls, context: ContextModel, refiner: Refiner, half: bool = False) -> TernaryWeights:
        """Those of two trained networks, the decoder's in 32 bits, or in 16 with `half`; uncalibrated."""
        tensors = {f"context.{name}": tensor for name, tensor in context.cpu().integers().items()}
        state = refiner.cpu().state_dict()
        tensors |= {f"refiner.{name}": (x.half() if half else x.float()).numpy() for name, x in state.items()}
        return cls(tensors, [])


class CheckpointError(ValueError):
    """A file that holds no usable codec. The message is one line and names the file."""


def digest(network: RecurrentCodec | NumpyCodec) -> bytes:
    """8 bytes that identify a network in the files made with it: of its configuration, defaults left out, and its
    weights as float32."""
    return _digest(network.config, network.tensors if isinstance(network, NumpyCodec) else _arrays(network))


def save(
    path: str | Path | Output,
    codec: RecurrentCodec,
    entropy: EntropyCoder | None = None,
    half: bool = False,
    **metadata: str,
) -> None:
    """Write `codec`, and its entropy model if it has one, as one safetensors file.

    Weights are stored in 32 bits, or in 16 with `half` (the digest is that of the stored values); `metadata` goes into
    the file's header.
    """
    tensors = {name: array.astype(np.float16 if half else np.float32) for name, array in _arrays(codec).items()}
    metadata = {
        CONFIG_KEY: json.dumps(codec.config.to_dict()),
        DIGEST_KEY: _digest(codec.config, tensors).hex(),
        **metadata,
    }
    if entropy is not None:
        tensors |= {ENTROPY_PREFIX + name: tensor for name, tensor in entropy.tensors.items()}
        metadata[ENTROPY_CONFIG_KEY] = _entropy_config(entropy)
    _write(path, tensors, metadata)


def load(path: str | Path) -> RecurrentCodec:
    """The network in a `.safetensors` file or a Lightning checkpoint, in evaluation mode, on the CPU, as float32.

    Raises `FileNotFoundError`, or `CheckpointError` when the file holds no codec of this version.
    """
    import torch

    from ..models.recurrent_codec import RecurrentCodec

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such model file: {path}")
    state: dict[str, torch.Tensor]
    if path.suffix == ".safetensors":
        config, arrays, _ = read(path)
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    else:
        config, state = _read_checkpoint(path, "a lit-rnncomp codec", CONFIG_KEY, "codec.")
    try:
        codec = RecurrentCodec(CodecConfig.from_dict(config))
        codec.load_state_dict(state)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the weights do not fit this version's network: {_first_line(error)}") from error
    return codec.requires_grad_(False).eval()


def load_numpy(path: Path) -> NumpyCodec | None:
    """The network of the file `path` in NumPy; None where there is no NumPy version of it, or where only `load` can
    tell what is wrong with the file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        values, tensors, claimed = read(path)
        config = CodecConfig.from_dict(values)
    except (ValueError, TypeError):
        return None
    # What `save` wrote has every weight in its shape, and its digest tells that this is what it wrote.
    intact = _digest(config, tensors).hex() == claimed
    return NumpyCodec(config, tensors) if intact and not unsupported(config) else None


def ternary_digest(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """8 bytes that identify a model of ternary codes in the files made with it."""
    return fingerprint({"codes": "ternary"}, tensors, "<f8")


def save_ternary(path: str | Path | Output, model: TernaryWeights, **metadata: str) -> None:
    """Write a model of ternary codes as safetensors; `metadata` goes into the file's header."""
    named = {CODES_KEY: "ternary", DIGEST_KEY: ternary_digest(model.tensors).hex(), **metadata}
    if model.qualities:
        named[QUALITIES_KEY] = json.dumps(model.qualities)
    _write(path, model.tensors, named)


def load_ternary(path: Path) -> TernaryWeights | None:
    """The model of ternary codes in a weights file; None where the file is of another kind, or none.

    Raises `CheckpointError` for weights that are not the ones their digest names, or are not finite.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        metadata, tensors = _read(path)
        qualities = json.loads(metadata.get(QUALITIES_KEY, "[]"))
    except (SafetensorError, ValueError, TypeError):
        return None
    if metadata.get(CODES_KEY) != "ternary":
        return None
    if ternary_digest(tensors).hex() != metadata.get(DIGEST_KEY):
        raise CheckpointError(f"{path}: the weights are not the ones that their digest names: the file is damaged")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(f"{path}: weights that are not finite")
    steps = range(ternary.ITERATIONS * ternary.SCALES)
    if not isinstance(qualities, list) or any(type(step) is not int or step not in steps for step in qualities):
        raise CheckpointError(f"{path}: its qualities are not a list of steps")
    return TernaryWeights(tensors, qualities)


def load_context_model(path: Path) -> ContextModel:
    """The network of a checkpoint of the entropy model of ternary codes. Raises `FileNotFoundError`,
    `CheckpointError`."""
    from ..models.context_model import ContextModel

    return _network(path, "an entropy model of ternary codes", CONTEXT_CONFIG_KEY, ContextModel)


def load_refiner(path: Path) -> Refiner:
    """The network of a checkpoint of the decoder of ternary codes. Raises `FileNotFoundError`, `CheckpointError`."""
    from ..models.refiner import Refiner

    return _network(path, "a decoder of ternary codes", REFINER_CONFIG_KEY, Refiner)


def holds_refiner(path: Path) -> bool:
    """Whether a file is a checkpoint of the decoder of ternary codes."""
    try:
        _read_checkpoint(path, "a decoder of ternary codes", REFINER_CONFIG_KEY, "network.")
    except CheckpointError:
        return False
    return True


def read(path: Path) -> tuple[dict[str, Any], Arrays, str]:
    """Configuration, weights and the digest that the file of a codec claims. Raises `CheckpointError`."""
    try:
        metadata, weights = _read(path, lambda name: not name.startswith(ENTROPY_PREFIX))
        return json.loads(metadata[CONFIG_KEY]), weights, metadata.get(DIGEST_KEY, "")
    except KeyError as error:
        raise CheckpointError(f"{path}: no {error} in its metadata; was it written by `lit-rnncomp export`?") from error
    except (SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {_first_line(error)}") from error


def load_entropy(path: str | Path) -> EntropyCoder | None:
    """The entropy model in a codec's file; None when it has none, or is a checkpoint.

    Raises `EntropyModelError` when its parts do not fit together.
    """
    if Path(path).suffix != ".safetensors":
        return None
    metadata, tensors = _read(path, lambda name: name.startswith(ENTROPY_PREFIX))
    if ENTROPY_CONFIG_KEY not in metadata:
        return None
    tensors = {name.removeprefix(ENTROPY_PREFIX): tensor for name, tensor in tensors.items()}
    return EntropyCoder(tensors, json.loads(metadata[ENTROPY_CONFIG_KEY]))


def save_entropy_model(path: str | Path, coder: EntropyCoder, **metadata: str) -> None:
    """Write an entropy model by itself as safetensors: integers, and the configuration as JSON in the metadata."""
    _write(path, coder.tensors, {ENTROPY_CONFIG_KEY: _entropy_config(coder), **metadata})


def load_entropy_model(path: str | Path) -> EntropyCoder:
    """What `save_entropy_model` wrote, or the integers of a training checkpoint. Raises `FileNotFoundError` or
    `EntropyModelError`."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such entropy model: {path}")
    if path.suffix == ".ckpt":
        return EntropyCoder.from_model(load_binary_rnn(path))
    try:
        metadata, tensors = _read(path)
        config = json.loads(metadata[ENTROPY_CONFIG_KEY])
    except KeyError as error:
        raise EntropyModelError(f"{path}: no {error} in its metadata, so it is not an entropy model") from error
    except (SafetensorError, ValueError) as error:
        raise EntropyModelError(f"{path}: not a readable safetensors file: {error}") from error
    try:
        return EntropyCoder(tensors, config)
    except EntropyModelError as error:
        raise EntropyModelError(f"{path}: {error}") from error


def load_binary_rnn(path: Path) -> BinaryRNN:
    """The network of an entropy model's training checkpoint. Raises `EntropyModelError`."""
    from ..models.binary_rnn import BinaryRNN, BinaryRNNConfig

    try:
        config, state = _read_checkpoint(path, "an entropy model", ENTROPY_CONFIG_KEY, "model.")
        model = BinaryRNN(BinaryRNNConfig(**config))
        model.load_state_dict(state)
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise EntropyModelError(
            f"{path}: not a checkpoint of an entropy model of this version: {_first_line(error)}"
        ) from error
    return model


def _arrays(codec: RecurrentCodec) -> Arrays:
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in codec.state_dict().items()}


def _digest(config: CodecConfig, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    defaults = CodecConfig().to_dict()
    return fingerprint(
        {name: value for name, value in config.to_dict().items() if value != defaults[name]}, tensors, "<f4"
    )


def _entropy_config(coder: EntropyCoder) -> str:
    return json.dumps(coder.config, sort_keys=True)


def _write(path: str | Path | Output, tensors: Arrays, metadata: dict[str, str]) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, metadata))


def _read(path: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> tuple[dict[str, str], Arrays]:
    with safe_open(path, "np") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in filter(wanted, file.keys())}


def _read_checkpoint(path: Path, what: str, key: str, prefix: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration under `key` of a Lightning checkpoint, and the weights under `prefix`. Raises
    `CheckpointError`."""
    import pickle

    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint that loads without running code from it: {_first_line(error)}"
        ) from error
    if not isinstance(checkpoint, dict) or key not in checkpoint:
        raise CheckpointError(f"{path}: not a checkpoint of {what} (it has no {key})")
    weights = {
        name.removeprefix(prefix): value
        for name, value in checkpoint.get("state_dict", {}).items()
        if name.startswith(prefix)
    }
    return checkpoint[key], weights


def _network(path: Path, what: str, key: str, make: Callable[..., Any]) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    config, state = _read_checkpoint(path, what, key, "network.")
    try:
        network = make(**config)
        network.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of {what} of this version: {_first_line(error)}") from error
    return network.requires_grad_(False).eval()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
