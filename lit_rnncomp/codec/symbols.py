"""Ternary codes as binary decisions, those that are sent together: first which are not 0, then the signs that no level
tells."""

from __future__ import annotations

from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from ..models.ternary import Codes
from .bits import costs

_Bernoulli = constriction.stream.model.Bernoulli(perfect=False)

Probabilities = NDArray[np.uint16]


class _Symbols(NamedTuple):
    """Binary decisions in the order of the file, and the probability of each that it is 1, in 65536ths."""

    happened: NDArray[np.bool_]
    probability: Probabilities


def encode(encoder: Any, codes: Codes, some: Probabilities, positive: Probabilities, signs: NDArray[np.int8]) -> None:
    """Append codes `(blocks, coefficients)` to constriction's encoder.

    `some`, `positive`: probabilities that a code is not 0, and that one that is not is positive; `signs`: of levels, 0
    where the sign is sent.
    """
    fresh = (codes != 0) & (signs == 0)
    symbols = _Symbols(
        np.concatenate([(codes != 0).ravel(), codes[fresh] > 0]), np.concatenate([some.ravel(), positive[fresh]])
    )
    encoder.encode(symbols.happened.astype(np.int32), _Bernoulli, _floats(symbols.probability))


def decode(decoder: Any, some: Probabilities, positive: Probabilities, signs: NDArray[np.int8]) -> Codes:
    """The inverse of `encode`."""
    codes = decoder.decode(_Bernoulli, _floats(some)).astype(np.int8).reshape(some.shape)
    fresh = (codes != 0) & (signs == 0)
    if fresh.any():
        codes[fresh] = 2 * decoder.decode(_Bernoulli, _floats(positive[fresh])).astype(np.int8) - 1
    return np.where(signs == 0, codes, codes * signs)


def information(
    codes: Codes, some: Probabilities, positive: Probabilities, signs: NDArray[np.int8], reached: Any = 1.0
) -> NDArray[np.float64]:
    """Bits of the codes of each block, of those that were `reached`."""
    bits = _cost(codes != 0, some) + _cost(codes > 0, positive) * ((codes != 0) & (signs == 0))
    total: NDArray[np.float64] = (bits * reached).sum(1)
    return total


def _cost(happened: NDArray[np.bool_], probability: Probabilities) -> NDArray[np.float64]:
    return costs()[np.where(happened, probability, np.int32(65536) - probability)]


def _floats(probabilities: Probabilities) -> NDArray[np.float32]:
    """What constriction takes; k / 65536 is exact in float32."""
    return probabilities.reshape(-1).astype(np.float32) / np.float32(65536)
