"""A picture's coefficients as they are coded: transformed, weighted, with blocks split where that costs less."""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..models import dc_stage, lapped, ternary
from ..models.dc_stage import DC
from ..models.lapped import BLOCK, PLANE, Floats
from ..models.numpy_place import PARTS
from ..models.split import chosen
from ..models.ternary import SCALES
from . import focus
from .pixels import Pixels
from .ternary_model import TernaryModel

_QUARTER = SCALES // 4


class Transform(NamedTuple):
    """A picture's coefficients, weighted, `(rows, columns, 192)`; with two stages of the transform the second's; with
    blocks of 16x16 which of them are split, `(rows / 2, columns / 2)`."""

    target: Floats
    coarse: Floats | None
    split: NDArray[np.bool_] | None

    @property
    def largest(self) -> float:
        """The largest coefficient of the first stage."""
        return float(max(self.target.max(), -self.target.min()))

    @property
    def finest_scale(self) -> int:
        """The last scale at which all coefficients stay below 2 T_0, as codes need it: 255 but for saturated stripes
        and the like."""
        largest = max(self.largest, 1.0)
        if self.coarse is not None:
            largest = max(largest, np.abs(self.coarse).max() / 2**ternary.EXTRA)
        room = 2 * ternary.FIRST * 0.9999 / largest
        return bisect.bisect_right(range(SCALES), room, key=ternary.factor) - 1


class Transforms:
    """Of one picture, for files that end with any threshold. `cells`: of its `focus`, if it has one; `exact`: the same
    on every processor."""

    def __init__(
        self,
        model: TernaryModel,
        array: Pixels,
        tune: int,
        grey: bool,
        cells: NDArray[np.uint8] | None,
        exact: bool,
    ) -> None:
        self.model, self.array, self.tune = model, array, tune
        self.grey, self.cells, self.exact = grey, cells, exact
        self._last: tuple[int, Transform] | None = None

    def at(self, step: int) -> Transform:
        """For a file that ends with this step."""
        # Blocks are split alike for all thresholds in a quarter of an octave: a rate takes some tries.
        quarter = 0 if self.model.parts == 1 else round(step / _QUARTER)
        if self._last is None or self._last[0] != quarter:
            self._last = None  # as large as the next one
            self._last = quarter, self._made(float(np.float32(ternary.FIRST / 2 ** (quarter / 4))))
        return self._last[1]

    def _made(self, threshold: float) -> Transform:
        height, width = self.array.shape[:2]
        rows, columns = self.model.blocks(width, height)
        padded = np.pad(self.array, ((0, BLOCK * rows - height), (0, BLOCK * columns - width), (0, 0)), mode="edge")
        target, split = self._weighted(padded, None), None
        if self.model.parts > 1:
            quarters = self._weighted(padded, np.ones((rows // PARTS, columns // PARTS), np.bool_))
            split = chosen(target, quarters, threshold)
            for row, where in enumerate(split.repeat(PARTS, 0).repeat(PARTS, 1)):
                target[row, where] = quarters[row, where]
        coarse = None
        if self.model.stages == 2:
            coarse = dc_stage.analysis(target[..., DC])
            target[..., DC] = 0
        return Transform(target, coarse, split)

    def _weighted(self, padded: Pixels, split: NDArray[np.bool_] | None) -> Floats:
        model = self.model
        target = lapped.analysis(padded, exact=self.exact, size=model.size, split=split)
        target *= model.tune_weights[self.tune].astype(np.float32)
        if self.grey:
            target[..., PLANE:] = 0
        if self.cells is not None:
            rows, columns, _ = target.shape
            target *= focus.factors(self.cells, focus.CELL, rows, columns, model.parts)
        return target
