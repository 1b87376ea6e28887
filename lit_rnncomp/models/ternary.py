"""Ternary codes: what is known of a coefficient after some iterations, and in which order codes are sent.

Thresholds halve from iteration to iteration: `T_t = 2048 / 2**t`. The code of a coefficient is the sign of its residual
where that exceeds `T_t` and 0 where not, and moves the estimate by `T_t`:

    r = x - y        c = sign(r) if |r| >= T_t else 0        y <- y + T_t c

The *level* `y / T_t` is an integer: the whole multiples of `T_t` in x, towards zero. So codes are the binary digits of
|x|, most significant first, with the sign of x, and a level l says that |x| lies in `[|l| T_t, (|l| + 1) T_t)`.

The 192 coefficients of a block form three groups (luma's lowest, the rest of luma, chroma), blocks a checkerboard; an
iteration is sent in six passes, for each group the even blocks and then the odd ones. Where DC coefficients go through
a second stage of the transform (`dc_stage`), its 48 coefficients of a block of blocks are sent in their place, in six
passes before the others. Groups, their order and the thresholds are part of the file format: a change of any of them
is a new version of it.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .dc_stage import COARSE, DC, SIDE
from .lapped import BLOCK, COEFFICIENTS

ITERATIONS = 11
EXTRA = 2
"""Coarse coefficients are up to four times as large as DC coefficients: their codes begin so many iterations earlier,
at `T_-2`. A file's first iteration has them all."""
FIRST = 2048.0
"""T_0. Coefficients, weighted and scaled, stay below 2 T_0."""
SCALES = 256
"""A file's scale s in 0..255 multiplies coefficients by `2**(s / 256)`, so that any rate is met at the end of an
iteration."""
EMBEDDINGS = 4
"""Scales that an entropy model or a decoder tells apart, to an octave."""
PASSES = tuple((group, parity) for group in range(3) for parity in range(2))
SEGMENT = 2
"""Coefficients that are sent together: a file can end after any segment."""

_LOW = 10
_COARSE_LOW = 4

Levels = NDArray[np.int16]
Codes = NDArray[np.int8]


def threshold(t: int) -> float:
    """T_t, from t = -2 on."""
    return FIRST / 2**t


def factor(scale: int) -> float:
    """By what a file's scale multiplies coefficients: a value of float32, which no library's power decides in its last
    bit."""
    return float(np.float32(2 ** (scale / SCALES)))


class Bands(NamedTuple):
    """What is sent of a block, or of a block of blocks: groups of its coefficients, low frequencies first. `given` are
    known from elsewhere, and have codes of 0."""

    coefficients: int
    iterations: int
    groups: tuple[NDArray[np.intp], ...]
    given: NDArray[np.intp]


@cache
def bands(stages: int = 1) -> Bands:
    """Of the blocks of a transform with one stage, or with two."""
    given = DC[: 0 if stages == 1 else None]
    sent = tuple(group[~np.isin(group, given)] for group in groups())
    return Bands(COEFFICIENTS, ITERATIONS, sent, given)


@cache
def coarse_bands() -> Bands:
    """Of the blocks of blocks of the second stage: luma's four lowest, the rest of luma, chroma."""
    return Bands(COARSE, ITERATIONS + EXTRA, _grouped(SIDE, _COARSE_LOW), DC[:0])


@cache
def groups() -> tuple[NDArray[np.intp], ...]:
    """The coefficients of each group, low frequencies first; in chroma Cb and Cr take turns."""
    return _grouped(BLOCK, _LOW)


def _grouped(side: int, lowest: int) -> tuple[NDArray[np.intp], ...]:
    """Of three planes of `side` x `side` frequencies: luma's lowest, the rest of luma, chroma."""
    place = np.arange(side**2)
    order = np.lexsort((place, place // side + place % side))
    chroma = np.stack([side**2 + order, 2 * side**2 + order], 1).ravel()
    return order[:lowest], order[lowest:], chroma


def levels(x: NDArray[Any], t: int, scale: int = 0) -> Levels:
    """The levels of coefficients `x`, scaled, before iteration `t`: whole multiples of T_{t-1}."""
    out = np.empty(x.shape, np.int16)
    units = x.dtype.type(factor(scale) * 0.5 / threshold(t))
    for row in range(len(x)):  # a row at a time: as large as the picture would be only the result
        out[row] = x[row] * units
    return out


def digits(x: NDArray[Any], level: Levels, t: int, scale: int = 0) -> Codes:
    """The codes of coefficients `x`, scaled, in iteration `t`, from the levels before it."""
    out = np.empty(x.shape, np.int8)
    for row, before in enumerate(level):
        out[row] = (levels(x[row : row + 1], t + 1, scale) - 2 * before)[0]
    return out


def advance(level: Levels, codes: Codes) -> None:
    """Makes levels those after the iteration with these codes, in their place: they are large."""
    level *= 2
    level += codes


@cache
def magnitudes() -> NDArray[np.int8]:
    """What a network sees of a level's size, by that size: 8 log2(1 + size), between powers of two linear.
    `(16385,)`."""
    size = np.arange(1, 2 * int(FIRST) * SIDE + 2)
    octave = np.frexp(size)[1] - 1
    return (8 * octave + ((8 * size) >> octave) - 8).astype(np.int8)


REACH_AT_ZERO, REACH = 1.25, 0.75
"""How far from the middle of its interval a decoder's network may put a coefficient, in thresholds: where its level is
0, and where not. What lies beyond the interval is an error; a quarter of a threshold is left."""


def embedding(t: int, scale: int) -> int:
    """Which of the embeddings of an iteration is used at a scale."""
    return t * EMBEDDINGS + scale * EMBEDDINGS // SCALES


def parity(rows: int, columns: int) -> NDArray[np.bool_]:
    """True at the odd blocks of the checkerboard. `(rows, columns)`."""
    return (np.arange(rows)[:, None] + np.arange(columns)[None]) % 2 == 1


assert sum(len(group) for group in groups()) == COEFFICIENTS
