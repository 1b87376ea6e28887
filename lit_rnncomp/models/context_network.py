"""The entropy model of ternary codes, in integers and NumPy: the only arithmetic that reaches the range coder.

`context_model.ContextModel` is the same network in torch, for training. Activations are integers in -127..127 that
stand for sixteenths, weights int8 times a power of two (one for each output channel), so that every sum of products is
exact in float32 in any order of summation: on any machine, with any number of threads. Its input is what encoder and
decoder both know: the levels of all coefficients, and within an iteration the codes of the passes before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import ternary
from .lapped import TUNES
from .numpy_place import PARTS, PLACE, add_places
from .ternary import PASSES, Bands, Codes, Levels

UNIT = 16
LOGIT_UNIT = 32
LOGITS = 1024
"""Entries of the table of probabilities: logits from -16 to 16 in steps of 1/32."""

_EXACT = 2**24
_BAND = 1536
"""Positions that are computed at a time, so that they stay in cache."""


class EntropyModelError(ValueError):
    """The tensors of an entropy model do not fit together, or could leave the range in which its arithmetic is
    exact."""


class _Layer(NamedTuple):
    """`x @ weight + bias`; rows of a 3x3 kernel lie in `weight[0..2]`, columns and channels side by side within a
    row."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


class ContextNetwork:
    """Weights and tables of a trained entropy model of the codes of `bands`.

    `tensors` are what `ContextModel.integers` returns: for each layer `weight` int8 `(kernel, kernel * in, out)`,
    `exponent` int8 `(out,)` (a weight's value is `weight / 2**exponent`) and `bias` int32 `(out,)`, in units of
    `2**-exponent` sixteenths; and the table of probabilities, int32, in 65536ths.

    Raises `EntropyModelError` for tensors that are missing, misshapen or too large to be exact in float32.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], bands: Bands | None = None) -> None:
        self._tensors, self.bands = tensors, bands or ternary.bands()
        coefficients = self.bands.coefficients
        try:
            self.channels = channels = tensors["stem.weight"].shape[2]
            blocks = sum(name.startswith("wide.") and name.endswith(".weight") for name in tensors)
        except (KeyError, IndexError) as error:
            raise EntropyModelError("the entropy model has no stem") from error
        sizes = [len(self.bands.groups[group]) for group, _ in PASSES]
        table = self._tensor("embedding", (len(TUNES), self.bands.iterations * ternary.EMBEDDINGS, channels))
        place = self._tensor(PLACE, (2, PARTS, PARTS, channels)) if PLACE in tensors else None
        added = np.abs(table).max((0, 1)) + (0 if place is None else np.abs(place).max((0, 1, 2)))
        self.stem = self._layer("stem", 2 * coefficients, channels, extra=added)
        scale = 2.0 ** self._exponent("stem", channels)
        self.embedding = (table / scale).astype(np.float32)
        self.place = None if place is None else (place / scale).astype(np.float32)
        self.wide = [self._layer(f"wide.{k}", channels, channels, 3) for k in range(blocks)]
        self.back = [self._layer(f"back.{k}", channels, channels, extra=127) for k in range(blocks)]
        self.seen = [
            self._layer(f"seen.{i}", 2 * size, channels, limit=UNIT, extra=127) for i, size in enumerate(sizes[:-1])
        ]
        self.mix = [self._layer(f"mix.{i}", channels, channels, 3) for i in range(len(PASSES) - 1)]
        self.merge = [self._layer(f"merge.{i}", channels, channels, extra=127) for i in range(len(PASSES) - 1)]
        self.head = [self._layer(f"head.{i}", channels, 2 * size) for i, size in enumerate(sizes)]
        own = (
            self._tensor("own.weight", (coefficients, 2, 3))
            / 2.0 ** self._tensor("own.exponent", (coefficients, 2))[..., None]
        )
        # A level's own features: the last is 0 or 1.
        self.own = (own * (1, 1, UNIT)).astype(np.float32)
        probability = self._tensor("probability", (LOGITS,))
        if probability.min() < 1 or probability.max() > 65535:
            raise EntropyModelError("probabilities of the entropy model leave 1..65535")
        self.probability = probability.astype(np.uint16)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        if name not in self._tensors:
            raise EntropyModelError(f"the entropy model has no tensor {name}")
        tensor = np.asarray(self._tensors[name])
        if tensor.shape != shape or tensor.dtype.kind != "i":
            raise EntropyModelError(
                f"tensor {name} of the entropy model is {tensor.dtype}{tensor.shape}, not integers {shape}"
            )
        return tensor.astype(np.float64)

    def _exponent(self, name: str, outputs: int) -> NDArray[np.float64]:
        exponent = self._tensor(f"{name}.exponent", (outputs,))
        if exponent.min() < 0 or exponent.max() > 14:
            raise EntropyModelError(f"layer {name} of the entropy model has weights in units outside 2**-14..1")
        return exponent

    def _layer(self, name: str, inputs: int, outputs: int, kernel: int = 1, limit: int = 127, extra: Any = 0) -> _Layer:
        weight = self._tensor(f"{name}.weight", (kernel, kernel * inputs, outputs))
        bias = self._tensor(f"{name}.bias", (outputs,))
        scale = 2.0 ** self._exponent(name, outputs)
        # In units of the accumulator, with what is added to it (`extra`, in units of activations but for the stem's
        # embedding).
        added = np.abs(bias) + (extra if name == "stem" else extra * scale)
        if np.abs(weight).max() > 127 or (np.abs(weight).sum((0, 1)) * limit + added).max() >= _EXACT:
            raise EntropyModelError(
                f"layer {name} of the entropy model could leave the range in which its sums are exact"
            )
        return _Layer(
            ((weight / scale) * (limit if limit == UNIT else 1)).astype(np.float32), (bias / scale).astype(np.float32)
        )


class Context:
    """What is known of one picture while its codes are sent, and the probabilities that follow from it.

    For each iteration: `begin`, then for each pass `probabilities` and `put`, then `end`, which changes `levels` in
    place; before it `give`, where some are given. `split`: of each block of 16x16, `(rows / 2, columns / 2)`, for a
    network that tells them apart.
    """

    def __init__(
        self,
        network: ContextNetwork,
        rows: int,
        columns: int,
        tune: int,
        scale: int,
        split: NDArray[np.bool_] | None = None,
    ) -> None:
        self.network, self.rows, self.columns = network, rows, columns
        self.tune, self.scale, self.iteration, self.split = tune, scale, 0, split
        self.levels: Levels = np.zeros((rows, columns, network.bands.coefficients), np.int16)
        self._groups = network.bands.groups
        self._odd = ternary.parity(rows, columns)
        self._given: Levels | None = None
        self._active = tuple(0 for _ in self._groups)
        self._seen = [0 for _ in self._groups]

    def give(self, levels: NDArray[np.floating[Any]]) -> None:
        """Set the levels of the given coefficients, those after the iteration, `(rows, columns, given)`, to whole
        numbers."""
        largest = len(ternary.magnitudes()) - 1  # No picture has larger ones; a file may claim them.
        self._given = np.rint(levels).clip(-largest, largest).astype(np.int16)
        self.levels[..., self.network.bands.given] = self._given

    def begin(self, active: tuple[int, ...]) -> None:
        """Start the iteration; of each group only the first `active` coefficients can have codes that are not 0."""
        self._active = active
        self._seen = [max(pair) for pair in zip(self._seen, active, strict=True)]
        if any(active):
            self._hidden = self._trunk()

    def probabilities(self, index: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """Of the active coefficients of a pass, in 65536ths: that the code is not 0, and that one that is not is
        positive.

        Both `(positions, active)`: the pass's blocks in raster order. Where a level is not 0 its sign is the code's.
        """
        group, odd = PASSES[index]
        count = self._active[group]
        chosen = self._groups[group][:count]
        layer, size = self.network.head[index], len(self._groups[group])
        outputs = np.r_[:count, size : size + count]
        weight, bias = layer.weight[0][:, outputs], layer.bias[outputs]
        rows, columns = np.nonzero(self._odd == bool(odd))
        values = np.empty((len(rows), 2 * count), np.uint16)
        for start in range(0, len(rows), _BAND):
            at = rows[start : start + _BAND], columns[start : start + _BAND]
            logits = self._hidden[at].astype(np.float32) @ weight
            logits += bias
            # Rounded apart, so that each sum is exact whatever the units of the other's weights.
            steps = _steps(logits)
            steps += self._own_steps(self.levels[at][:, chosen], chosen)
            steps += LOGITS // 2
            self.network.probability.take(steps.astype(np.int32), mode="clip", out=values[start : start + _BAND])
        return values[:, :count], values[:, count:]

    def _own_steps(self, level: Levels, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """What each coefficient's own level says, of the two probabilities side by side, in steps of logits."""
        size = ternary.magnitudes().take(np.abs(level)).astype(np.float32)
        signed, known = size * np.sign(level), level != 0
        return np.concatenate(
            [
                _steps(signed * weight[0] + size * weight[1] + known * weight[2])
                for weight in self.network.own[chosen].transpose(1, 2, 0)
            ],
            axis=1,
        )

    def known_signs(self, index: int) -> NDArray[np.int8]:
        """The signs of the levels of a pass, `(positions, active)`; 0 where a level is."""
        group, odd = PASSES[index]
        chosen = self._groups[group][: self._active[group]]
        signs = [
            np.sign(row[where][:, chosen]).astype(np.int8)
            for row, where in zip(self.levels, self._odd == bool(odd), strict=True)
        ]
        return np.concatenate(signs)

    def put(self, index: int, codes: Codes) -> None:
        """Make the codes `(positions, active)` of a pass known to those after it."""
        _, odd = PASSES[index]
        if any(self._active[later] for later, _ in PASSES[index + 1 :]):
            self._update(index, self._odd == bool(odd), codes)

    def end(self, codes: Codes) -> None:
        """Close the iteration, whose codes are these, `(rows, columns, coefficients)`."""
        ternary.advance(self.levels, codes)
        if self._given is not None:
            self.levels[..., self.network.bands.given] = self._given
        self.iteration += 1

    def _bands(self) -> Iterator[tuple[int, int]]:
        step = max(1, _BAND // self.columns)
        for top in range(0, self.rows, step):
            yield top, min(top + step, self.rows)

    def _trunk(self) -> NDArray[np.int8]:
        net = self.network
        seen = [group[:count] for group, count in zip(self._groups, self._seen, strict=True)]
        known, width = np.concatenate([net.bands.given, *seen]), net.bands.coefficients
        weight = net.stem.weight[0][np.concatenate([known, width + known])]
        bias = net.stem.bias + net.embedding[self.tune, ternary.embedding(self.iteration, self.scale)]
        hidden = np.empty((self.rows, self.columns, net.channels), np.int8)
        for top, bottom in self._bands():
            level = self.levels[top:bottom].reshape(-1, width)[:, known]
            size = ternary.magnitudes().take(np.abs(level))
            x = np.concatenate([size * np.sign(level).astype(np.int8), size], axis=1, dtype=np.float32)
            out = x @ weight
            out += bias
            add_places(out.reshape(bottom - top, self.columns, -1), net.place, self.split, top)
            hidden[top:bottom] = _rounded(out, 0).reshape(bottom - top, self.columns, -1)
        for wide, back in zip(net.wide, net.back, strict=True):
            hidden = self._residual(hidden, wide, back)
        return hidden

    def _residual(self, hidden: NDArray[np.int8], wide: _Layer, back: _Layer) -> NDArray[np.int8]:
        """`hidden + back(relu(wide(hidden)))`, band by band."""
        padded = np.pad(hidden, ((1, 1), (1, 1), (0, 0)))
        new = np.empty_like(hidden)
        for top, bottom in self._bands():
            inner = _rounded(_three_by_three(padded[top : bottom + 2], wide), 0, np.float32)
            out = inner @ back.weight[0]
            out += back.bias
            out += hidden[top:bottom].reshape(out.shape)
            new[top:bottom] = _rounded(out, -127).reshape(bottom - top, self.columns, -1)
        return new

    def _update(self, index: int, where: NDArray[np.bool_], codes: Codes) -> None:
        net, (group, _) = self.network, PASSES[index]
        size, count = len(self._groups[group]), codes.shape[1]
        if count:
            seen = net.seen[index].weight[0]
            out = codes.astype(np.float32) @ seen[:count]
            out += np.abs(codes).astype(np.float32) @ seen[size : size + count]
            out += self._hidden[where]
            self._hidden[where] = _rounded(out, -127)
        self._hidden = self._residual(self._hidden, net.mix[index], net.merge[index])


def _steps(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums in sixteenths as whole steps of logits."""
    sums *= LOGIT_UNIT // UNIT
    return np.rint(sums, out=sums)


def _three_by_three(padded: NDArray[np.int8], layer: _Layer) -> NDArray[np.float32]:
    """A convolution of `(rows + 2, columns + 2, C)`: one matrix product for each row of the kernel. `(rows * columns,
    out)`."""
    rows, columns, channels = padded.shape[0] - 2, padded.shape[1] - 2, padded.shape[2]
    side = np.concatenate([padded[:, x : x + columns] for x in range(3)], axis=2, dtype=np.float32).reshape(
        -1, 3 * channels
    )
    count = rows * columns
    out = side[:count] @ layer.weight[0]
    out += side[columns : columns + count] @ layer.weight[1]
    out += side[2 * columns : 2 * columns + count] @ layer.weight[2]
    out += layer.bias
    return out


def _rounded(x: NDArray[np.float32], low: int, dtype: Any = np.int8) -> NDArray[Any]:
    np.rint(x, out=x)
    return np.clip(x, low, 127, out=x).astype(dtype, copy=False)
