"""`refiner.Refiner` in NumPy: from levels to coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import ternary
from .lapped import BLOCK, COEFFICIENTS, Floats
from .numpy_residual import NumpyResidual, Region
from .ternary import Levels


class NumpyRefiner(NumpyResidual):
    """`tensors`: weights by the names of `Refiner.state_dict`; `stages`: of the transform; `size`: of its blocks.
    Raises `ValueError` for a tensor that is missing or misshapen."""

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], dtype: DTypeLike = np.float32, stages: int = 1, size: int = BLOCK
    ) -> None:
        super().__init__(tensors, 2 * COEFFICIENTS, COEFFICIENTS, dtype, "the decoder's network", places=size > BLOCK)
        self._own = self.tensor("own.weight", COEFFICIENTS, 2, 1, 1).reshape(COEFFICIENTS, 2).T
        self._sizes = ternary.magnitudes().astype(dtype) / 16
        self._given = ternary.bands(stages).given

    def __call__(self, levels: Levels, t: int, tune: int, scale: int, split: NDArray[np.bool_] | None = None) -> Floats:
        """Coefficients in units of T_t, `(rows, columns, 192)`, of the levels after iteration `t`; `split`: of each
        block of 16x16, where the transform has such."""
        out = np.empty(levels.shape, self.dtype)
        for region, coefficients in self.regions(levels, t, tune, scale, split):
            out[region] = coefficients
        return out

    def regions(
        self, levels: Levels, t: int, tune: int, scale: int, split: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[Region, Floats]]:
        """The same in pieces, each with its rows and columns."""

        def see(region: Region) -> Floats:
            return np.concatenate(self._features(levels[region])[:2], axis=2)

        rows, columns, _ = levels.shape
        for region, added in self.run(see, rows, columns, t, tune, scale, split):
            yield region, self._coefficients(added, levels[region])

    def _features(self, level: Levels) -> tuple[Floats, Floats, Floats]:
        """What the network sees of levels, signed and unsigned, and their signs."""
        signs = np.sign(level).astype(self.dtype)
        size = self._sizes.take(np.abs(level))
        return size * signs, size, signs

    def _coefficients(self, out: Floats, level: Levels) -> Floats:
        """What is added to the middles, and these, in the place of what the last layer gives."""
        signed, _, signs = self._features(level)
        out += signs * self._own[0]
        signed *= self._own[1]
        out += signed
        self._limit(out, level)
        signs *= np.asarray(0.5, self.dtype)
        out += signs
        out += level
        return out

    def _limit(self, added: Floats, level: NDArray[Any]) -> None:
        """As `Refiner.limited`, in place."""
        share = np.abs(added)
        share /= np.asarray(ternary.REACH, self.dtype)
        np.multiply(share, np.asarray(ternary.REACH / ternary.REACH_AT_ZERO, self.dtype), out=share, where=level == 0)
        share[..., self._given] = 1
        added /= np.maximum(share.max(-1, keepdims=True), 1)
        added[..., self._given] = added[..., self._given].clip(-ternary.REACH_AT_ZERO, ternary.REACH_AT_ZERO)
