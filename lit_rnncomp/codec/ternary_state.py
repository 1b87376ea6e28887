"""What a decoder of ternary codes knows of a picture after an iteration, or a part of one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..models.dc_stage import DC
from ..models.lapped import Floats
from ..models.numpy_refiner import NumpyRefiner
from ..models.ternary import Levels
from .container import Ternary


class State(NamedTuple):
    """Levels after iteration `t`; where it ended early, those before and which coefficients it reached; with two
    stages of the transform what is known of DC coefficients, `(rows, columns, 3)` in T_t; with blocks of 16x16 which of
    them are split, `(rows / 2, columns / 2)`."""

    t: int
    before: Levels | None
    after: Levels
    sent: NDArray[np.bool_] | None
    dc: Floats | None = None
    split: NDArray[np.bool_] | None = None

    def refined(self, refiner: NumpyRefiner, layout: Ternary) -> Floats:
        """Coefficients in units of T_t."""
        coefficients = self._refined(refiner, layout)
        if self.dc is not None:
            # Their levels are these, rounded: what the network adds to the middle of an interval, it adds to them.
            level = self.after[..., DC]
            coefficients[..., DC] += (self.dc - level - 0.5 * np.sign(level)).astype(coefficients.dtype)
        return coefficients

    def _refined(self, refiner: NumpyRefiner, layout: Ternary) -> Floats:
        if self.sent is None or self.before is None:
            return refiner(self.after, self.t, layout.tune, layout.scale, self.split)
        # Of an iteration that ended early: what it reached as if all the rest had codes of 0, and the rest as it was
        # before.
        levels = 2 * self.before
        np.copyto(levels, self.after, where=self.sent)
        known = refiner(levels, self.t, layout.tune, layout.scale, self.split)
        del levels  # as large as all that is known of the picture
        if not self.t:
            return np.where(self.sent, known, np.zeros_like(known))
        earlier = refiner.regions(self.before, self.t - 1, layout.tune, layout.scale, self.split)
        for region, before in earlier:
            known[region] = np.where(self.sent[region], known[region], 2 * before)
        return known
