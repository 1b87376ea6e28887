"""Weights on disk: safetensors with the network's configuration beside them, and Lightning checkpoints, read without running code."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..files import replacing
from ..models import CodecConfig, RecurrentCodec

CONFIG_KEY = "codec_config"
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


def save(path: str | Path, codec: RecurrentCodec, dtype: torch.dtype = torch.float32, **metadata: str) -> None:
    """Write `codec` as safetensors; floating-point weights as `dtype`. `metadata` goes into the file's header."""
    tensors = {
        name: tensor.detach().to(dtype).cpu().contiguous() if tensor.is_floating_point() else tensor.cpu()
        for name, tensor in codec.state_dict().items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, {CONFIG_KEY: json.dumps(codec.config.to_dict()), **metadata})


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


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
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
