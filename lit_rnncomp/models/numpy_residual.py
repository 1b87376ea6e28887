"""`residual_network.ResidualNetwork` in NumPy, in bands of rows: what draws a photograph without waiting for torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import ternary
from .lapped import TUNES, Floats
from .numpy_place import PARTS, PLACE, add_places
from .ternary import EMBEDDINGS, ITERATIONS

Region = tuple[slice, slice]
"""Rows and columns of positions."""

_BAND = 4096
"""Positions that are computed at a time: as many as stay in cache."""
_TILE = 512, 1024
"""Rows and columns whose hidden layers are held at a time, at most."""


class NumpyResidual:
    """`tensors`: weights by the names of the network's `state_dict`; `what`: what messages call it; `reaches`: how many
    positions further each of so many residual blocks sees; `places`: whether it has a `place.Place`. Raises
    `ValueError` for a tensor that is missing or misshapen."""

    def __init__(
        self,
        tensors: Mapping[str, NDArray[Any]],
        inputs: int,
        outputs: int,
        dtype: DTypeLike,
        what: str,
        reaches: Callable[[int], Sequence[int]] = lambda blocks: [1] * blocks,
        places: bool = False,
    ) -> None:
        self.dtype, self._tensors, self._what = np.dtype(dtype), tensors, what
        blocks = sum(name.startswith("wide.") and name.endswith(".weight") for name in tensors)
        self.width = width = tensors["stem.bias"].size if "stem.bias" in tensors else 0
        self._embedding = self.tensor("embedding", len(TUNES), (ITERATIONS + 1) * EMBEDDINGS, width)
        self._place = self.tensor(PLACE, 2, PARTS, PARTS, width) if places else None
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

    def run(
        self,
        see: Callable[[Region], Floats],
        rows: int,
        columns: int,
        t: int,
        tune: int,
        scale: int,
        split: NDArray[np.bool_] | None = None,
    ) -> Iterator[tuple[Region, Floats]]:
        """What the network gives, `(rows, columns, outputs)` of one region after the other, where `see` gives what it
        sees of a region, `(rows, columns, inputs)`, after iteration `t` of a file with this tune and scale; `split`: of
        each block of 16x16, `(rows / 2, columns / 2)`, for a network that tells them apart."""
        (weight,), bias = self._stem
        bias = bias + self._embedding[tune, ternary.embedding(t, scale)]
        halo = sum(self._reaches)
        for tile in _tiles(rows, columns):
            # Around a tile so much is computed as it can depend on; zeros that are not the picture's border go no
            # further.
            outer = wider(tile, halo, rows, columns)
            top = outer[0].start
            hidden = np.empty((*(part.stop - part.start for part in outer), self.width), self.dtype)
            for band in _bands(*hidden.shape[:2]):
                x = see((slice(top + band.start, top + band.stop), outer[1])).reshape(-1, len(weight)) @ weight
                x += bias
                add_places(x.reshape(-1, *hidden.shape[1:]), self._place, split, top + band.start, outer[1].start)
                hidden[band] = _silu(x).reshape(-1, *hidden.shape[1:])
            for (wide, back), reach in zip(self._layers, self._reaches, strict=True):
                _residual(hidden, wide, back, reach)
            inner = hidden[within(tile, outer)]
            for band in _bands(*inner.shape[:2]):
                out = inner[band].reshape(-1, self.width) @ self._head[0][0]
                out += self._head[1]
                region = slice(tile[0].start + band.start, tile[0].start + band.stop), tile[1]
                yield region, out.reshape(-1, inner.shape[1], out.shape[1])


def _tiles(rows: int, columns: int) -> Iterator[Region]:
    """Parts of a picture whose hidden layers are held at a time."""
    for top in range(0, rows, _TILE[0]):
        for left in range(0, columns, _TILE[1]):
            yield slice(top, min(top + _TILE[0], rows)), slice(left, min(left + _TILE[1], columns))


def wider(region: Region, by: int, rows: int, columns: int) -> Region:
    """A region with so many positions around it, of those in the picture."""
    down, across = region
    return (
        slice(max(down.start - by, 0), min(down.stop + by, rows)),
        slice(max(across.start - by, 0), min(across.stop + by, columns)),
    )


def within(region: Region, outer: Region) -> Region:
    """Where a region lies in what is around it."""
    (down, across), (above, left) = region, (part.start for part in outer)
    return slice(down.start - above, down.stop - above), slice(across.start - left, across.stop - left)


def _bands(rows: int, columns: int) -> Iterator[slice]:
    """Rows that are computed at a time."""
    step = max(1, _BAND // columns)
    for top in range(0, rows, step):
        yield slice(top, min(top + step, rows))


def _residual(hidden: Floats, wide: tuple[Floats, Floats], back: tuple[Floats, Floats], reach: int) -> None:
    """A residual block, in place: what the next bands still have to see is kept."""
    rows, columns, width = hidden.shape
    kept = hidden[:0]  # rows before the band, as they were
    for band in _bands(rows, columns):
        first = max(band.start - reach, 0)
        before = np.concatenate([kept[len(kept) - (band.start - first) :], hidden[band]])
        inner = _across(hidden[band], reach) @ wide[0][1]
        inner += wide[1]
        for dy in (-1, 1):
            top, bottom = max(band.start + dy * reach, 0), min(band.stop + dy * reach, rows)
            if top < bottom:
                source = before[top - first :][: bottom - top] if dy < 0 else hidden[top:bottom]
                at = (top - dy * reach - band.start) * columns
                inner[at : at + len(source) * columns] += _across(source, reach) @ wide[0][1 + dy]
        out = _silu(inner) @ back[0][0]
        out += back[1]
        hidden[band] += out.reshape(-1, columns, width)
        kept = before[-reach:]


def _across(x: Floats, reach: int) -> Floats:
    """Of each position what lies `reach` before it in its row, itself, and what lies behind. `(positions, 3
    channels)`."""
    rows, columns, width = x.shape
    side = np.empty((rows, columns, 3, width), x.dtype)
    side[:, :reach, 0] = side[:, columns - reach if reach < columns else 0 :, 2] = 0
    side[:, reach:, 0], side[:, :, 1], side[:, : max(columns - reach, 0), 2] = x[:, :-reach], x, x[:, reach:]
    return side.reshape(-1, 3 * width)


def _silu(x: Floats) -> Floats:
    """In place."""
    # An exponential that overflows is infinite, and the quotient zero: right in the limit.
    with np.errstate(over="ignore"):
        grown = np.exp(-x)
    grown += 1
    x /= grown
    return x
