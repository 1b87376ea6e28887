"""The safetensors file of a codec, read without torch: its network's weights and configuration, and its entropy model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..models.config import CodecConfig
from ..models.numpy_codec import NumpyCodec, unsupported
from .entropy import CONFIG_KEY as ENTROPY_CONFIG_KEY
from .entropy import EntropyCoder

CONFIG_KEY = "codec_config"
DIGEST_KEY = "digest"
ENTROPY_PREFIX = "entropy."


class CheckpointError(ValueError):
    """A file that holds no usable codec. The message is one line and names the file."""


def digest(config: CodecConfig, tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """8 bytes that identify a network: SHA-256 of its configuration (defaults left out) and its weights as float32."""
    sha = hashlib.sha256()
    defaults = CodecConfig().to_dict()
    values = {key: value for key, value in config.to_dict().items() if value != defaults[key]}
    sha.update(json.dumps(values, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(np.ascontiguousarray(tensor, np.float32).tobytes())
    return sha.digest()[:8]


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]], str]:
    """Configuration, weights and the digest that the file claims. Raises `CheckpointError`."""
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if not name.startswith(ENTROPY_PREFIX)]  # noqa: SIM118 (not a dict)
            tensors = {name: file.get_tensor(name) for name in names}
        return json.loads(metadata[CONFIG_KEY]), tensors, metadata.get(DIGEST_KEY, "")
    except KeyError as error:
        raise CheckpointError(f"{path}: no {error} in its metadata; was it written by `lit-rnncomp export`?") from error
    except (SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {first_line(error)}") from error


def load_numpy(path: Path) -> NumpyCodec | None:
    """The network of the file `path` in NumPy; None where there is no NumPy version of it, or where only `weights.load` can tell what is
    wrong with the file."""
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    try:
        values, tensors, claimed = read(path)
        config = CodecConfig.from_dict(values)
    except (ValueError, TypeError):
        return None
    # What `save` wrote has every weight in its shape, and its digest tells that this is what it wrote.
    intact = digest(config, tensors).hex() == claimed
    return NumpyCodec(config, tensors) if intact and not unsupported(config) else None


def load_entropy(path: str | Path) -> EntropyCoder | None:
    """The entropy model in a weights file that `weights.save` wrote; None when it has none, or is a checkpoint.

    Raises `EntropyModelError` when its parts do not fit together.
    """
    if Path(path).suffix != ".safetensors":
        return None
    with safe_open(path, "np") as file:
        metadata = file.metadata() or {}
        if ENTROPY_CONFIG_KEY not in metadata:
            return None
        names = [name for name in file.keys() if name.startswith(ENTROPY_PREFIX)]  # noqa: SIM118 (not a dict)
        tensors = {name.removeprefix(ENTROPY_PREFIX): file.get_tensor(name) for name in names}
    return EntropyCoder(tensors, json.loads(metadata[ENTROPY_CONFIG_KEY]))


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
