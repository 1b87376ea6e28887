"""Weights on disk as torch wants them: safetensors with the network's configuration, and Lightning checkpoints; no code in them is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..files import replacing
from ..models.config import CodecConfig
from ..models.recurrent_codec import RecurrentCodec
from . import weights_file
from .entropy import CONFIG_KEY as ENTROPY_CONFIG_KEY
from .entropy import EntropyCoder
from .weights_file import CONFIG_KEY, DIGEST_KEY, ENTROPY_PREFIX, CheckpointError, first_line, load_entropy

__all__ = ["CONFIG_KEY", "CheckpointError", "digest", "load", "load_entropy", "save"]

_PREFIX = "codec."


def digest(codec: RecurrentCodec) -> bytes:
    """8 bytes that identify a network, see `weights_file.digest`."""
    return weights_file.digest(codec.config, {name: tensor.detach().float().cpu().numpy() for name, tensor in codec.state_dict().items()})


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
        raise CheckpointError(f"{path}: the weights do not fit this version's network: {first_line(error)}") from error
    return codec.requires_grad_(False).eval()


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, arrays, _ = weights_file.read(path)
    return config, {name: torch.from_numpy(array) for name, array in arrays.items()}


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise CheckpointError(f"{path}: not a checkpoint that loads without running code from it: {first_line(error)}") from error
    if not isinstance(checkpoint, dict) or CONFIG_KEY not in checkpoint:
        raise CheckpointError(f"{path}: not a checkpoint of a lit-rnncomp codec (it has no {CONFIG_KEY})")
    state = {key.removeprefix(_PREFIX): value for key, value in checkpoint["state_dict"].items() if key.startswith(_PREFIX)}
    return checkpoint[CONFIG_KEY], state
