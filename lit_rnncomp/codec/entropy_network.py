"""BinaryRNN in integers: the only arithmetic that ever reaches the arithmetic coder.

`lit_rnncomp.models.quantized_rnn` defines the number formats, `lit_rnncomp.models.binary_rnn` the wiring. Everything
here is a sum of products of small integers held in floating point, so it is exact in any order of summation: on any
machine, with any number of threads, positions in any grouping. NumPy only: at the few dozen positions of a front, its
calls cost a third of torch's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[Any]

MARGIN = 3
"""Columns left and right, and rows above, of the planes below: the reach of the 7x7 convolution."""

_INDEX_SCALE = 128.0
_EXACT = 2**24


class EntropyModelError(ValueError):
    """The tensors of an entropy model do not fit together, or could leave the range in which its arithmetic is
    exact."""


@dataclass(frozen=True)
class _Layer:
    """`index = x @ weight[g] + bias[t]`: a pre-activation in steps of 1/128, moved so that its integer part is a table
    index."""

    weight: Floats
    bias: Floats

    def table_index(self, x: Floats, t: int) -> NDArray[np.intp]:
        accumulator = np.matmul(x, self.weight[t if len(self.weight) > 1 else 0])
        accumulator += self.bias[t]
        # Towards zero is down from zero on, and below zero every index is clipped to the table's first entry.
        return accumulator.astype(np.intp)


class IntegerBinaryRNN:
    """The network without the picture: weights and tables, ready for matrix products in `dtype`.

    `tensors` and `config` are what `BinaryRNN.integers` returns. `dtype` float32 and float64 give the same integers.
    Raises `EntropyModelError` for tensors that are missing, misshapen or too large to be exact in float32.
    """

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any], dtype: DTypeLike = np.float32
    ) -> None:
        try:
            self.bits, self.iterations = int(config["bits"]), int(config["iterations"])
            self.width, self.progressive = int(config["width"]), bool(config["progressive"])
            self.recurrent = {"lstm": True, "conv": False}[config["line"]]
            self.adapts = self.progressive and config["wiring"] == "released"
            self.state = self.width if config["wiring"] == "paper" else int(config["state"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EntropyModelError(f"the configuration of the entropy model lacks or spoils {error}") from error
        if min(self.bits, self.iterations, self.width, self.state) < 1:
            raise EntropyModelError("bits, iterations, width and state of an entropy model must be at least 1")
        self.dtype = np.dtype(dtype)
        self._tensors = tensors
        bits, width, state = self.bits, self.width, self.state
        seen = 2 * width if self.progressive else width
        self.causal = self._layer("causal", 24 * bits, width, limit=1)
        if self.recurrent:
            self.line = self._layer("line", 2 * seen + 3 * width, 4 * width)
        else:
            self.line = self._layer("line", 2 * seen, width)
        self.head = (self._layer("head.0", width, width), self._layer("head.1", width, bits, table=4096))
        if self.progressive:
            self.summary = (
                self._layer("summary.0", 9 * bits, width, limit=1),
                self._layer("summary.1", 9 * width, state),
            )
            self.layer = self._layer("layer", state + width, 4 * width)
            self.project = (self._layer("project.0", width, width), self._layer("project.1", width, state))
        if self.adapts:
            self.adapt = self._layer("adapt", 9 * state, width)
        self.gate = self._table("sigmoid", 2048, 0, 256) / 256
        self.candidate = self._table("tanh", 2048, -2032, 2032)
        self.squash = self.candidate / 16
        self.activation = self._table("activation", 2048, -127, 127)
        self.probability = self._table("probability", 4096, 1, 65535).astype(np.int32)

    def _tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        if name not in self._tensors:
            raise EntropyModelError(f"the entropy model has no tensor {name}")
        tensor = np.asarray(self._tensors[name])
        if tensor.shape != shape or tensor.dtype.kind != "i":
            raise EntropyModelError(
                f"tensor {name} of the entropy model is {tensor.dtype}{tensor.shape}, not integers of shape {shape}"
            )
        return tensor.astype(np.float64)

    def _table(self, name: str, size: int, low: int, high: int) -> Floats:
        table = self._tensor(f"table.{name}", (size,))
        if table.min() < low or table.max() > high:
            raise EntropyModelError(f"table {name} of the entropy model leaves {low}..{high}")
        return table.astype(self.dtype)

    def _layer(self, name: str, inputs: int, outputs: int, limit: int = 127, table: int = 2048) -> _Layer:
        groups = np.shape(self._tensors.get(f"{name}.weight", ()))[:1]
        count = np.shape(self._tensors.get(f"{name}.bias", ()))[:1]
        if groups not in ((1,), (self.iterations,)) or count not in ((1,), (self.iterations,)):
            raise EntropyModelError(f"layer {name} of the entropy model is not for {self.iterations} iterations")
        weight = self._tensor(f"{name}.weight", (*groups, inputs, outputs))
        bias = self._tensor(f"{name}.bias", (*count, outputs))
        exponent = self._tensor(f"{name}.exponent", (*groups, outputs))
        unit = np.exp2(exponent) * _INDEX_SCALE
        offset = table / 2 + 0.5
        # In units of the accumulator: every partial sum must be an integer that float32 holds. Half a unit may be the
        # finest step.
        step = np.minimum(unit, 0.5)
        largest = (np.abs(weight).sum(1) * limit + np.abs(bias).max(0)) * unit + offset
        if (np.abs(weight) > 127).any() or (largest / step >= _EXACT).any():
            raise EntropyModelError(
                f"layer {name} of the entropy model could leave the range in which its sums are exact"
            )
        biases = np.broadcast_to(bias * unit + offset, (self.iterations, outputs))
        return _Layer((weight * unit[:, None]).astype(self.dtype), np.ascontiguousarray(biases, self.dtype))

    def activate(self, layer: _Layer, x: Floats, t: int) -> Floats:
        return self.activation.take(layer.table_index(x, t), mode="clip")

    def lstm(self, layer: _Layer, x: Floats, t: int, cell: NDArray[np.int16]) -> tuple[Floats, Floats]:
        """`(h, cell)` after one step at the positions of `x` and `cell`, all integers."""
        index, width = layer.table_index(x, t), self.width
        gates = self.gate.take(index[:, : 3 * width], mode="clip")
        new = cell * gates[:, :width]
        new += gates[:, width : 2 * width] * self.candidate.take(index[:, 3 * width :], mode="clip")
        new += 0.5
        np.floor(new, out=new)
        np.clip(new, -32767, 32767, out=new)
        squashed = self.squash.take((new * 0.0625 + 1024.5).astype(np.intp), mode="clip")
        squashed *= gates[:, 2 * width :]
        squashed += 0.5
        return np.floor(squashed, out=squashed), new


class Context:
    """What encoder and decoder know of one picture: the planes of the current iteration and the layer state of those
    before.

    A position is an index into the flattened planes, `(y + MARGIN) * stride + x + MARGIN`, so that a neighbour is an
    offset and what lies outside the picture is zero. Positions come as slices: a row, a front or a single position is
    an arithmetic progression, and so are its neighbours. The probabilities of a position may be asked for once the
    codes in its causal reach are known (`put`) and the probabilities of its neighbours left and above have been asked
    for. What depends on whole iterations is computed for `band` positions at a time.
    """

    def __init__(self, network: IntegerBinaryRNN, height: int, width: int, band: int = 384) -> None:
        self.network = network
        self.height, self.width, self.band = height, width, band
        self.stride = width + 2 * MARGIN
        self.iteration = 0

        def plane(channels: int, dtype: DTypeLike = np.int8) -> NDArray[Any]:
            return np.zeros((height + MARGIN + 1, self.stride, channels), dtype)

        self._codes = plane(network.bits)
        # Side by side, what the line LSTM's input convolution reads: of this iteration, and of the iterations before.
        self._seen = plane(2 * network.width if network.progressive else network.width)
        self._flat_codes = self._codes.reshape(-1, self._codes.shape[2])
        self._flat_seen = self._seen.reshape(-1, self._seen.shape[2])
        self._seven_codes, self._three_codes = _runs(self._flat_codes, 7), _runs(self._flat_codes, 3)
        self._two_seen = _runs(self._flat_seen, 2)
        if network.recurrent:
            self._flat_hidden = plane(network.width).reshape(-1, network.width)
            self._flat_cell = plane(network.width, np.int16).reshape(-1, network.width)
            self._three_hidden = _runs(self._flat_hidden, 3)
        if network.progressive:
            self._summary = plane(network.width)
            self._layer_hidden, self._layer_cell = plane(network.width), plane(network.width, np.int16)
            self._state = plane(network.state)
            self._adapt()

    def probabilities(self, positions: slice) -> NDArray[np.int32]:
        """`(n, bits)` in 1..65535: the probability, times 65536, that each bit at `positions` is +1."""
        net, t, stride = self.network, self.iteration, self.stride
        patches = np.concatenate(
            (
                self._seven_codes[_moved(positions, -3 * stride - 3)],
                self._seven_codes[_moved(positions, -2 * stride - 3)],
                self._seven_codes[_moved(positions, -stride - 3)],
                self._three_codes[_moved(positions, -3)],
            ),
            axis=1,
            dtype=net.dtype,
        )
        self._flat_seen[positions, : net.width] = net.activate(net.causal, patches, t)
        seen = self._two_seen[_moved(positions, -1)]
        if net.recurrent:
            x = np.concatenate((seen, self._three_hidden[_moved(positions, -stride - 1)]), axis=1, dtype=net.dtype)
            hidden, cell = net.lstm(net.line, x, t, self._flat_cell[_moved(positions, -stride)])
            self._flat_hidden[positions] = hidden
            self._flat_cell[positions] = cell
        else:
            hidden = net.activate(net.line, seen.astype(net.dtype), t)
        index = net.head[1].table_index(net.activate(net.head[0], hidden, t), t)
        return net.probability.take(index, mode="clip")

    def put(self, positions: slice, codes: NDArray[Any]) -> None:
        """Make the codes `(n, bits)` in {-1, +1} at `positions` known."""
        self._flat_codes[positions] = codes

    def put_all(self, codes: NDArray[Any]) -> None:
        """Make all codes `(height, width, bits)` of the iteration known."""
        self._codes[MARGIN:-1, MARGIN:-MARGIN] = codes

    def codes(self) -> NDArray[np.int8]:
        """All codes `(height, width, bits)` of the iteration."""
        return self._codes[MARGIN:-1, MARGIN:-MARGIN].astype(np.int8)

    def advance(self) -> None:
        """Close the iteration, all of whose codes are known: fold them into the layer state and turn to the next
        iteration."""
        if self.network.progressive and self.iteration + 1 < self.network.iterations:
            self._fold()
        self.iteration += 1
        if self.network.progressive and self.iteration < self.network.iterations:
            self._adapt()

    def _bands(self) -> Iterator[tuple[slice, slice]]:
        """The picture in pieces of at most `band` positions, so that the patches of a piece stay in cache."""
        rows, columns = max(1, self.band // self.width), min(self.band, self.width)
        bottom, right = MARGIN + self.height, MARGIN + self.width
        for y in range(MARGIN, bottom, rows):
            for x in range(MARGIN, right, columns):
                yield slice(y, min(y + rows, bottom)), slice(x, min(x + columns, right))

    def _fold(self) -> None:
        net, t = self.network, self.iteration
        for band in self._bands():
            summary = self._summary[band]
            summary[...] = net.activate(net.summary[0], self._patches(self._codes, band), t).reshape(summary.shape)
        for band in self._bands():
            hidden, cell, state = self._layer_hidden[band], self._layer_cell[band], self._state[band]
            read = net.activate(net.summary[1], self._patches(self._summary, band), t)
            x = np.concatenate((read, hidden.reshape(-1, net.width)), axis=1, dtype=net.dtype)
            new_hidden, new_cell = net.lstm(net.layer, x, t, cell.reshape(-1, net.width))
            hidden[...] = new_hidden.reshape(hidden.shape)
            cell[...] = new_cell.reshape(cell.shape)
            state[...] = net.activate(net.project[1], net.activate(net.project[0], new_hidden, t), t).reshape(
                state.shape
            )

    def _adapt(self) -> None:
        net, t = self.network, self.iteration
        for band in self._bands():
            context = self._seen[band][..., net.width :]
            if net.adapts:
                context[...] = net.activate(net.adapt, self._patches(self._state, band), t).reshape(context.shape)
            else:
                context[...] = self._state[band]

    def _patches(self, plane: NDArray[np.int8], band: tuple[slice, slice]) -> Floats:
        """The 3x3 neighbourhoods `(n, 9 C)` of the positions of `band` in `plane` `(rows, columns, C)`."""
        rows, columns = band
        height, stride, channels = plane.shape
        threes = np.lib.stride_tricks.as_strided(
            plane, (height, stride - 2, 3 * channels), plane.strides, writeable=False
        )
        lines = [threes[rows.start + dy : rows.stop + dy, columns.start - 1 : columns.stop - 1] for dy in (-1, 0, 1)]
        return np.concatenate(lines, axis=2, dtype=self.network.dtype).reshape(-1, 9 * channels)


def _moved(positions: slice, offset: int) -> slice:
    return slice(positions.start + offset, positions.stop + offset, positions.step)


def _runs(plane: NDArray[np.int8], length: int) -> NDArray[np.int8]:
    """A view of `plane` `(n, C)` whose row `i` holds the rows `i` to `i + length - 1`, end to end."""
    count, channels = plane.shape
    return np.lib.stride_tricks.as_strided(
        plane, (count - length + 1, length * channels), plane.strides, writeable=False
    )
