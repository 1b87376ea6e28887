"""Opening models: what `lit_rnncomp.load` gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import container, ternary_weights, weights, zoo
from .binary_codec import BinaryCodec
from .container import BitstreamError
from .pixels import as_bytes
from .tensor_files import CheckpointError
from .ternary_codec import TernaryCodec

if TYPE_CHECKING:
    import torch

Codec = BinaryCodec | TernaryCodec


def load(model: str | Path | None = None, device: str | torch.device = "cpu") -> Codec:
    """The codec in a checkpoint (`.ckpt`) or weights file (`.safetensors`), or a shipped one by name; None is the
    default model.

    Raises `FileNotFoundError`, `CheckpointError`, or `ValueError` for a device that is not there.
    """
    return _open(zoo.find(model), device)


def load_for(data: bytes, device: str | torch.device = "cpu") -> Codec:
    """The shipped codec that made the file of the bytes `data`. Raises `BitstreamError` when no shipped model has the
    file's digest, `ValueError` for what is no bytes."""
    header, _ = container.parse_header(as_bytes(data))
    path = zoo.find_digest(header.model_digest)
    if path is None:
        raise BitstreamError(
            f"it was made by model {header.model_digest.hex()}, which does not ship: name its weights, model=FILE"
        )
    return _open(path, device)


def truncate(
    data: bytes,
    model: str | Path | None = None,
    bpp: float | None = None,
    max_bytes: int | None = None,
    iterations: int | None = None,
) -> bytes:
    """The longest beginning of the file of the bytes `data` within the one limit given, itself a file.

    A file of ternary codes ends within an iteration, for which its model is needed: `model`, or a shipped one; without
    it, and with binary codes, after an iteration. Raises `ValueError`, `BitstreamError`.
    """
    data = as_bytes(data)
    header, _ = container.parse_header(data)
    known = model is not None or zoo.find_digest(header.model_digest) is not None
    if header.coder == container.TERNARY and known:
        codec = load_for(data) if model is None else load(model)
        if isinstance(codec, TernaryCodec):
            return codec.truncate(data, bpp, max_bytes, iterations)
    return container.cut(data, bpp, max_bytes, iterations)


def _open(path: Path, device: str | torch.device) -> Codec:
    _check_device(str(device))
    if (ternary := ternary_weights.load(path)) is not None:
        try:
            return TernaryCodec(ternary.tensors, path.stem, ternary.qualities)
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
    network = weights.load_numpy(path) if str(device) == "cpu" else None
    return BinaryCodec(network or weights.load_binary(path), path.stem, device, weights.load_entropy(path))


def _check_device(device: str) -> None:
    """Raises `ValueError` for a device that torch does not have here, also where the codec would not use it."""
    if device == "cpu":
        return
    import torch

    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise ValueError(f"no device {device!r} on this machine: {reason}; the default is cpu") from error
