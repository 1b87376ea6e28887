"""The networks that ship, in NumPy: what encodes and decodes on a CPU without waiting seconds for torch to start.

The same arithmetic as `RecurrentCodec` in evaluation mode, from the same weights; only the order of summation differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..images import array_to_uint8, to_signal
from . import loop
from .config import ALPHA, CodecConfig, assert_never
from .dct import BLOCK, COEFFICIENTS, block_basis, coefficient_deviations
from .loop import Estimate, Layers

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.int8]
_States = list[Floats] | None

# The options of `CodecConfig` that this file computes: the values it knows, or None where any number will do. It is a
# closed world: an option that does not stand here is refused, whatever its value.
_COMPUTED: dict[str, tuple[Any, ...] | None] = {
    "unit": ("residual_gru",),
    "reconstruction": ("one_shot", "additive", "iteration_gain", "coefficient_gain", "measured_gain"),
    "width": None,
    "iterations": None,
    "bits": None,
    "code_stride": (8,),
    "frontend": ("dct",),
    "binarize": ("stochastic", "sign"),  # of training
    "gain_input": ("residual", "reconstruction"),  # of residual scaling
    "output": ("linear", "tanh"),
    "padding": ("symmetric", "tf_same"),  # which differ at stride 2
    "priming": None,
    "projections": ("shared", "per_iteration"),
    "shortcut": (False, True),
    "codes": ("binary",),
    "layers": ("toderici2017",),
}


def unsupported(config: CodecConfig) -> list[str]:
    """The options of `config`, as NAME=VALUE, that keep `NumpyCodec` from running it."""
    refused = []
    for field in fields(config):
        value, known = getattr(config, field.name), _COMPUTED.get(field.name, ())
        if known is not None and value not in known:
            refused.append(f"{field.name}={value!r}")
    return refused


def shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    """Of the weights of a network of which nothing is `unsupported`, by name."""
    channels = config.channels(512)
    each = config.projections == "per_iteration"
    found: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, inputs: int, outputs: int, kernel: int = 1, bias: bool = True) -> None:
        found[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        if bias:
            found[f"{name}.bias"] = (outputs,)

    for name, inputs, outputs in (
        ("encoder.stem", COEFFICIENTS, channels),
        ("binarizer.conv", channels, config.bits),
        ("decoder.stem", config.bits, channels),
        ("decoder.head", channels, COEFFICIENTS),
    ):
        for t in range(config.iterations) if each else [None]:
            convolution(name if t is None else f"{name}.{t}", inputs, outputs)
    for layer in (f"{network}.layers.{index}" for network in ("encoder", "decoder") for index in range(2)):
        convolution(f"{layer}.input_conv", channels, 4 * channels, 3)
        convolution(f"{layer}.hidden_conv", channels, 3 * channels, bias=False)
        convolution(f"{layer}.candidate_conv", channels, channels, bias=False)
    if config.shortcut:
        convolution("decoder.gate", channels, COEFFICIENTS)
        found["binarizer.shortcut.weight"] = (config.iterations, config.bits, COEFFICIENTS)
        found["decoder.shortcut.weight"] = (config.iterations, COEFFICIENTS, config.bits)
    if config.reconstruction == "iteration_gain":
        found["reconstruction.log_gain"] = (config.iterations,)
    if config.reconstruction == "coefficient_gain":
        found["reconstruction.log_gain"] = config.iterations, COEFFICIENTS
    if config.reconstruction == "measured_gain":
        found["reconstruction.deviation"] = config.iterations, COEFFICIENTS
    return found


class NumpyCodec(Layers):
    """Residual GRUs around a block DCT, on a CPU: the layers of the iteration loop, on arrays `(rows, columns,
    channels)`.

    Args:
        config: a network of which nothing is `unsupported`.
        tensors: its weights by the names of `RecurrentCodec.state_dict`.
        dtype: float32 or float64.

    Raises `ValueError` that names what it does not compute of another network, `KeyError` for weights that are missing.
    """

    def __init__(self, config: CodecConfig, tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32) -> None:
        if foreign := unsupported(config):
            raise ValueError(f"no NumPy version of a network with {', '.join(foreign)}")
        self.config, self.dtype = config, np.dtype(dtype)
        self.tensors = tensors
        weights = _Weights(config, tensors, self.dtype)
        self._encoder, self._decoder = _Network(weights, "encoder"), _Network(weights, "decoder")
        self._binarizer, self._head = weights.projections("binarizer.conv"), weights.projections("decoder.head")
        self._analysis, self._synthesis = weights.shortcut("binarizer.shortcut"), weights.shortcut("decoder.shortcut")
        self._gate = weights.convolution("decoder.gate") if config.shortcut else None
        self._gains = weights.gains()
        basis, scale = block_basis(), coefficient_deviations()
        self._forward = np.ascontiguousarray((basis / scale[:, None]).T.astype(self.dtype))
        self._inverse = np.ascontiguousarray((basis * scale[:, None]).astype(self.dtype))

    @property
    def parameters(self) -> int:
        """How many numbers were learned: the deviations behind fixed gains were measured."""
        return sum(tensor.size for name, tensor in self.tensors.items() if name != "reconstruction.deviation")

    def exact(self) -> NumpyCodec:
        """The same network in float64."""
        return NumpyCodec(self.config, self.tensors, np.float64)

    def encode(
        self, image: NDArray[np.uint8], iterations: int, choose: Callable[[int, Codes], Codes] | None = None
    ) -> Iterator[tuple[Codes, Callable[[], NDArray[np.uint8]]]]:
        """Iteration by iteration, lazily: its codes `(bits, h, w)` in {-1, +1}, and a call for the picture so far.

        `image`: `(H, W, 3)` uint8, sides multiples of 8. `choose(t, codes)` may put others in the place of an
        iteration's codes.
        """
        for codes, estimate in loop.encode(self, image, iterations, choose):
            yield codes, partial(self._picture, estimate.value)

    def decode(self, codes: Iterable[Codes]) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        """A call for the picture `(H, W, 3)` uint8 after each iteration's codes `(bits, h, w)`, lazily."""
        return (partial(self._picture, estimate.value) for estimate in loop.decode(self, codes))

    def _picture(self, coefficients: Floats) -> NDArray[np.uint8]:
        """The picture `(H, W, 3)` uint8, rounded and clipped."""
        rows, columns, _ = coefficients.shape
        samples = array_to_uint8(_times(coefficients, self._inverse)).reshape(rows, columns, 3, BLOCK, BLOCK)
        return samples.transpose(0, 3, 1, 4, 2).reshape(rows * BLOCK, columns * BLOCK, 3)

    def analysis(self, image: NDArray[np.uint8]) -> Floats:
        rows, columns = image.shape[0] // BLOCK, image.shape[1] // BLOCK
        blocks = to_signal(image.astype(self.dtype)).reshape(rows, BLOCK, columns, BLOCK, 3).transpose(0, 2, 4, 1, 3)
        return _times(blocks.reshape(rows, columns, -1), self._forward)

    def gain(self, estimate: Estimate) -> Floats | None:
        return None if self._gains is None else self._gains[estimate.t]

    def run_encoder(self, scaled: Floats, states: _States, t: int) -> tuple[Floats, _States]:
        return self._encoder(scaled, states, t)

    def activation(self, features: Floats, scaled: Floats, t: int) -> Floats:
        activation = self._binarizer[t](features)
        if self._analysis is not None:
            activation += _times(scaled, self._analysis[t])
        return activation

    def binarize(self, activation: Floats, estimate: Estimate) -> Codes:
        return np.ascontiguousarray(np.where(activation >= 0, np.int8(1), np.int8(-1)).transpose(2, 0, 1))

    def run_decoder(self, codes: Codes, states: _States, t: int) -> tuple[Floats, _States]:
        x = codes.transpose(1, 2, 0).astype(self.dtype, order="C")
        features, states = self._decoder(x, states, t)
        output = self._head[t](features)
        if self._synthesis is not None and self._gate is not None:
            output += _times(x, self._synthesis[t]) * (1 + self._gate(features))
        return np.tanh(output) if self.config.output == "tanh" else output, states


class _Network:
    """Stem and recurrent layers of the encoder or the decoder."""

    def __init__(self, weights: _Weights, name: str) -> None:
        self.stem = weights.projections(f"{name}.stem")
        self.layers = [_ResidualGRU(weights, f"{name}.layers.{layer}") for layer in range(2)]

    def __call__(self, x: Floats, states: _States, t: int) -> tuple[Floats, _States]:
        x, new = self.stem[t](x), []
        for layer, state in zip(self.layers, states or (None, None), strict=True):
            x, state = layer(x, state)
            new.append(state)
        return x, new


class _ResidualGRU:
    """`rnncomp_kernels.reference.residual_gru_update` and its three convolutions."""

    def __init__(self, weights: _Weights, name: str) -> None:
        self.input = weights.convolution(f"{name}.input_conv")
        self.hidden = weights.convolution(f"{name}.hidden_conv")
        self.candidate = weights.convolution(f"{name}.candidate_conv")

    def __call__(self, x: Floats, h: Floats | None) -> tuple[Floats, Floats]:
        z, r, n, skip = np.split(self.input(x), 4, axis=2)
        new: Floats
        if h is None:
            new = _sigmoid(z) * _tanh(n)
        else:
            hidden_z, hidden_r, hidden_skip = np.split(self.hidden(h), 3, axis=2)
            new = _tanh(n + self.candidate(_sigmoid(r + hidden_r) * h))
            new -= h
            new *= _sigmoid(z + hidden_z)
            new += h
            new += ALPHA * hidden_skip
        return new + ALPHA * skip, new


@dataclass(frozen=True)
class _Conv:
    """A convolution of odd kernel and stride 1 of `(rows, columns, channels)`: one matrix product for each row of the
    kernel."""

    rows: list[Floats]
    bias: Floats | None
    kernel: int

    def __call__(self, x: Floats) -> Floats:
        height = len(x)
        wide = x if self.kernel == 1 else self._side_by_side(x)
        out = _times(wide[:height], self.rows[0])
        if self.kernel > 1:
            part = np.empty_like(out)
            for y, row in enumerate(self.rows[1:], 1):
                out += _times(wide[y : y + height], row, part)
        if self.bias is not None:
            out += self.bias
        return out

    def _side_by_side(self, x: Floats) -> Floats:
        """Each position beside its neighbours of the same row, with rows of zeros above and below."""
        reach, (height, width, channels) = self.kernel // 2, x.shape
        padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
        wide = np.empty((height + 2 * reach, width, self.kernel * channels), x.dtype)
        for column in range(self.kernel):
            wide[:, :, column * channels : (column + 1) * channels] = padded[:, column : column + width]
        return wide


@dataclass(frozen=True)
class _Weights:
    """Weights by the names that torch gives them, as layers."""

    config: CodecConfig
    tensors: Mapping[str, NDArray[Any]]
    dtype: np.dtype[Any]

    def convolution(self, name: str) -> _Conv:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")
        rows = (weight[:, :, y].transpose(2, 1, 0).reshape(-1, len(weight)) for y in range(weight.shape[2]))
        bias = None if bias is None else bias.astype(self.dtype)
        return _Conv([np.ascontiguousarray(row, self.dtype) for row in rows], bias, weight.shape[2])

    def projections(self, name: str) -> list[_Conv]:
        """One for each iteration."""
        if self.config.projections == "shared":
            return [self.convolution(name)] * self.config.iterations
        if self.config.projections == "per_iteration":
            return [self.convolution(f"{name}.{t}") for t in range(self.config.iterations)]
        assert_never(self.config.projections)

    def shortcut(self, name: str) -> Floats | None:
        """`(iterations, in, out)`."""
        if not self.config.shortcut:
            return None
        return np.ascontiguousarray(self.tensors[f"{name}.weight"].transpose(0, 2, 1), self.dtype)

    def gains(self) -> Floats | None:
        """`(iterations, 192 or 1)`; None where all are 1."""
        if self.config.reconstruction in ("one_shot", "additive"):
            return None
        if self.config.reconstruction == "measured_gain":
            deviation = self.tensors["reconstruction.deviation"].astype(np.float32)
            gains = 1 / np.maximum(deviation, np.float32(1e-3))
        else:
            learned = self.tensors["reconstruction.log_gain"].astype(np.float32)
            gains = np.exp(learned).reshape(self.config.iterations, -1)
        return gains.astype(self.dtype)


def _times(x: Floats, matrix: Floats, out: Floats | None = None) -> Floats:
    """`(rows, columns, n)` times `(n, m)`, as one product: `x @ matrix` would make one for each row."""
    flat = x.reshape(-1, x.shape[-1])
    return np.matmul(flat, matrix, out=None if out is None else out.reshape(len(flat), -1)).reshape(*x.shape[:-1], -1)


def _sigmoid(x: Floats) -> Floats:
    # An exponential that overflows is infinite, and the quotient zero: right in the limit.
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _tanh(x: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return 1 - 2 / (1 + np.exp(2 * x))
