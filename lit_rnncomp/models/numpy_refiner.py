"""`refiner.Refiner` in NumPy, in bands of rows: what decodes a photograph without waiting for torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import ternary
from .lapped import COEFFICIENTS, TUNES, Floats
from .ternary import EMBEDDINGS, ITERATIONS, Levels

_BAND = 4096
"""Positions that are computed at a time."""


class NumpyRefiner:
    """`tensors`: weights by the names of `Refiner.state_dict`; `stages`: of the transform. Raises `ValueError` for a
    tensor that is missing or misshapen."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32, stages: int = 1) -> None:
        self.tensors, self.dtype = tensors, np.dtype(dtype)
        self.blocks = sum(name.startswith("wide.") and name.endswith(".weight") for name in tensors)
        width = tensors["stem.bias"].size if "stem.bias" in tensors else 0
        self._embedding = self._tensor("embedding", len(TUNES), (ITERATIONS + 1) * EMBEDDINGS, width)
        self._stem = self._layer("stem", 2 * COEFFICIENTS, width)
        self._layers = [
            (self._layer(f"wide.{k}", width, width, 3), self._layer(f"back.{k}", width, width))
            for k in range(self.blocks)
        ]
        self._head = self._layer("head", width, COEFFICIENTS)
        self._own = self._tensor("own.weight", COEFFICIENTS, 2, 1, 1).reshape(COEFFICIENTS, 2).T
        self._sizes = ternary.magnitudes().astype(dtype) / 16
        self._given = ternary.bands(stages).given

    def _tensor(self, name: str, *shape: int) -> NDArray[Any]:
        if name not in self.tensors:
            raise ValueError(f"the decoder's network has no tensor {name}")
        tensor = self.tensors[name]
        if tensor.shape != shape or tensor.dtype.kind != "f":
            raise ValueError(
                f"tensor {name} of the decoder's network is {tensor.dtype}{tensor.shape}, not floats {shape}"
            )
        return tensor.astype(self.dtype)

    def _layer(self, name: str, inputs: int, outputs: int, kernel: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows of the kernel, each `(columns * in, out)`, and the bias."""
        weight = self._tensor(f"{name}.weight", outputs, inputs, kernel, kernel)
        rows = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(kernel, -1, outputs))
        return rows, self._tensor(f"{name}.bias", outputs)

    def __call__(self, levels: Levels, t: int, tune: int, scale: int) -> Floats:
        """Coefficients in units of T_t, `(rows, columns, 192)`, of the levels after iteration `t`."""
        out = np.empty(levels.shape, self.dtype)
        for band, coefficients in self.bands(levels, t, tune, scale):
            out[band] = coefficients
        return out

    def bands(self, levels: Levels, t: int, tune: int, scale: int) -> Iterator[tuple[slice, Floats]]:
        """The same in pieces, each with its rows."""
        rows, columns, _ = levels.shape
        step = max(8, _BAND // columns)
        embedding = self._embedding[tune, ternary.embedding(t, scale)]
        for top in range(0, rows, step):
            bottom = min(top + step, rows)
            above, below = min(self.blocks, top), min(self.blocks, rows - bottom)
            band = self._band(levels[top - above : bottom + below], embedding)
            yield slice(top, bottom), band[above : above + bottom - top]

    def _band(self, levels: Levels, embedding: NDArray[Any]) -> Floats:
        shape = levels.shape[:2]
        flat = levels.reshape(-1, COEFFICIENTS)
        signs = np.sign(flat).astype(self.dtype)
        size = self._sizes.take(np.abs(flat))
        signed = size * signs
        hidden = np.concatenate([signed, size], axis=1) @ self._stem[0][0]
        hidden += self._stem[1] + embedding
        hidden = _silu(hidden)
        for (wide, bias), (back, back_bias) in self._layers:
            inner = _three_by_three(hidden, shape, wide)
            inner += bias
            hidden += _silu(inner) @ back[0]
            hidden += back_bias
        out = hidden @ self._head[0][0]
        out += self._head[1]
        out += signs * self._own[0]
        signed *= self._own[1]
        out += signed
        del size, signed, hidden  # as large as all else here
        self._limit(out, flat)
        signs *= np.asarray(0.5, self.dtype)
        out += signs
        out += flat
        return out.reshape(levels.shape)

    def _limit(self, added: Floats, level: NDArray[Any]) -> None:
        """As `Refiner.limited`, in place."""
        share = np.abs(added)
        share /= np.asarray(ternary.REACH, self.dtype)
        np.multiply(share, np.asarray(ternary.REACH / ternary.REACH_AT_ZERO, self.dtype), out=share, where=level == 0)
        share[:, self._given] = 1
        added /= np.maximum(share.max(1, keepdims=True), 1)
        added[:, self._given] = added[:, self._given].clip(-ternary.REACH_AT_ZERO, ternary.REACH_AT_ZERO)


def _three_by_three(x: Floats, shape: tuple[int, ...], weight: Floats) -> Floats:
    rows, columns = shape
    padded = np.pad(x.reshape(rows, columns, -1), ((1, 1), (1, 1), (0, 0)))
    side = np.concatenate([padded[:, dx : dx + columns] for dx in range(3)], axis=2).reshape(-1, len(weight[0]))
    count = rows * columns
    out = side[:count] @ weight[0]
    for dy in (1, 2):
        out += side[dy * columns : dy * columns + count] @ weight[dy]
    return out


def _silu(x: Floats) -> Floats:
    # An exponential that overflows is infinite, and the quotient zero: right in the limit.
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))
