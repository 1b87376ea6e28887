"""Ternary codes to bytes and back: the entropy model of `models.context_network` and the range coder of constriction.

The payload of an iteration is one byte for each group of coefficients, how many of it (low frequencies first) have a
code that is not 0 or a level that is not 0, and then little-endian 32-bit words of
`constriction.stream.queue.RangeEncoder` with model `Bernoulli(p / 65536)`, trailing zero bytes left out. They begin
with the codes of the second stage of the transform, where the model has one (`dc_coder`). Then, pass by pass
(`models.ternary.PASSES`), two coefficients of its group at a time (a segment), the words hold for each block and
coefficient whether the code is not 0, then for those that are not and whose level is 0 whether it is positive. After
any number of segments, and of rows of blocks of the next one, an iteration may end: it then says how many (`End`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from ..models import ternary
from ..models.context_network import Context, ContextNetwork
from ..models.lapped import Floats
from ..models.ternary import PASSES, SEGMENT, Codes, Levels
from . import symbols
from .container import CUT, ITERATION, BitstreamError, Chunk
from .dc_coder import Choose, DCCoder
from .ternary_state import State

_HEAD = len(ternary.groups())
_END = struct.Struct("<BI")

_BAND = 4096
"""Blocks whose codes are chosen at a time."""


class End(NamedTuple):
    """Where an iteration ends early: after some segments, and the blocks in the first `rows` rows of one more."""

    segments: int
    rows: int = 0

    @property
    def begun(self) -> int:
        """Segments of which something is sent."""
        return self.segments + (self.rows > 0)

    def blocks(self, segment: int, where: NDArray[np.bool_]) -> int:
        """How many of the blocks `where` are sent of a segment: those in raster order."""
        if segment == self.segments:
            return int(where[: self.rows].sum())
        return int(where.sum()) if segment < self.segments else 0

    def to_bytes(self) -> bytes:
        return _END.pack(*self)

    @classmethod
    def from_bytes(cls, data: bytes) -> End:
        """Raises `BitstreamError`."""
        if len(data) < _END.size:
            raise BitstreamError("an iteration that ends early does not say where")
        return cls(*_END.unpack_from(data))


class Iteration(NamedTuple):
    """One iteration on its way: its codes `(rows, columns, 192)`, which of them were sent (None: all), and its payload;
    with two stages coarse coefficients that have its codes."""

    codes: Codes
    sent: NDArray[np.bool_] | None
    payload: bytes
    coarse: Floats | None = None

    @property
    def active(self) -> tuple[int, ...]:
        """How many coefficients of each group it can have codes of."""
        return tuple(self.payload[:_HEAD])


class Mark(NamedTuple):
    """How much a coder knew."""

    iteration: int
    levels: Levels
    coarse: tuple[int, Levels] | None


class TernaryCoder:
    """Codes one picture, iteration by iteration. One object either encodes or decodes.

    `rows`, `columns`: blocks. `tune`, `scale`: see `models.ternary`. `first`: the first iteration; nothing before it
    has a code. `coarse`: the entropy model of the second stage, of a transform with two. `split`: of each block of
    16x16, `(rows / 2, columns / 2)`, of a transform with such.
    """

    def __init__(
        self,
        network: ContextNetwork,
        rows: int,
        columns: int,
        tune: int,
        scale: int,
        first: int = 0,
        coarse: ContextNetwork | None = None,
        split: NDArray[np.bool_] | None = None,
    ) -> None:
        self.context = Context(network, rows, columns, tune, scale, split)
        self.context.iteration = first
        self.dc = None if coarse is None else DCCoder(coarse, rows, columns, tune, scale)

    def state(self, t: int, before: Levels | None = None, sent: NDArray[np.bool_] | None = None) -> State:
        """What is known after iteration `t`, the last one; `before` and `sent` of one that ended early."""
        dc = None if self.dc is None else self.dc.known()
        return State(t, before, self.context.levels, sent, dc, self.context.split)

    def mark(self) -> Mark:
        """To come back to by `reset`."""
        coarse = None if self.dc is None else (self.dc.context.iteration, self.dc.context.levels.copy())
        return Mark(self.context.iteration, self.context.levels.copy(), coarse)

    def reset(self, mark: Mark) -> None:
        """Forget all since the mark."""
        self.context.iteration, self.context.levels = mark.iteration, mark.levels.copy()
        if self.dc is not None and mark.coarse is not None:
            self.dc.context.iteration, self.dc.context.levels = mark.coarse[0], mark.coarse[1].copy()

    def encode(
        self,
        codes: Codes,
        end: End | None = None,
        choose: Choose | None = None,
        active: tuple[int, ...] | None = None,
        coarse: Floats | None = None,
        choose_coarse: Choose | None = None,
    ) -> Iteration:
        """The payload of the next iteration's codes, or of those before `end`.

        `coarse`: the picture's coefficients of the second stage, of a transform with two; all their codes are sent, or
        what `choose_coarse` makes of them.
        `active`: how many coefficients of each group are sent (None: as many as needed).
        `choose(blocks, coefficients, codes, some, sign)` may replace, in `codes` itself, those `(blocks, active)` of
        some blocks (their rows and columns), given the probability that a code is not 0, in 65536ths, and whether its
        sign costs a bit.
        """
        context = self.context
        active = active or self._active(codes)
        encoder, segment = constriction.stream.queue.RangeEncoder(), 0
        if self.dc is not None and coarse is not None:
            self.dc.encode(encoder, coarse, context.iteration, choose_coarse)
        self._begin(active)
        sent = None if end is None else np.zeros(codes.shape, np.bool_)
        for index, where, chosen in self._passes(active):
            some, positive = context.probabilities(index)
            part, signs = codes[where][:, chosen], context.known_signs(index)
            if choose is not None:
                rows, columns = np.nonzero(where)
                for band in (slice(start, start + _BAND) for start in range(0, len(rows), _BAND)):
                    blocks = rows[band], columns[band]
                    part[band] = choose(blocks, chosen, part[band], some[band], signs[band] == 0)
                _assign(codes, where, chosen, part)
            for cut in _segments(len(chosen)):
                own = slice(None if end is None else end.blocks(segment, where)), cut
                segment += 1
                symbols.encode(encoder, part[own], some[own], positive[own], signs[own])
                if sent is not None:
                    _assign(sent, where, chosen[cut], True, own[0])
            context.put(index, part if sent is None else np.where(sent[where][:, chosen], part, 0))
            if end is not None and segment >= end.begun:
                break
        context.end(codes if sent is None else np.where(sent, codes, np.int8(0)))
        payload = bytes(active) + encoder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")
        return Iteration(codes, sent, payload, coarse)

    def information(self, codes: Codes, active: tuple[int, ...] | None = None) -> NDArray[np.float64]:
        """Bits that the codes of the next iteration cost, `(segments, rows of blocks)`; the coder stays where it is.

        (With two stages those of the second are not counted, and have to be known.)
        """
        context, active = self.context, active or self._active(codes)
        self._begin(active)
        bits = []
        for index, where, chosen in self._passes(active):
            some, positive = context.probabilities(index)
            part, signs = codes[where][:, chosen], context.known_signs(index)
            for cut in _segments(len(chosen)):
                own = symbols.information(part[:, cut], some[:, cut], positive[:, cut], signs[:, cut])
                bits.append(np.bincount(np.nonzero(where)[0], own, len(where)))
            context.put(index, part)
        return np.array(bits, np.float64).reshape(-1, len(codes))

    def read(self, chunk: Chunk, spent: NDArray[np.float64] | None = None) -> Iteration:
        """The next iteration of a file, a whole one or one that ends early; `spent` as for `decode`. Raises
        `BitstreamError`."""
        if chunk.kind == ITERATION:
            return self.decode(chunk.payload, spent=spent)
        if chunk.kind == CUT:
            return self.decode(chunk.payload[_END.size :], End.from_bytes(chunk.payload), spent)
        raise BitstreamError("an iteration is not one of ternary codes")

    def decode(self, payload: bytes, end: End | None = None, spent: NDArray[np.float64] | None = None) -> Iteration:
        """The next iteration from its payload; `end`: where it ends early (None: it does not).

        The bits of each block are added to `spent` `(rows, columns)`. Raises `BitstreamError`; levels are then as they
        were.
        """
        given = self.context.network.bands.given
        before = self.context.levels[..., given].copy()
        try:
            return self._decode(payload, end, spent)
        except BitstreamError:
            self.context.levels[..., given] = before
            raise

    def _decode(self, payload: bytes, end: End | None, spent: NDArray[np.float64] | None) -> Iteration:
        context = self.context
        if len(payload) < _HEAD:
            raise BitstreamError("an iteration is shorter than its list of active coefficients")
        active = tuple(payload[:_HEAD])
        if any(count > len(group) for count, group in zip(active, self._groups, strict=True)):
            raise BitstreamError(f"an iteration claims {active} active coefficients")
        if end is not None and (end == (0, 0) or end.rows >= context.rows):
            raise BitstreamError(f"an iteration claims to end after {end.segments} segments and {end.rows} rows")
        if context.iteration >= ternary.ITERATIONS:
            raise BitstreamError(f"the file goes on after iteration {ternary.ITERATIONS}")
        words = np.frombuffer(payload[_HEAD:] + bytes(-(len(payload) - _HEAD) % 4), "<u4").astype(np.uint32)
        decoder = constriction.stream.queue.RangeDecoder(words)
        codes = np.zeros(context.levels.shape, np.int8)
        sent = None if end is None else np.zeros(codes.shape, np.bool_)
        segment = 0
        try:
            if self.dc is not None:
                self.dc.decode(decoder, context.iteration, spent)
            self._begin(active)
            for index, where, chosen in self._passes(active):
                some, positive = context.probabilities(index)
                signs = context.known_signs(index)
                part = np.zeros(some.shape, np.int8)
                for cut in _segments(len(chosen)):
                    own = slice(None if end is None else end.blocks(segment, where)), cut
                    segment += 1
                    part[own] = symbols.decode(decoder, some[own], positive[own], signs[own])
                    if sent is not None:
                        _assign(sent, where, chosen[cut], True, own[0])
                _assign(codes, where, chosen, part)
                if spent is not None:
                    reached = 1.0 if sent is None else sent[where][:, chosen]
                    spent[where] += symbols.information(part, some, positive, signs, reached)
                context.put(index, part)
                if end is not None and segment >= end.begun:
                    break
        except AssertionError as error:
            raise BitstreamError("a payload is not a range coder's output") from error
        if end is not None and segment < end.begun:
            raise BitstreamError(
                f"an iteration claims {end.segments} segments and {end.rows} rows, there are {segment}"
            )
        coded = any(active) or self.dc is not None
        if not decoder.maybe_exhausted() if coded else len(payload) > _HEAD:
            raise BitstreamError("a payload goes on after its last code")
        context.end(codes)
        if sent is not None:
            sent[..., context.network.bands.given] = True
        return Iteration(codes, sent, payload, None if self.dc is None else self.dc.sent())

    def _begin(self, active: tuple[int, ...]) -> None:
        if self.dc is not None:
            self.context.give(self.dc.known())
        self.context.begin(active)

    def _active(self, codes: Codes) -> tuple[int, ...]:
        used = np.zeros(codes.shape[2], np.bool_)
        for row, level in zip(codes, self.context.levels, strict=True):
            used |= (row | level).any(0)
        return tuple(int(np.flatnonzero(used[group])[-1]) + 1 if used[group].any() else 0 for group in self._groups)

    def _passes(self, active: tuple[int, ...]) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.intp]]]:
        """Pass, its blocks, and its active coefficients; passes without any are left out."""
        odd = ternary.parity(*self.context.levels.shape[:2])
        for index, (group, parity) in enumerate(PASSES):
            if active[group]:
                yield index, odd == bool(parity), self._groups[group][: active[group]]

    @property
    def _groups(self) -> tuple[NDArray[np.intp], ...]:
        return self.context.network.bands.groups


def _segments(count: int) -> list[slice]:
    return [slice(start, start + SEGMENT) for start in range(0, count, SEGMENT)]


def _assign(
    target: NDArray[Any], where: NDArray[np.bool_], chosen: NDArray[np.intp], values: Any, blocks: slice = slice(None)
) -> None:
    rows, columns = np.nonzero(where)
    target[rows[blocks, None], columns[blocks, None], chosen[None]] = values
