"""The codes of the second stage of the transform (`models.dc_stage`): each iteration begins with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import dc_stage, ternary
from ..models.context_network import Context, ContextNetwork
from ..models.lapped import Floats
from ..models.ternary import EXTRA, PASSES, Codes
from . import symbols

Blocks = tuple[NDArray[np.intp], NDArray[np.intp]]
Choose = Callable[[Blocks, NDArray[np.intp], Codes, NDArray[np.uint16], NDArray[np.bool_]], Codes]
_Pass = tuple[int, NDArray[np.bool_], NDArray[np.intp]]


class DCCoder:
    """Codes the coarse coefficients of one picture of `rows` x `columns` blocks, down to the threshold of each
    iteration of its file. One object either encodes or decodes."""

    def __init__(self, network: ContextNetwork, rows: int, columns: int, tune: int, scale: int) -> None:
        self.rows, self.columns = rows, columns
        self.context = Context(network, *dc_stage.shape(rows, columns), tune, scale)

    def encode(self, encoder: Any, coarse: Floats, t: int, choose: Choose | None = None) -> None:
        """The codes of iteration `t`, in which `choose` may replace some, and of all before it that were not sent."""
        context = self.context
        while context.iteration <= t + EXTRA:
            codes = ternary.digits(coarse, context.levels, context.iteration - EXTRA, context.scale)
            for index, where, chosen in self._passes():
                rows, columns = np.nonzero(where)
                part, signs = codes[where][:, chosen], context.known_signs(index)
                some, positive = context.probabilities(index)
                if choose is not None and context.iteration == t + EXTRA:
                    part = choose((rows, columns), chosen, part, some, signs == 0)
                    codes[rows[:, None], columns[:, None], chosen] = part
                symbols.encode(encoder, part, some, positive, signs)
                context.put(index, part)
            context.end(codes)

    def decode(self, decoder: Any, t: int, spent: NDArray[np.float64] | None = None) -> None:
        """The inverse; their bits are added to `spent` `(rows, columns)`, a block's share of those of its block of
        blocks."""
        context = self.context
        bits = np.zeros(context.levels.shape[:2])
        while context.iteration <= t + EXTRA:
            codes = np.zeros(context.levels.shape, np.int8)
            for index, where, chosen in self._passes():
                some, positive = context.probabilities(index)
                signs = context.known_signs(index)
                part = symbols.decode(decoder, some, positive, signs)
                rows, columns = np.nonzero(where)
                codes[rows[:, None], columns[:, None], chosen] = part
                if spent is not None:
                    bits[where] += symbols.information(part, some, positive, signs)
                context.put(index, part)
            context.end(codes)
        if spent is not None:
            spent += self._spread(bits)

    def known(self) -> NDArray[np.float64]:
        """DC coefficients as the codes so far tell them, `(rows, columns, 3)`, in thresholds of the last iteration;
        exact."""
        return dc_stage.synthesis(self._middles(), self.rows, self.columns)

    def sent(self) -> NDArray[np.float64]:
        """Coarse coefficients that have the codes so far."""
        t = self.context.iteration - 1 - EXTRA
        return self._middles() * (ternary.threshold(t) / ternary.factor(self.context.scale))

    def _middles(self) -> NDArray[np.float64]:
        levels = self.context.levels.astype(np.float64)
        return levels + 0.5 * np.sign(levels)

    def _passes(self) -> Iterator[_Pass]:
        groups = self.context.network.bands.groups
        self.context.begin(tuple(len(group) for group in groups))
        odd = ternary.parity(*self.context.levels.shape[:2])
        for index, (group, parity) in enumerate(PASSES):
            yield index, odd == bool(parity), groups[group]

    def _spread(self, bits: NDArray[np.float64]) -> NDArray[np.float64]:
        side = dc_stage.SIDE
        row, column = np.arange(self.rows) // side, np.arange(self.columns) // side
        return (bits / np.outer(np.bincount(row), np.bincount(column)))[row[:, None], column]
