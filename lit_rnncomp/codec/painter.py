"""From what a decoder of ternary codes knows to a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..models import lapped, ternary
from ..models.lapped import BLOCK, PLANE, Floats
from ..models.numpy_post_filter import NumpyPostFilter
from ..models.numpy_refiner import NumpyRefiner
from ..models.ternary import SCALES
from . import ternary_weights
from .container import Ternary
from .pixels import Pixels
from .ternary_state import State


class Painter:
    """The networks of a model that draw. `tensors`: of the model; `stages`: of its transform; `size`: of its blocks;
    `dtype`: of all sums.

    Raises:
        ValueError: a tensor is missing or has another shape, or weights of coefficients are not positive.
    """

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], stages: int, size: int, dtype: DTypeLike = np.float32
    ) -> None:
        self.size = size
        self.refiner = NumpyRefiner(ternary_weights.part(tensors, "refiner."), dtype, stages, size)
        filter_ = ternary_weights.part(tensors, "filter.")
        self.filter = NumpyPostFilter(filter_, dtype) if filter_ else None
        self.tune_weights = ternary_weights.tune_weights(tensors)

    def draw(self, state: State, layout: Ternary, factors: NDArray[np.float32] | None, grey: bool) -> Pixels:
        """The picture of a state, of whole blocks. `factors`: by what coefficients of each block were multiplied,
        `(rows, columns, 1)`."""
        if self.filter is None:
            picture = lapped.synthesis(self._coefficients(state, layout, factors, grey), self.size, state.split)
            return np.repeat(picture[..., :1], 3, axis=2) if grey else picture
        samples = self._samples(self._coefficients(state, layout, factors, grey), state.split)
        steps = np.full((1, 1), ternary.threshold(state.t) / 2 ** (layout.scale / SCALES))
        if factors is not None:
            steps = steps / factors[..., 0]
        picture = np.empty(samples.shape, np.uint8)
        for region, filtered in self.filter(samples, steps, state.t, layout.tune, layout.scale):
            if grey:
                filtered = np.repeat(filtered @ lapped.LUMA.astype(filtered.dtype)[:, None], 3, axis=2)
            picture[region] = lapped.rounded(filtered)
        return picture

    def _coefficients(self, state: State, layout: Ternary, factors: NDArray[np.float32] | None, grey: bool) -> Floats:
        coefficients = state.refined(self.refiner, layout)
        weights = self.tune_weights[layout.tune] * 2 ** (layout.scale / SCALES)
        coefficients *= (ternary.threshold(state.t) / weights).astype(coefficients.dtype)
        if factors is not None:
            coefficients /= factors.astype(coefficients.dtype)
        if grey:
            coefficients[..., PLANE:] = 0
        return coefficients

    def _samples(self, coefficients: Floats, split: NDArray[np.bool_] | None) -> Floats:
        """Of whole blocks, `(H, W, 3)`, not rounded."""
        rows, columns, _ = coefficients.shape
        samples = np.empty((BLOCK * rows, BLOCK * columns, 3), coefficients.dtype)
        for band, part in lapped.synthesis_bands(coefficients, self.size, split):
            samples[band] = part
        return samples
