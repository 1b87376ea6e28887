"""The encoder's side of ternary codes: one picture, coded to any threshold, and the search for a quality."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..models import ternary
from ..models.lapped import TUNES, Floats
from ..models.ternary import ITERATIONS, SCALES, Codes
from ..progress import Progress, silent
from . import bits, container, focus, metadata, split_map
from .container import Chunk, Header, Ternary, Writer
from .dc_coder import Blocks, Choose
from .ms_ssim import Similarity
from .pixels import Pixels, is_grey
from .rate import FILL, meet_quality, meet_size
from .ternary_model import TernaryModel
from .ternary_state import State
from .ternary_transform import Transforms
from .truncation import Truncation

Tune = Literal["psnr", "visual"]

FINEST = ITERATIONS * SCALES - 1
"""Steps are last thresholds: that of step k is 2048 / 2**(k / 256)."""

# What a bit is worth, in squared thresholds: see "encoder decisions" in the zoo's README.
_MULTIPLIER = 0.15

_ROWS = 64
"""Of a picture that are compared at a time."""


class Encoded(NamedTuple):
    """A file, and what its decoder knows in the end."""

    data: bytes
    state: State


class Picture:
    """One picture, ready to be encoded at any threshold; `exact`: to the same bytes on every processor."""

    def __init__(
        self,
        model: TernaryModel,
        array: Pixels,
        tune: Tune,
        mask: Image.Image | Pixels | None = None,
        entries: Mapping[str, bytes] | None = None,
        progress: Progress = silent,
        exact: bool = False,
    ) -> None:
        self.progress, self.exact = progress, exact
        self.model, self.array, self.tune = model, array, TUNES.index(tune)
        height, width = array.shape[:2]
        self.pixels = height * width
        self.metadata = metadata.to_bytes(entries or {})
        self.grey = is_grey(array)
        self.cells = None
        if mask is not None:
            self.cells = focus.of_mask(_mask(mask, width, height), *model.blocks(width, height))
        self._transforms = Transforms(model, array, self.tune, self.grey, self.cells, exact)

    def significant(self) -> NDArray[np.int64]:
        """How many coefficients reach the threshold of each step, `(FINEST + 1,)`."""
        counts, (target, coarse, _) = np.zeros(FINEST + 2, np.int64), self._transforms.at(FINEST // 2)
        for row in (*target, *(() if coarse is None else coarse.astype(np.float32))):
            if self.exact:
                steps = np.searchsorted(-_thresholds(), -np.abs(row)).ravel()
            else:
                with np.errstate(divide="ignore"):
                    steps = np.ceil(SCALES * np.log2(ternary.FIRST / np.abs(row))).ravel()
            counts += np.bincount(np.clip(steps, 0, FINEST + 1).astype(np.intp), minlength=FINEST + 2)
        return np.cumsum(counts[: FINEST + 1])

    def encode(self, step: int) -> Encoded:
        """The file whose last threshold is that of `step`, or the next coarser one that the picture allows."""
        last, scale = divmod(step, SCALES)
        transform = self._transforms.at(step)
        scale = min(scale, transform.finest_scale)
        largest = np.array([transform.largest], np.float32)
        first = next((t for t in range(last) if ternary.levels(largest, t + 1, scale).any()), last)
        height, width = self.array.shape[:2]
        header = Header(
            container.TERNARY, width, height, self.model.digest, Ternary(self.tune, scale, first), self.grey
        )
        chunks = []
        if self.metadata:
            chunks.append(Chunk(self.metadata, container.METADATA))
        if self.cells is not None:
            chunks.append(Chunk(focus.to_bytes(self.cells), container.SCALES))
        splits = None
        if transform.split is not None and transform.split.any():
            splits = split_map.to_bytes(transform.split)
            chunks.append(Chunk(splits, container.SPLITS))
        writer, coder = Writer(header), self.model.coder(header, splits)
        for chunk in chunks:
            writer.append(chunk)
        for t in range(first, last + 1):
            codes = ternary.digits(transform.target, coder.context.levels, t, scale)
            codes[..., coder.context.network.bands.given] = 0
            chosen = [self._chosen(x, SCALES * last + scale) if t == last else None for x in transform[:2]]
            # Only the payload is kept: codes are as large as the picture.
            payload = coder.encode(codes, choose=chosen[0], coarse=transform.coarse, choose_coarse=chosen[1]).payload
            writer.append(Chunk(payload))
            self.progress(t - first + 1, last - first + 1)
        return Encoded(writer.data, coder.state(last))

    def _chosen(self, target: Floats | None, step: int) -> Choose | None:
        return None if target is None else functools.partial(_thrifty, target, step, self.exact)

    def fill(self, budget: float) -> bytes:
        """The longest file found within a number of bytes. Raises `RateError` when even the coarsest is longer."""
        files: dict[bytes, int] = {}

        def coded(step: int) -> bytes:
            data = self.encode(step).data
            files[data] = step
            return data

        best = meet_size(coded, self.significant(), budget, self.pixels)
        finer = files[best] + SCALES
        if len(best) < FILL * budget and finer <= FINEST:
            # Sizes leap where an octave of thresholds ends: a part of one more iteration takes what is left.
            best = max(best, Truncation(self.model, self.encode(finer).data).cut(max_bytes=int(budget)), key=len)
        return best

    def reach(self, target: float, quality: Any, unit: str, slope: float) -> bytes:
        """The smallest file found with at least a quality; with a warning the finest where none has it."""
        if not math.isfinite(target):
            raise ValueError(f"{target} {unit} is no number that a picture can reach")
        files: dict[int, bytes] = {}

        def measured(step: int) -> float:
            encoded = self.encode(step)
            files[step] = encoded.data
            value = float(quality(self.model.draw(container.parse(encoded.data), encoded.state, self.exact)))
            # Of a logarithm the last digits are the library's.
            return round(value, 6) if self.exact else value

        step = meet_quality(measured, target, round(FINEST * 0.6), FINEST, slope, 0.1)
        if step is None:
            warnings.warn(
                f"no file of this picture reaches {target:g} {unit}: it is coded as finely as can be", stacklevel=4
            )
        return files[FINEST if step is None else step]

    def psnr(self, picture: Pixels) -> float:
        """Of a decoded picture, in dB."""
        total = 0.0  # of whole numbers, exact in any order
        for band in (slice(top, top + _ROWS) for top in range(0, len(picture), _ROWS)):
            errors = picture[band].astype(np.float32) - self.array[band]
            total += float(np.square(errors, out=errors).sum(dtype=np.float64))
        return decibel(total / picture.size / 255**2)

    def ms_ssim(self, picture: Pixels) -> float:
        """Of a decoded picture, in dB. Raises `ValueError` for one that is too small."""
        return decibel(1 - self._similarity(picture))

    @functools.cached_property
    def _similarity(self) -> Similarity:
        return Similarity(self.array)


def _thrifty(
    target: Floats,
    step: int,
    exact: bool,
    blocks: Blocks,
    chosen: NDArray[np.intp],
    codes: Codes,
    some: NDArray[np.uint16],
    sign: NDArray[np.bool_],
) -> Codes:
    """Zeroes a code that costs more bits than its error is worth.

    `some`: the probability that a code is not 0, in 65536ths; `sign`: whether its sign costs a bit more.
    """
    more = bits.more(some) if exact else np.log2(65536 / some.astype(np.float32) - 1)
    size = np.abs(target[blocks][:, chosen]) * np.float32(2 ** (step / SCALES) / ternary.FIRST)
    # A code that is not 0 puts the coefficient at about 1.4 thresholds.
    gained = size**2 - (size - 1.4) ** 2
    wasted = sign & (gained < _MULTIPLIER * (more + sign))
    return np.where(wasted, 0, codes).astype(np.int8)


@functools.cache
def _thresholds() -> NDArray[np.float32]:
    """Of each step, falling. `(FINEST + 1,)`."""
    return (ternary.FIRST / 2 ** (np.arange(FINEST + 1) / SCALES)).astype(np.float32)


def _mask(mask: Image.Image | Pixels, width: int, height: int) -> Pixels:
    array = np.asarray(mask.convert("L")) if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.shape != (height, width) or array.dtype != np.uint8:
        raise ValueError(
            f"the focus mask is {array.dtype}{array.shape}, the picture wants grey values of {width}x{height} pixels"
        )
    return array


def decibel(error: float) -> float:
    """Of a squared error relative to the peak's square, or of a dissimilarity; 100 dB at most."""
    return -10 * math.log10(max(error, 1e-10))
