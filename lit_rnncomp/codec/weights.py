"""Weights of a recurrent network on disk, with its entropy model if it has one: safetensors files with the
configuration beside the weights, and Lightning checkpoints.

No code in them is run; torch is imported where a checkpoint or a network of torch asks for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import Output
from ..models.config import CodecConfig
from ..models.numpy_codec import NumpyCodec, shapes, unsupported
from . import entropy_weights
from .digest import DIGEST_KEY, fingerprint
from .entropy import EntropyCoder
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
from .ternary_weights import CODES_KEY

if TYPE_CHECKING:
    import torch

    from ..models.recurrent_codec import RecurrentCodec

CONFIG_KEY = "codec_config"
ENTROPY_PREFIX = "entropy."
"""In a codec's file, what the names of its entropy model's tensors begin with."""


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
        metadata |= entropy_weights.described(entropy)
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


def read(path: Path) -> tuple[dict[str, Any], Arrays, str]:
    """Configuration, weights and the digest that the file of a codec claims. Raises `CheckpointError`."""
    metadata, weights = read_tensors(path, lambda name: not name.startswith(ENTROPY_PREFIX))
    try:
        return read_json(path, metadata[CONFIG_KEY]), weights, metadata[DIGEST_KEY]
    except KeyError as error:
        if metadata.get(CODES_KEY) == "ternary":
            raise CheckpointError(f"{path} is a model of ternary codes; one of binary codes is needed here") from error
        raise CheckpointError(f"{path}: no {error} in its metadata; was it written by `lit-rnncomp export`?") from error


def load_entropy(path: str | Path) -> EntropyCoder | None:
    """The entropy model in a codec's file; None when it has none, or is a checkpoint.

    Raises `EntropyModelError` when its parts do not fit together, or are not the ones that its digest names.
    """
    if Path(path).suffix != ".safetensors":
        return None
    metadata, tensors = read_tensors(path, lambda name: name.startswith(ENTROPY_PREFIX))
    if entropy_weights.CONFIG_KEY not in metadata:
        return None
    return entropy_weights.built(
        path, {name.removeprefix(ENTROPY_PREFIX): tensor for name, tensor in tensors.items()}, metadata
    )


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
