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

from ..files import Output
from ..models import lapped, ternary
from ..models.config import CodecConfig
from ..models.numpy_codec import NumpyCodec, shapes, unsupported
from .digest import fingerprint
from .entropy import EntropyCoder
from .entropy_network import EntropyModelError
from .tensor_files import (
    Arrays,
    CheckpointError,
    damaged,
    finite,
    first_line,
    present,
    read_checkpoint,
    read_json,
    read_tensors,
    write_tensors,
)

if TYPE_CHECKING:
    import torch

    from ..models.binary_rnn import BinaryRNN
    from ..models.context_model import ContextModel
    from ..models.recurrent_codec import RecurrentCodec
    from ..models.refiner import Refiner

CONFIG_KEY = "codec_config"
DIGEST_KEY = "digest"
ENTROPY_CONFIG_KEY = "entropy_config"
ENTROPY_DIGEST_KEY = "entropy_digest"
ENTROPY_PREFIX = "entropy."
"""In a codec's file, what the names of its entropy model's tensors begin with."""

CODES_KEY = "codes"
QUALITIES_KEY = "qualities"
"""Of a model of ternary codes: the step of each quality from 1 to 100, a JSON list."""
CONTEXT_CONFIG_KEY = "context_config"
REFINER_CONFIG_KEY = "refiner_config"
"""In checkpoints of the two networks of ternary codes: the arguments of `ContextModel` and `Refiner`."""
TUNE_WEIGHTS = "tune_weights"
"""In a model of ternary codes: the `lapped.coefficient_weights`, `(2, 192)` float32, where they are not the default."""


class TernaryWeights(NamedTuple):
    """A model of ternary codes: `context.*` and `refiner.*` tensors, `tune_weights` where they are not the default ones
    of `lapped.coefficient_weights`, and the step of each quality (none: uncalibrated)."""

    tensors: Arrays
    qualities: list[int]

    @classmethod
    def of(cls, context: ContextModel, refiner: Refiner, half: bool = False) -> TernaryWeights:
        """Those of two trained networks, the decoder's in 32 bits, or in 16 with `half`; uncalibrated.

        Raises `ValueError` where the two are for other weights of coefficients.
        """
        power = context.visual_power
        if power != refiner.visual_power:
            raise ValueError(
                f"the entropy model is for visual_power={power} and the decoder for {refiner.visual_power}: train both "
                "with the same"
            )
        tensors = {f"context.{name}": tensor for name, tensor in context.cpu().integers().items()}
        state = refiner.cpu().state_dict()
        tensors |= {f"refiner.{name}": (x.half() if half else x.float()).numpy() for name, x in state.items()}
        if power != 1:
            tensors[TUNE_WEIGHTS] = lapped.coefficient_weights(power).astype(np.float32)
        return cls(tensors, [])


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
        metadata |= _described(entropy)
    write_tensors(path, tensors, metadata)


def load(path: str | Path) -> RecurrentCodec:
    """The network in a `.safetensors` file or a Lightning checkpoint, in evaluation mode, on the CPU, as float32.

    Raises `FileNotFoundError`, or `CheckpointError` when the file holds no codec of this version, or weights that are
    not finite or, in a weights file, not the ones that its digest names.
    """
    import torch

    from ..models.recurrent_codec import RecurrentCodec

    path = Path(path)
    present(path, "model file")
    state: dict[str, torch.Tensor]
    claimed = None
    if path.suffix == ".safetensors":
        config, arrays, claimed = read(path)
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    else:
        config, state = read_checkpoint(path, "a lit-rnncomp codec", CONFIG_KEY, "codec.")
    try:
        known = _codec_config(config)
        # Without memory: what a file claims of its network's size is believed when its weights have that size.
        with torch.device("meta"):
            RecurrentCodec(known).load_state_dict(state, assign=True)
        codec = RecurrentCodec(known)
        codec.load_state_dict(state)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the weights do not fit this version's network: {first_line(error)}") from error
    if claimed is not None and digest(codec).hex() != claimed:
        raise CheckpointError(damaged(path, claimed))
    if not all(tensor.isfinite().all() for tensor in codec.state_dict().values()):
        raise CheckpointError(f"{path}: weights that are not finite")
    return codec.requires_grad_(False).eval()


def load_binary(path: str | Path) -> RecurrentCodec:
    """As `load`, for what makes files or models: raises `CheckpointError` also for a network of ternary codes, which
    `fit` trains and nothing else knows."""
    codec = load(path)
    if codec.config.codes != "binary":
        raise CheckpointError(
            f"{path}: of a recurrent network with codes={codec.config.codes!r} no files can be made, only validations "
            "and predictions by `fit`, `validate`, `test` and `predict`"
        )
    return codec


def load_numpy(path: Path) -> NumpyCodec | None:
    """The network of the file `path` in NumPy; None where there is no NumPy version of it, or where only `load` can
    tell what is wrong with the file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        values, tensors, claimed = read(path)
        config = _codec_config(values)
    except (ValueError, TypeError):
        return None
    if unsupported(config) or {name: tensor.shape for name, tensor in tensors.items()} != shapes(config):
        return None
    intact = _digest(config, tensors).hex() == claimed and finite(tensors)
    return NumpyCodec(config, tensors) if intact else None


def ternary_digest(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """8 bytes that identify a model of ternary codes in the files made with it."""
    return fingerprint({"codes": "ternary"}, tensors, "<f8")


def save_ternary(path: str | Path | Output, model: TernaryWeights, **metadata: str) -> None:
    """Write a model of ternary codes as safetensors; `metadata` goes into the file's header."""
    named = {CODES_KEY: "ternary", DIGEST_KEY: ternary_digest(model.tensors).hex(), **metadata}
    if model.qualities:
        named[QUALITIES_KEY] = json.dumps(model.qualities)
    write_tensors(path, model.tensors, named)


def load_ternary(path: Path) -> TernaryWeights | None:
    """The model of ternary codes in a weights file; None where the file is of another kind, or none.

    Raises `CheckpointError` for weights that are not the ones their digest names, or are not finite.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        metadata, tensors = read_tensors(path)
    except CheckpointError:
        return None
    if metadata.get(CODES_KEY) != "ternary":
        return None
    claimed = metadata.get(DIGEST_KEY, "")
    if ternary_digest(tensors).hex() != claimed:
        raise CheckpointError(damaged(path, claimed))
    if not finite(tensors):
        raise CheckpointError(f"{path}: weights that are not finite")
    qualities = read_json(path, metadata.get(QUALITIES_KEY, "[]"))
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
        read_checkpoint(path, "a decoder of ternary codes", REFINER_CONFIG_KEY, "network.")
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def read(path: Path) -> tuple[dict[str, Any], Arrays, str]:
    """Configuration, weights and the digest that the file of a codec claims. Raises `CheckpointError`."""
    metadata, weights = read_tensors(path, lambda name: not name.startswith(ENTROPY_PREFIX))
    try:
        return read_json(path, metadata[CONFIG_KEY]), weights, metadata[DIGEST_KEY]
    except KeyError as error:
        raise CheckpointError(f"{path}: no {error} in its metadata; was it written by `lit-rnncomp export`?") from error


def load_entropy(path: str | Path) -> EntropyCoder | None:
    """The entropy model in a codec's file; None when it has none, or is a checkpoint.

    Raises `EntropyModelError` when its parts do not fit together, or are not the ones that its digest names.
    """
    if Path(path).suffix != ".safetensors":
        return None
    metadata, tensors = read_tensors(path, lambda name: name.startswith(ENTROPY_PREFIX))
    if ENTROPY_CONFIG_KEY not in metadata:
        return None
    return _entropy_coder(
        path, {name.removeprefix(ENTROPY_PREFIX): tensor for name, tensor in tensors.items()}, metadata
    )


def save_entropy_model(path: str | Path, coder: EntropyCoder, **metadata: str) -> None:
    """Write an entropy model by itself as safetensors: integers, and the configuration as JSON in the metadata."""
    write_tensors(path, coder.tensors, {**_described(coder), **metadata})


def load_entropy_model(path: str | Path) -> EntropyCoder:
    """What `save_entropy_model` wrote, or the integers of a training checkpoint. Raises `FileNotFoundError` or
    `EntropyModelError`."""
    path = Path(path)
    present(path, "entropy model")
    if path.suffix == ".ckpt":
        return EntropyCoder.from_model(load_binary_rnn(path))
    try:
        metadata, tensors = read_tensors(path)
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    if ENTROPY_CONFIG_KEY not in metadata:
        raise EntropyModelError(f"{path}: no {ENTROPY_CONFIG_KEY!r} in its metadata, so it is not an entropy model")
    return _entropy_coder(path, tensors, metadata)


def load_binary_rnn(path: Path) -> BinaryRNN:
    """The network of an entropy model's training checkpoint. Raises `EntropyModelError`."""
    from ..models.binary_rnn import BinaryRNN, BinaryRNNConfig

    try:
        config, state = read_checkpoint(path, "an entropy model", ENTROPY_CONFIG_KEY, "model.")
        model = BinaryRNN(BinaryRNNConfig(**config))
        model.load_state_dict(state)
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise EntropyModelError(
            f"{path}: not a checkpoint of an entropy model of this version: {first_line(error)}"
        ) from error
    return model


def _arrays(codec: RecurrentCodec) -> Arrays:
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in codec.state_dict().items()}


def _digest(config: CodecConfig, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    defaults = CodecConfig().to_dict()
    return fingerprint(
        {name: value for name, value in config.to_dict().items() if value != defaults[name]}, tensors, "<f4"
    )


def _codec_config(values: Any) -> CodecConfig:
    """Raises `ValueError` or `TypeError` for what is no configuration of a network of this version."""
    if not isinstance(values, dict):
        raise TypeError(f"the configuration is {type(values).__name__}, not an object")
    config = CodecConfig.from_dict(values)
    for name, default in CodecConfig().to_dict().items():
        value = getattr(config, name)
        if type(default) is int and type(value) is not int:
            raise TypeError(f"{name}={value!r} is not a whole number")
        if type(default) is float and not (type(value) in (int, float) and np.isfinite(value)):
            raise TypeError(f"{name}={value!r} is not a number")
    return config


def _described(coder: EntropyCoder) -> dict[str, str]:
    return {
        ENTROPY_CONFIG_KEY: json.dumps(coder.config, sort_keys=True),
        ENTROPY_DIGEST_KEY: coder.digest.hex(),
    }


def _entropy_coder(path: str | Path, tensors: Arrays, metadata: Mapping[str, str]) -> EntropyCoder:
    """Files of version 0.1.0 name no digest of their entropy model."""
    try:
        coder = EntropyCoder(tensors, read_json(path, metadata[ENTROPY_CONFIG_KEY]))
    except EntropyModelError as error:
        raise EntropyModelError(f"{path}: {error}") from error
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    claimed = metadata.get(ENTROPY_DIGEST_KEY)
    if claimed is not None and coder.digest.hex() != claimed:
        raise EntropyModelError(damaged(path, claimed))
    return coder


def _network(path: Path, what: str, key: str, make: Callable[..., Any]) -> Any:
    import torch

    config, state = read_checkpoint(path, what, key, "network.")
    try:
        with torch.device("meta"):  # see `load`
            make(**config).load_state_dict(state, assign=True)
        network = make(**config)
        network.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of {what} of this version: {first_line(error)}") from error
    return network.requires_grad_(False).eval()
