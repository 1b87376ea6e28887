"""Coder 1: the learned entropy model and a range coder.

Probabilities come from `entropy_network`, in integers; the range coder is that of the package constriction. A chunk
holds the bits of one iteration in the order of `entropy_schedule.fronts`, as little-endian 32-bit words of
`constriction.stream.queue.RangeEncoder` with model `Bernoulli(p / 65536)`, trailing zero bytes left out. A chunk that
would not be shorter than plain bits is stored as plain bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import constriction
import numpy as np
from numpy.typing import NDArray

from .coders import Codes, RawCoder
from .container import PLAIN, BitstreamError, Chunk
from .digest import fingerprint
from .entropy_network import Context, EntropyModelError, IntegerBinaryRNN
from .entropy_schedule import fronts, order, rows

if TYPE_CHECKING:
    from ..models.binary_rnn import BinaryRNN

_Bernoulli = constriction.stream.model.Bernoulli(perfect=False)


class EntropyCoder:
    """A trained entropy model, in integers: a factory of coders for pictures.

    `tensors` and `config` are what `BinaryRNN.integers` returns. Raises `EntropyModelError` when they do not fit
    together.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], config: Mapping[str, Any]) -> None:
        if not isinstance(config, Mapping):
            raise EntropyModelError(f"the configuration of the entropy model is {config!r:.50}, not an object")
        self.tensors = dict(tensors)
        self.config = dict(config)
        self.network = IntegerBinaryRNN(self.tensors, self.config)
        self.digest = fingerprint(self.config, self.tensors, "<i4")

    @classmethod
    def from_model(cls, model: BinaryRNN) -> EntropyCoder:
        """The integers of a network, whether or not it was trained with rounding."""
        tensors, config = model.integers()
        return cls({name: tensor.numpy() for name, tensor in tensors.items()}, config)

    @property
    def bits(self) -> int:
        """Bits per position and iteration."""
        return self.network.bits

    @property
    def iterations(self) -> int:
        """The most iterations that are coded with the model; later ones are stored as plain bits."""
        return self.network.iterations

    def picture(self, rows: int, columns: int) -> LearnedCoder:
        """The coder of one picture of `rows` times `columns` positions."""
        return LearnedCoder(self.network, rows, columns)

    def encode(self, codes: NDArray[np.int8] | Sequence[Codes]) -> list[Chunk]:
        """One chunk for each iteration of `codes` `(T, bits, rows, columns)` in {-1, +1}."""
        coder = self.picture(*codes[0].shape[1:])
        return [coder.encode(iteration) for iteration in codes]

    def decode(self, chunks: Iterable[Chunk], rows: int, columns: int) -> NDArray[np.int8]:
        """The codes `(T, bits, rows, columns)` of the first `T` chunks of a picture. Raises `BitstreamError`."""
        coder = self.picture(rows, columns)
        codes = [coder.decode(chunk) for chunk in chunks]
        return np.stack(codes) if codes else np.zeros((0, self.bits, rows, columns), np.int8)

    def information(self, codes: NDArray[np.int8] | Sequence[Codes]) -> NDArray[np.float64]:
        """Bits that the model's own probabilities assign to each iteration of `codes`: what an ideal coder would
        need."""
        coder = self.picture(*codes[0].shape[1:])
        bits = []
        for iteration in codes:
            positive, probabilities = coder.observe(iteration)
            bits.append(-np.log2(np.where(positive, probabilities, 65536 - probabilities) / 65536).sum())
        return np.array(bits)


class LearnedCoder:
    """Codes one picture, iteration by iteration; the iterations before are its context.

    Codes are `(bits, rows, columns)` in {-1, +1}. One object either encodes or decodes.
    """

    def __init__(self, network: IntegerBinaryRNN, rows: int, columns: int) -> None:
        self.network = network
        self.rows, self.columns = rows, columns
        self._raw = RawCoder(network.bits, rows, columns)
        self._order = order(rows, columns)
        self._context = Context(network, rows, columns)
        self._next = 0

    def encode(self, codes: Codes) -> Chunk:
        """The shorter of the coded and the plain chunk."""
        if self._next >= self.network.iterations:
            return self._raw.encode(codes)._replace(kind=PLAIN)
        positive, probabilities = self.observe(codes)
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(
            positive[self._order].reshape(-1).astype(np.int32), _Bernoulli, _floats(probabilities[self._order])
        )
        payload = encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
        if len(payload) >= self._raw.payload_bytes:
            return self._raw.encode(codes)._replace(kind=PLAIN)
        return Chunk(payload)

    def decode(self, chunk: Chunk) -> Codes:
        """Raises `BitstreamError` for a payload that `encode` cannot have written; others give some codes, in bounded
        time."""
        if chunk.kind == PLAIN:
            codes = self._raw.decode(chunk)
            if self._next < self.network.iterations:
                self._begin()
                self._context.put_all(codes.transpose(1, 2, 0))
            return codes
        if len(chunk.payload) >= self._raw.payload_bytes:
            raise BitstreamError(
                f"a coded chunk of {len(chunk.payload)} bytes where plain bits need {self._raw.payload_bytes}"
            )
        if self._next >= self.network.iterations:
            raise BitstreamError(
                f"coded chunk {self._next + 1}, but the entropy model has {self.network.iterations} iterations"
            )
        self._begin()
        words = np.frombuffer(chunk.payload + bytes(-len(chunk.payload) % 4), "<u4").astype(np.uint32)
        decoder = constriction.stream.queue.RangeDecoder(words)
        try:
            for front in fronts(self.rows, self.columns):
                probabilities = self._context.probabilities(front)
                bits = decoder.decode(_Bernoulli, _floats(probabilities))
                self._context.put(front, (2 * bits - 1).reshape(probabilities.shape))
        except AssertionError as error:
            raise BitstreamError("a chunk's payload is not a range coder's output") from error
        if not decoder.maybe_exhausted():
            raise BitstreamError("a chunk's payload goes on after its last bit")
        return np.ascontiguousarray(self._context.codes().transpose(2, 0, 1))

    def observe(self, codes: Codes) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Take the next iteration's codes as known: which are +1, and the probability of that times 65536; `(rows *
        columns, bits)`.

        An encoder asks row by row, a decoder front by front; both get the same integers.
        """
        if codes.shape != (self.network.bits, self.rows, self.columns):
            raise ValueError(f"codes are {codes.shape}, not {(self.network.bits, self.rows, self.columns)}")
        self._begin()
        known = codes.transpose(1, 2, 0)
        self._context.put_all(known)
        probabilities = np.concatenate([self._context.probabilities(row) for row in rows(self.rows, self.columns)])
        return known.reshape(-1, self.network.bits) > 0, probabilities

    def _begin(self) -> None:
        """Fold the iteration before into the context: late, so that the last one of a file is never folded."""
        if self._next:
            self._context.advance()
        self._next += 1


def _floats(probabilities: NDArray[np.int32]) -> NDArray[np.float32]:
    """What constriction takes; k / 65536 is exact in float32."""
    return probabilities.reshape(-1).astype(np.float32) / np.float32(65536)
