"""The networks that ship, in NumPy: what encodes and decodes on a CPU without waiting seconds for torch to start.

The same arithmetic as `RecurrentCodec` in evaluation mode, from the same weights; only the order of summation differs. Positions are
rows of a matrix, channels its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .config import CodecConfig
from .transform import BLOCK, block_basis, coefficient_deviations

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.int8]


class NumpyCodec:
    """Residual GRUs around a block DCT, on a CPU.

    Args:
        config: a network for which `supports` is true.
        tensors: its weights by the names of `RecurrentCodec.state_dict`.
        dtype: float32 or float64.

    Raises `ValueError` for another network, `KeyError` for weights that are missing.
    """

    def __init__(self, config: CodecConfig, tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32) -> None:
        if not supports(config):
            raise ValueError(f"no NumPy version of {config}")
        self.config, self.dtype = config, np.dtype(dtype)
        self.tensors = tensors
        self._encoder = _Network(config, tensors, "encoder", self.dtype)
        self._decoder = _Network(config, tensors, "decoder", self.dtype)
        self._binarizer = _projections(config, tensors, "binarizer.conv", self.dtype)
        self._analysis = _shortcut(config, tensors, "binarizer.shortcut", self.dtype)
        self._head = _projections(config, tensors, "decoder.head", self.dtype)
        self._synthesis = _shortcut(config, tensors, "decoder.shortcut", self.dtype)
        self._gate = _Conv.of(tensors, "decoder.gate", self.dtype) if config.shortcut else None
        self._gains = _gains(config, tensors).astype(self.dtype)
        basis, scale = block_basis(), coefficient_deviations()
        self._forward = np.ascontiguousarray((basis / scale[:, None]).T.astype(self.dtype))
        self._inverse = np.ascontiguousarray((basis * scale[:, None]).astype(self.dtype))

    def exact(self) -> NumpyCodec:
        """The same network in float64."""
        return NumpyCodec(self.config, self.tensors, np.float64)

    def encode(
        self, image: NDArray[np.uint8], iterations: int, choose: Callable[[int, Codes], Codes] | None = None
    ) -> Iterator[tuple[Codes, Callable[[], NDArray[np.uint8]]]]:
        """Iteration by iteration, lazily: its codes `(bits, h, w)` in {-1, +1}, and a call for the picture so far.

        `image`: `(H, W, 3)` uint8, sides multiples of 8. `choose(t, codes)` may put others in the place of an iteration's codes.
        """
        shape = (image.shape[0] // BLOCK, image.shape[1] // BLOCK)
        target = self._to_coefficients(image)
        estimate = _Estimate(self, shape)
        states: list[Floats | None] = [None, None]
        residual = target
        for t in range(iterations):
            scaled = residual * self._gains[t]
            for _ in range(self.config.priming if t == 0 else 0):
                self._encoder(scaled, states, t, shape)
            features = self._encoder(scaled, states, t, shape)
            activation = self._binarizer[t](features)
            if self._analysis is not None:
                activation += scaled @ self._analysis[t]
            codes = _grid(np.where(activation >= 0, np.int8(1), np.int8(-1)), shape)
            if choose is not None:
                codes = choose(t, codes)
            residual = target - estimate.advance(codes)
            yield codes, partial(self._picture, estimate.coefficients, shape)

    def decode(self, codes: Iterable[Codes]) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        """A call for the picture `(H, W, 3)` uint8 after each iteration's codes `(bits, h, w)`, lazily."""
        estimate: _Estimate | None = None
        for code in codes:
            estimate = estimate or _Estimate(self, code.shape[1:])
            yield partial(self._picture, estimate.advance(code), estimate.shape)

    def _to_coefficients(self, image: NDArray[np.uint8]) -> Floats:
        """`(H, W, 3)` uint8 to `(positions, 192)`."""
        height, width = image.shape[:2]
        x = image.astype(self.dtype) / 127.5 - 1
        blocks = x.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).transpose(0, 2, 4, 1, 3)
        return blocks.reshape(-1, 3 * BLOCK * BLOCK) @ self._forward

    def _picture(self, coefficients: Floats, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Coefficients `(positions, 192)` to `(H, W, 3)` uint8, rounded and clipped."""
        rows, columns = shape
        blocks = (coefficients @ self._inverse + 1) * 127.5
        samples = np.clip(np.rint(blocks, out=blocks), 0, 255, out=blocks).astype(np.uint8)
        return samples.reshape(rows, columns, 3, BLOCK, BLOCK).transpose(0, 3, 1, 4, 2).reshape(rows * BLOCK, columns * BLOCK, 3)


class _Estimate:
    """The half of the loop that encoder and decoder share: the coefficients so far, from the codes alone."""

    def __init__(self, codec: NumpyCodec, shape: tuple[int, ...]) -> None:
        self.codec, self.shape, self.t = codec, shape, 0
        self.states: list[Floats | None] = [None, None]
        self.coefficients: Floats = np.zeros((), codec.dtype)

    def advance(self, codes: Codes) -> Floats:
        codec, t = self.codec, self.t
        x = codes.reshape(len(codes), -1).T.astype(codec.dtype)
        for _ in range(codec.config.priming if t == 0 else 0):
            codec._decoder(x, self.states, t, self.shape)
        features = codec._decoder(x, self.states, t, self.shape)
        output = codec._head[t](features)
        if codec._synthesis is not None and codec._gate is not None:
            output += (x @ codec._synthesis[t]) * (1 + codec._gate(features))
        if codec.config.output == "tanh":
            output = np.tanh(output)
        output /= codec._gains[t]
        self.coefficients = output if codec.config.reconstruction == "one_shot" else self.coefficients + output
        self.t += 1
        return self.coefficients


class _Network:
    """Stem and recurrent layers of the encoder or the decoder."""

    def __init__(self, config: CodecConfig, tensors: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any]) -> None:
        self.stem = _projections(config, tensors, f"{name}.stem", dtype)
        self.layers = [_ResidualGRU(config, tensors, f"{name}.layers.{layer}", dtype) for layer in range(2)]

    def __call__(self, x: Floats, states: list[Floats | None], t: int, shape: tuple[int, ...]) -> Floats:
        x = self.stem[t](x)
        for index, layer in enumerate(self.layers):
            x, states[index] = layer(x, states[index], shape)
        return x


class _ResidualGRU:
    """`rnncomp_kernels.reference.residual_gru_update` and its three convolutions."""

    def __init__(self, config: CodecConfig, tensors: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any]) -> None:
        self.input = _Conv.of(tensors, f"{name}.input_conv", dtype)
        self.hidden = _Conv.of(tensors, f"{name}.hidden_conv", dtype)
        self.candidate = _Conv.of(tensors, f"{name}.candidate_conv", dtype)
        self.alpha_h, self.alpha_x = config.alpha_h, config.alpha_x

    def __call__(self, x: Floats, h: Floats | None, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        z, r, n, skip = np.split(self.input(x, shape), 4, axis=1)
        new: Floats
        if h is None:
            new = _sigmoid(z) * _tanh(n)
        else:
            hidden_z, hidden_r, hidden_skip = np.split(self.hidden(h, shape), 3, axis=1)
            new = _tanh(n + self.candidate(_sigmoid(r + hidden_r) * h, shape))
            new -= h
            new *= _sigmoid(z + hidden_z)
            new += h
            new += self.alpha_h * hidden_skip
        return new + self.alpha_x * skip, new


@dataclass(frozen=True)
class _Conv:
    """A convolution of odd kernel and stride 1 of `(positions, channels)`: one matrix product for each row of the kernel."""

    rows: list[Floats]
    bias: Floats | None
    kernel: int

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any]) -> _Conv:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        kernel = weight.shape[2]
        rows = [np.ascontiguousarray(weight[:, :, y].transpose(2, 1, 0).reshape(-1, len(weight)), dtype) for y in range(kernel)]
        return cls(rows, None if bias is None else bias.astype(dtype), kernel)

    def __call__(self, x: Floats, shape: tuple[int, ...] = (0, 0)) -> Floats:
        if self.kernel == 1:
            out = x @ self.rows[0]
        else:
            wide, count = self._side_by_side(x, shape), len(x)
            out = wide[:count] @ self.rows[0]
            part = np.empty_like(out)
            for y, row in enumerate(self.rows[1:], 1):
                start = y * shape[1]
                out += np.matmul(wide[start : start + count], row, out=part)
        if self.bias is not None:
            out += self.bias
        return out

    def _side_by_side(self, x: Floats, shape: tuple[int, ...]) -> Floats:
        """Each position beside its neighbours of the same row, with rows of zeros above and below."""
        reach, channels = self.kernel // 2, x.shape[1]
        padded = np.pad(x.reshape(*shape, channels), ((reach, reach), (reach, reach), (0, 0)))
        wide = np.empty((shape[0] + 2 * reach, shape[1], self.kernel * channels), x.dtype)
        for column in range(self.kernel):
            wide[:, :, column * channels : (column + 1) * channels] = padded[:, column : column + shape[1]]
        return wide.reshape(-1, self.kernel * channels)


def supports(config: CodecConfig) -> bool:
    """Whether `NumpyCodec` can run this network."""
    return (config.unit, config.frontend, config.code_stride) == ("residual_gru", "dct", 8) and config.reconstruction != "residual_scaling"


def _projections(config: CodecConfig, tensors: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any]) -> list[_Conv]:
    if config.projections == "shared":
        return [_Conv.of(tensors, name, dtype)] * config.iterations
    return [_Conv.of(tensors, f"{name}.{t}", dtype) for t in range(config.iterations)]


def _shortcut(config: CodecConfig, tensors: Mapping[str, NDArray[Any]], name: str, dtype: np.dtype[Any]) -> Floats | None:
    return np.ascontiguousarray(tensors[f"{name}.weight"].transpose(0, 2, 1), dtype) if config.shortcut else None


def _gains(config: CodecConfig, tensors: Mapping[str, NDArray[Any]]) -> Floats:
    """`(iterations, 192 or 1)`."""
    if config.reconstruction != "scheduled_gain":
        return np.ones((config.iterations, 1), np.float32)
    if config.gains == "measured":
        return 1 / np.maximum(tensors["reconstruction.deviation"].astype(np.float32), np.float32(1e-3))
    return np.exp(tensors["reconstruction.log_gain"].astype(np.float32)).reshape(config.iterations, -1)


def _grid(rows: NDArray[np.int8], shape: tuple[int, ...]) -> Codes:
    """`(positions, bits)` to `(bits, h, w)`."""
    return np.ascontiguousarray(rows.T).reshape(-1, *shape)


def _sigmoid(x: Floats) -> Floats:
    # An exponential that overflows is infinite, and the quotient zero: right in the limit.
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def _tanh(x: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return 1 - 2 / (1 + np.exp(2 * x))
