"""Tiny integer entropy models whose weights no library version can change, and codes drawn from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lit_rnncomp.codec.entropy_network import Context, IntegerBinaryRNN
from lit_rnncomp.codec.entropy_schedule import fronts
from lit_rnncomp.models.binary_rnn import BinaryRNN, BinaryRNNConfig


def tensors_and_config(seed: int = 0, **options: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Shapes and tables of a `BinaryRNN`, weights from NumPy's frozen generator: confident enough to compress its own
    samples."""
    options = {"bits": 3, "iterations": 4, "width": 8, "state": 4, **options}
    template, config = BinaryRNN(BinaryRNNConfig(**options)).integers()
    random = np.random.RandomState(seed)
    tensors = {}
    for name, value in sorted(template.items()):
        old = value.numpy()
        if name.startswith("table."):
            tensors[name] = old
        elif name.endswith("weight"):
            tensors[name] = random.randint(-127, 128, old.shape).astype(np.int8)
        elif name.endswith("bias"):
            tensors[name] = random.randint(-60, 61, old.shape).astype(np.int32)
        else:
            codes = name.startswith(("causal", "summary.0"))
            last = name.startswith("head.1")
            tensors[name] = np.full(old.shape, -7 if codes else -11 if last else -13, np.int8)
    return tensors, config


def network(seed: int = 0, dtype: type = np.float32, **options: Any) -> IntegerBinaryRNN:
    return IntegerBinaryRNN(*tensors_and_config(seed, **options), dtype)


def sample(
    model: IntegerBinaryRNN,
    iterations: int,
    rows: int,
    columns: int,
    seed: int = 0,
    random_iteration: int | None = None,
) -> np.ndarray:
    """Codes `(iterations, bits, rows, columns)` drawn from the model's own distribution; those of `random_iteration`
    from a fair coin."""
    random = np.random.RandomState(seed)
    context, codes = Context(model, rows, columns), []
    for t in range(iterations):
        for front in fronts(rows, columns):
            probabilities = context.probabilities(front)
            if t == random_iteration:
                probabilities = np.full_like(probabilities, 32768)
            context.put(front, np.where(random.random_sample(probabilities.shape) * 65536 < probabilities, 1, -1))
        codes.append(context.codes().transpose(2, 0, 1))
        context.advance()
    return np.stack(codes)
