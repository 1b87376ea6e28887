"""Weights on disk: safetensors with the network's configuration beside them, and Lightning checkpoints, read without running code."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import replacing
from ..models import CodecConfig, RecurrentCodec
from .entropy import CONFIG_KEY as ENTROPY_CONFIG_KEY
from .entropy import EntropyCoder

CONFIG_KEY = "codec_config"
DIGEST_KEY = "digest"
ENTROPY_PREFIX = "entropy."
_PREFIX = "codec."


class CheckpointError(ValueError):
    """A file that holds no usable codec. The message is one line and names the file."""


def digest(codec: RecurrentCodec) -> bytes:
    """8 bytes that identify a network: SHA-256 of its configuration (defaults left out) and its weights as float32."""
    sha = hashlib.sha256()
    defaults = CodecConfig().to_dict()
    config = {key: value for key, value in codec.config.to_dict().items() if value != defaults[key]}
    sha.update(json.dumps(config, sort_keys=True).encode())
    for name, tensor in sorted(codec.state_dict().items()):
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return sha.digest()[:8]


def save(
    path: str | Path,
    codec: RecurrentCodec,
    entropy: EntropyCoder | None = None,
    dtype: torch.dtype = torch.float32,
    **metadata: str,
) -> None:
    """Write `codec`, and its entropy model if it has one, as one safetensors file.

    Floating-point weights are stored as `dtype` (the digest is that of the stored values); `metadata` goes into the file's header.
    """
    tensors = {name: tensor.detach().to(dtype).cpu().contiguous() for name, tensor in codec.state_dict().items()}
    stored = RecurrentCodec(codec.config)
    stored.load_state_dict(tensors)
    header = {CONFIG_KEY: json.dumps(codec.config.to_dict()), DIGEST_KEY: digest(stored).hex(), **metadata}
    if entropy is not None:
        tensors |= {ENTROPY_PREFIX + name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in entropy.tensors.items()}
        header[ENTROPY_CONFIG_KEY] = json.dumps(entropy.config, sort_keys=True)
    with replacing(path) as temporary:
        save_file(tensors, temporary, header)


def load(path: str | Path) -> RecurrentCodec:
    """The network in a `.safetensors` file or a Lightning checkpoint, in evaluation mode, on the CPU, as float32.

    Raises `FileNotFoundError`, or `CheckpointError` when the file holds no codec of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such model file: {path}")
    config, state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    try:
        codec = RecurrentCodec(CodecConfig.from_dict(config))
        codec.load_state_dict(state)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the weights do not fit this version's network: {_first_line(error)}") from error
    return codec.requires_grad_(False).eval()


def load_entropy(path: str | Path) -> EntropyCoder | None:
    """The entropy model in a weights file that `save` wrote; None when it has none, or is a checkpoint.

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


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = [name for name in file.keys() if not name.startswith(ENTROPY_PREFIX)]  # noqa: SIM118 (not a dict)
            state = {name: file.get_tensor(name) for name in names}
        return json.loads(metadata[CONFIG_KEY]), state
    except KeyError as error:
        raise CheckpointError(f"{path}: no {error} in its metadata; was it written by `lit-rnncomp export`?") from error
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {_first_line(error)}") from error


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(f"{path}: not a checkpoint that loads without running code from it: {_first_line(error)}") from error
    if not isinstance(checkpoint, dict) or CONFIG_KEY not in checkpoint:
        raise CheckpointError(f"{path}: not a checkpoint of a lit-rnncomp codec (it has no {CONFIG_KEY})")
    state = {key.removeprefix(_PREFIX): value for key, value in checkpoint["state_dict"].items() if key.startswith(_PREFIX)}
    return checkpoint[CONFIG_KEY], state


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
