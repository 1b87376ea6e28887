"""What a decoder of ternary codes knows of a picture after an iteration, or a part of one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..models.lapped import Floats
from ..models.numpy_refiner import NumpyRefiner
from ..models.ternary import Levels
from .container import Ternary


class State(NamedTuple):
    """Levels after iteration `t`; where it ended early, those before and which coefficients it reached."""

    t: int
    before: Levels | None
    after: Levels
    sent: NDArray[np.bool_] | None

    def refined(self, refiner: NumpyRefiner, layout: Ternary) -> Floats:
        """Coefficients in units of T_t."""
        if self.sent is None or self.before is None:
            return refiner(self.after, self.t, layout.tune, layout.scale)
        # Of an iteration that ended early: what it reached as if all the rest had codes of 0, and the rest as it was
        # before.
        levels = 2 * self.before
        np.copyto(levels, self.after, where=self.sent)
        known = refiner(levels, self.t, layout.tune, layout.scale)
        del levels  # as large as all that is known of the picture
        if not self.t:
            return np.where(self.sent, known, np.zeros_like(known))
        for rows, before in refiner.bands(self.before, self.t - 1, layout.tune, layout.scale):
            known[rows] = np.where(self.sent[rows], known[rows], 2 * before)
        return known
