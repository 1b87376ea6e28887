"""`residual_network.ResidualNetwork` in NumPy, in bands of rows: what draws a photograph without waiting for torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import ternary
from .lapped import TUNES, Floats
from .ternary import EMBEDDINGS, ITERATIONS

_BAND = 4096
"""Positions that are computed at a time: as many as stay in cache."""


class NumpyResidual:
    """`tensors`: weights by the names of the network's `state_dict`; `what`: what messages call it; `reaches`: how many
    positions further each of so many residual blocks sees. Raises `ValueError`
    for a tensor that is missing or misshapen."""

    def __init__(
        self,
        tensors: Mapping[str, NDArray[Any]],
        inputs: int,
        outputs: int,
        dtype: DTypeLike,
        what: str,
        reaches: Callable[[int], Sequence[int]] = lambda blocks: [1] * blocks,
    ) -> None:
        self.dtype, self._tensors, self._what = np.dtype(dtype), tensors, what
        blocks = sum(name.startswith("wide.") and name.endswith(".weight") for name in tensors)
        self.width = width = tensors["stem.bias"].size if "stem.bias" in tensors else 0
        self._embedding = self.tensor("embedding", len(TUNES), (ITERATIONS + 1) * EMBEDDINGS, width)
        self._stem = self._layer("stem", inputs, width)
        self._layers = [
            (self._layer(f"wide.{k}", width, width, 3), self._layer(f"back.{k}", width, width)) for k in range(blocks)
        ]
        self._head = self._layer("head", width, outputs)
        self._reaches = reaches(blocks)

    def tensor(self, name: str, *shape: int) -> NDArray[Any]:
        """One of the tensors, of this shape."""
        if name not in self._tensors:
            raise ValueError(f"{self._what} has no tensor {name}")
        tensor = self._tensors[name]
        if tensor.shape != shape or tensor.dtype.kind != "f":
            raise ValueError(f"tensor {name} of {self._what} is {tensor.dtype}{tensor.shape}, not floats {shape}")
        return tensor.astype(self.dtype)

    def _layer(self, name: str, inputs: int, outputs: int, kernel: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows of the kernel, each `(columns * in, out)`, and the bias."""
        weight = self.tensor(f"{name}.weight", outputs, inputs, kernel, kernel)
        rows = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(kernel, -1, outputs))
        return rows, self.tensor(f"{name}.bias", outputs)

    def hidden(self, seen: Callable[[slice], Floats], rows: int, columns: int, t: int, tune: int, scale: int) -> Floats:
        """What the last layer sees, `(rows, columns, width)`, where the first sees `seen` of each band of rows,
        `(..., inputs)`, after iteration `t` of a file with this tune and scale."""
        hidden = np.empty((rows, columns, self.width), self.dtype)
        (weight,), bias = self._stem
        bias = bias + self._embedding[tune, ternary.embedding(t, scale)]
        for band in bands(rows, columns):
            x = seen(band).reshape(-1, len(weight)) @ weight
            x += bias
            hidden[band] = _silu(x).reshape(-1, columns, self.width)
        for (wide, back), reach in zip(self._layers, self._reaches, strict=True):
            _residual(hidden, wide, back, reach)
        return hidden

    def head(self, hidden: Floats) -> Floats:
        """The last layer, of some positions."""
        out: Floats = hidden.reshape(-1, self.width) @ self._head[0][0]
        out += self._head[1]
        return out


def bands(rows: int, columns: int) -> Iterator[slice]:
    """Rows that are computed at a time."""
    step = max(1, _BAND // columns)
    for top in range(0, rows, step):
        yield slice(top, min(top + step, rows))


def _residual(hidden: Floats, wide: tuple[Floats, Floats], back: tuple[Floats, Floats], reach: int) -> None:
    """A residual block, in place: what the next band still has to see of this one is kept."""
    rows, columns, width = hidden.shape
    above = np.zeros((reach, columns, width), hidden.dtype)
    for band in bands(rows, columns):
        own, below = hidden[band], hidden[band.stop : band.stop + reach]
        padded = np.zeros((len(own) + 2 * reach, columns + 2 * reach, width), hidden.dtype)
        inside = padded[:, reach:-reach]
        inside[:reach], inside[reach:-reach], inside[reach + len(own) :][: len(below)] = above, own, below
        above = inside[len(own) : len(own) + reach].copy()
        inner = _three_by_three(padded, wide[0], reach)
        inner += wide[1]
        out = _silu(inner) @ back[0][0]
        out += back[1]
        own += out.reshape(own.shape)


def _three_by_three(padded: Floats, weight: Floats, reach: int) -> Floats:
    rows, columns = (size - 2 * reach for size in padded.shape[:2])
    side = np.concatenate([padded[:, dx * reach : dx * reach + columns] for dx in range(3)], axis=2)
    side = side.reshape(-1, len(weight[0]))
    count = rows * columns
    out: Floats = side[:count] @ weight[0]
    for dy in (1, 2):
        first = dy * reach * columns
        out += side[first : first + count] @ weight[dy]
    return out


def _silu(x: Floats) -> Floats:
    # An exponential that overflows is infinite, and the quotient zero: right in the limit.
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))
