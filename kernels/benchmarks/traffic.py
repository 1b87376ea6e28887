"""What the ops move: eager PyTorch counted call by call, the kernels by what they read and write, and the floor.

Eager is counted, not modelled: the reference runs, forward and backward, under a dispatch mode that adds up the bytes
of every tensor each call reads and writes; views are free. Nothing here needs a GPU or is a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rnncomp_kernels import reference


class Traffic(NamedTuple):
    """Bytes through memory and kernel launches."""

    bytes: int
    launches: int

    def plus(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes + other.bytes, self.launches + other.launches)


class Op(NamedTuple):
    """An op for the benchmark: its definition, the channels of its inputs in units of C, and the kernels' reads and
    writes in units of C.

    `forward` (in inference), `kept` (what training writes besides) and `backward` are the counts in the op's docstring;
    `floor` is what any implementation touches at least, forward and backward: each value needed once, each result once.
    """

    name: str
    definition: Callable
    inputs: tuple[int, ...]
    forward: int
    kept: int
    backward: int
    floor: int


def noisy_sign(x: Tensor) -> Tensor:
    """The binarizer as one would write it in eager PyTorch, with the device's own generator instead of Philox by
    hand."""
    y = torch.tanh(x)
    return y + (torch.where(y > torch.rand_like(y) * 2 - 1, 1.0, -1.0) - y).detach()


def dead_zone(x: Tensor) -> Tensor:
    """Ternary codes as one would write them in eager PyTorch."""
    return x + (torch.where(x.abs() >= 1, x.sign(), 0) - x).detach()


OPS = [
    Op(
        "lstm_update", reference.lstm_update, (4, 1, 4),
        4 + 4 + 1 + 2, 4, 4 + 1 + 2 + 4 + 1, (4 + 4 + 1 + 2) + (4 + 1 + 2 + 4 + 1),
    ),
    Op(
        "associative_lstm_update", reference.associative_lstm_update, (9, 2, 9),
        9 + 9 + 2 + 4, 9, 9 + 2 + 4 + 9 + 2, (9 + 9 + 2 + 4) + (9 + 2 + 4 + 9 + 2),
    ),
    Op("gru_reset", reference.gru_reset, (3, 2, 1), 3 + 1, 0, 3 + 1 + 3 + 2 + 1, 4 + 4 + 1 + 1 + 1),
    Op(
        "gru_update", reference.gru_update, (3, 2, 1, 1),
        2 + 1 + 1 + 1 + 1, 0, 6 + 3 + 2 + 1 + 1, 6 + 6 + 2 + 1 + 1 + 1,
    ),
    Op(
        "residual_gru_update", reference.residual_gru_update, (4, 3, 1, 1),
        3 + 2 + 1 + 1 + 2, 0, 5 + 2 + 4 + 3 + 1 + 1, 9 + 7 + 3 + 2 + 1 + 1,
    ),
    Op("binarize", noisy_sign, (1,), 2, 0, 3, 5),
    Op("ternarize", dead_zone, (1,), 2, 0, 0, 2),
]  # fmt: skip
BY_NAME = {op.name: op for op in OPS}
NO_LAUNCH = ("aten.view", "aten._unsafe_view", "aten.empty", "aten.detach", "aten.lift_fresh", "aten._to_copy")


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.total = Traffic(0, 0)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        outputs = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        shares = any(o.untyped_storage()._cdata == i.untyped_storage()._cdata for o in outputs for i in inputs)
        writes_in_place = function._schema.is_mutable
        if (not shares or writes_in_place) and not str(function).startswith(NO_LAUNCH):
            touched = sum(x.numel() * x.element_size() for x in (*inputs, *outputs))
            self.total = self.total.plus(Traffic(touched, 1))
        return result


def eager(op: Op, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> Traffic:
    """One forward and backward of the reference at a state of `shape`, on tensors without data."""
    batch, channels, height, width = shape
    inputs = [
        torch.empty(batch, k * channels, height, width, dtype=dtype, device="meta", requires_grad=True)
        for k in op.inputs
    ]
    with _Count() as forward:
        outputs = op.definition(*inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    weights = [torch.empty_like(o) for o in outputs]
    with _Count() as backward:
        torch.autograd.grad(outputs, inputs, weights)
    return forward.total.plus(backward.total)


def fused(op: Op, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> Traffic:
    """One forward (training) and backward of the kernels: a launch each."""
    launches = 1 + (op.backward > 0)
    return Traffic((op.forward + op.kept + op.backward) * _unit(shape, dtype), launches)


def floor(op: Op, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32) -> int:
    return op.floor * _unit(shape, dtype)


def _unit(shape: tuple[int, int, int, int], dtype: torch.dtype) -> int:
    batch, channels, height, width = shape
    return batch * channels * height * width * dtype.itemsize


UNIT_OPS = {
    "lstm": ("lstm_update",),
    "gru": ("gru_reset", "gru_update"),
    "residual_gru": ("gru_reset", "residual_gru_update"),
}
