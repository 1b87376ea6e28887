"""Weights of ternary codes on disk: a model as safetensors, and the checkpoints of its two networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files import Output
from ..models import lapped, ternary
from .digest import DIGEST_KEY, fingerprint
from .tensor_files import (
    Arrays,
    CheckpointError,
    damaged,
    finite,
    first_line,
    read_checkpoint,
    read_json,
    read_tensors,
    write_tensors,
)

if TYPE_CHECKING:
    from ..models.context_model import ContextModel
    from ..models.refiner import Refiner

CODES_KEY = "codes"
QUALITIES_KEY = "qualities"
"""Of a model of ternary codes: the step of each quality from 1 to 100, a JSON list."""
CONTEXT_CONFIG_KEY = "context_config"
REFINER_CONFIG_KEY = "refiner_config"
"""In checkpoints of the two networks of ternary codes: the arguments of `ContextModel` and `Refiner`."""
TUNE_WEIGHTS = "tune_weights"
"""In a model of ternary codes: the `lapped.coefficient_weights`, `(2, 192)` float32, where they are not the default."""


class TernaryWeights(NamedTuple):
    """A model of ternary codes: `context.*`, `refiner.*` and perhaps `filter.*` tensors, `tune_weights` where they are
    not the default ones of `lapped.coefficient_weights`, and the step of each quality (none: uncalibrated)."""

    tensors: Arrays
    qualities: list[int]

    @classmethod
    def of(
        cls, context: ContextModel, refiner: Refiner, half: bool = False, own: Mapping[str, float] | None = None
    ) -> TernaryWeights:
        """Those of two trained networks, the decoder's in 32 bits, or in 16 with `half`; uncalibrated. `own`: arguments
        of `lapped.coefficient_weights` in the place of those that the networks were trained for.

        Raises `ValueError` where the two are for other coefficients.
        """
        weighting = {name: getattr(context, name) for name in ("visual_power", "visual_ac", "visual_chroma")}
        for name in (*weighting, "stages", "size"):
            if (one := getattr(context, name)) != (other := getattr(refiner, name)):
                raise ValueError(
                    f"the entropy model is for {name}={one} and the decoder for {other}: train both with the same"
                )
        weighting |= own or {}
        tensors = {f"context.{name}": tensor for name, tensor in context.cpu().integers().items()}
        state = refiner.cpu().state_dict()
        for name, tensor in state.items():
            named = name if name.startswith("filter.") else f"refiner.{name}"
            tensors[named] = (tensor.half() if half else tensor.float()).numpy()
        if context.size != lapped.BLOCK or any(value != 1 for value in weighting.values()):
            table = lapped.coefficient_weights(**weighting, size=context.size)
            tensors[TUNE_WEIGHTS] = table.astype(np.float32)
        return cls(tensors, [])


def part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def tune_weights(tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """By what a model's coefficients are multiplied before coding, `(2, 192)`. Raises `ValueError` where they are not
    positive."""
    default = lapped.coefficient_weights()
    found = tensors.get(TUNE_WEIGHTS, default)
    if found.shape != default.shape or found.dtype.kind != "f" or not (found > 0).all():
        raise ValueError(f"{TUNE_WEIGHTS} of the model is not {default.shape} positive numbers")
    return found.astype(np.float64)


def digest(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """8 bytes that identify a model of ternary codes in the files made with it."""
    return fingerprint({"codes": "ternary"}, tensors, "<f8")


def save(path: str | Path | Output, model: TernaryWeights, **metadata: str) -> None:
    """Write a model of ternary codes as safetensors; `metadata` goes into the file's header."""
    named = {CODES_KEY: "ternary", DIGEST_KEY: digest(model.tensors).hex(), **metadata}
    if model.qualities:
        named[QUALITIES_KEY] = json.dumps(model.qualities)
    write_tensors(path, model.tensors, named)


def load(path: Path) -> TernaryWeights | None:
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
    if digest(tensors).hex() != claimed:
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


def average(refiner: Refiner, other: Refiner) -> None:
    """Gives the first the mean of both networks' weights. Raises `ValueError` where they are of different shapes."""
    state, theirs = refiner.state_dict(), other.state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != {name: x.shape for name, x in theirs.items()}:
        raise ValueError("the two decoders are of different shapes: their weights have no mean")
    refiner.load_state_dict({name: (tensor + theirs[name]) / 2 for name, tensor in state.items()})


def holds_refiner(path: Path) -> bool:
    """Whether a file is a checkpoint of the decoder of ternary codes."""
    try:
        read_checkpoint(path, "a decoder of ternary codes", REFINER_CONFIG_KEY, "network.")
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def _network(path: Path, what: str, key: str, make: Callable[..., Any]) -> Any:
    import torch

    config, state = read_checkpoint(path, what, key, "network.")
    try:
        with torch.device("meta"):  # see `weights.load`
            make(**config).load_state_dict(state, assign=True)
        network = make(**config)
        network.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of {what} of this version: {first_line(error)}") from error
    return network.requires_grad_(False).eval()
