"""Entropy models on disk: their integers as safetensors with the configuration beside them, and Lightning
checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .entropy import EntropyCoder
from .entropy_network import EntropyModelError
from .tensor_files import (
    Arrays,
    CheckpointError,
    damaged,
    first_line,
    present,
    read_checkpoint,
    read_json,
    read_tensors,
    write_tensors,
)

if TYPE_CHECKING:
    from ..models.binary_rnn import BinaryRNN

CONFIG_KEY = "entropy_config"
DIGEST_KEY = "entropy_digest"
"""Of the model, which its codec's file has beside that of the codec."""


def save(path: str | Path, coder: EntropyCoder, **metadata: str) -> None:
    """Write an entropy model by itself as safetensors: integers, and the configuration as JSON in the metadata."""
    write_tensors(path, coder.tensors, {**described(coder), **metadata})


def load(path: str | Path) -> EntropyCoder:
    """What `save` wrote, or the integers of a training checkpoint. Raises `FileNotFoundError` or
    `EntropyModelError`."""
    path = Path(path)
    present(path, "entropy model")
    if path.suffix == ".ckpt":
        return EntropyCoder.from_model(load_binary_rnn(path))
    try:
        metadata, tensors = read_tensors(path)
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    if CONFIG_KEY not in metadata:
        raise EntropyModelError(f"{path}: no {CONFIG_KEY!r} in its metadata, so it is not an entropy model")
    return built(path, tensors, metadata)


def load_binary_rnn(path: Path) -> BinaryRNN:
    """The network of an entropy model's training checkpoint. Raises `EntropyModelError`."""
    from ..models.binary_rnn import BinaryRNN, BinaryRNNConfig

    try:
        config, state = read_checkpoint(path, "an entropy model", CONFIG_KEY, "model.")
        model = BinaryRNN(BinaryRNNConfig(**config))
        model.load_state_dict(state)
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise EntropyModelError(
            f"{path}: not a checkpoint of an entropy model of this version: {first_line(error)}"
        ) from error
    return model


def described(coder: EntropyCoder) -> dict[str, str]:
    return {
        CONFIG_KEY: json.dumps(coder.config, sort_keys=True),
        DIGEST_KEY: coder.digest.hex(),
    }


def built(path: str | Path, tensors: Arrays, metadata: Mapping[str, str]) -> EntropyCoder:
    """Files of version 0.1.0 name no digest of their entropy model."""
    try:
        coder = EntropyCoder(tensors, read_json(path, metadata[CONFIG_KEY]))
    except EntropyModelError as error:
        raise EntropyModelError(f"{path}: {error}") from error
    except CheckpointError as error:
        raise EntropyModelError(str(error)) from error
    claimed = metadata.get(DIGEST_KEY)
    if claimed is not None and coder.digest.hex() != claimed:
        raise EntropyModelError(damaged(path, claimed))
    return coder
