"""Tensors in files: safetensors, and Lightning checkpoints.

No code in them is run; torch is imported where a checkpoint asks for it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..files import Output, write_bytes

if TYPE_CHECKING:
    import torch

Arrays = dict[str, NDArray[Any]]


class CheckpointError(ValueError):
    """A file that holds no usable codec. The message is one line and names the file."""


def read_tensors(path: str | Path, wanted: Callable[[str], bool] = lambda name: True) -> tuple[dict[str, str], Arrays]:
    """Metadata and tensors of a safetensors file. Raises `FileNotFoundError`, `CheckpointError`."""
    present(Path(path), "model file")
    try:
        with safe_open(path, "np") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in filter(wanted, file.keys())}
    # The last two: types of numbers that NumPy does not have.
    except (SafetensorError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {first_line(error)}") from error


def write_tensors(path: str | Path | Output, tensors: Arrays, metadata: dict[str, str]) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, metadata))


def read_checkpoint(path: Path, what: str, key: str, prefix: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The configuration under `key` of a Lightning checkpoint, and the weights under `prefix`. Raises
    `FileNotFoundError`, `CheckpointError`."""
    import torch

    present(path, "checkpoint")
    try:
        checkpoint = load(path)
    except Exception as error:  # whatever damaged bytes make the parsers of torch raise: KeyError, struct.error, ...
        raise CheckpointError(
            f"{path}: not a checkpoint that loads without running code from it: {first_line(error)}"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), dict):
        raise CheckpointError(f"{path}: not a checkpoint of {what} (it has no {key})")
    state = checkpoint.get("state_dict")
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: not a checkpoint of {what} (it has no state_dict of tensors)")
    if not whole(path):
        raise CheckpointError(f"{path}: the weights are not the ones that were written: the file is damaged")
    weights = {str(name).removeprefix(prefix): value for name, value in state.items() if str(name).startswith(prefix)}
    return checkpoint[key], weights


def load(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU, without running code from it."""
    import torch

    with path.open("rb") as file:  # torch itself opens no name that is not UTF-8
        return torch.load(file, map_location="cpu", weights_only=True)


def whole(path: Path) -> bool:
    """Whether a checkpoint has all its bytes, by the checksums within."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        return False


def read_json(path: str | Path, text: str) -> Any:
    """Raises `CheckpointError` for what is no JSON, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable metadata: {first_line(error)}") from error


def finite(tensors: Arrays) -> bool:
    return all(bool(np.isfinite(tensor).all()) for tensor in tensors.values())


def damaged(path: str | Path, claimed: str) -> str:
    return f"{path}: the weights are not the ones that their digest names ({claimed}): the file is damaged"


def present(path: Path, what: str) -> None:
    """Raises `FileNotFoundError` where nothing has the name, `CheckpointError` where it cannot be read."""
    try:
        path.open("rb").close()  # safetensors would say of every file that it cannot open that it does not exist
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such {what}: {path}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
