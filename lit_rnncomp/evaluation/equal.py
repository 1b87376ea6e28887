"""Several codecs on one picture at equal bytes."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from ..codec.binary_codec import BinaryCodec
from . import ladder
from .baselines import Baseline, Coded
from .ladder import Rung
from .neural import Neural

TOLERANCE = 0.02
"""Files are of equal bytes when the shortest is no more than this share shorter than the longest."""


def at_equal_bytes(image: Image.Image, codecs: Sequence[Baseline | Neural], max_bytes: int) -> list[Coded]:
    """A file of each codec, as equal in bytes as their settings allow: within `TOLERANCE` where they do.

    No file is longer than `max_bytes`, unless some codec has none that is so short: then all are about as long as its
    shortest one. Of a codec's settings the best within the common bytes is taken. Raises `ValueError` where a codec
    cannot code the picture.
    """
    iterations = [_iterations(codec, image) for codec in codecs]
    rungs = [_rungs(codec, image, coded) for codec, coded in zip(codecs, iterations, strict=True)]
    budget = common_bytes([steps for steps in rungs if steps], max_bytes, exact=all(rungs))
    found = []
    for codec, coded, steps in zip(codecs, iterations, rungs, strict=True):
        if coded:
            found.append(coded[int(ladder.best(steps, budget).setting)])
        else:
            found.append(codec.fit(image, budget))
    return found


def spread(coded: Sequence[Coded]) -> float:
    """By which share the shortest file is shorter than the longest."""
    sizes = [file.size for file in coded]
    return 1 - min(sizes) / max(sizes)


def common_bytes(ladders: Sequence[Sequence[Rung]], max_bytes: int, exact: bool) -> int:
    """The largest number of bytes, up to `max_bytes`, that the best files within it fill within `TOLERANCE`.

    Where there is none, the one down to half of `max_bytes` that they fill best.

    Args:
        ladders: the files of each codec that has settings in steps; others make files of any size.
        exact: every codec has such steps: then files may all be shorter than the bytes that they share.
    """
    budget = max([max_bytes, *(min(rung.size for rung in rungs) for rungs in ladders)])
    sizes = {rung.size for rungs in ladders for rung in rungs if budget / 2 <= rung.size <= budget}
    best, least = budget, 1.0
    for candidate in sorted({budget, *sizes}, reverse=True):
        filled = [size for rungs in ladders if (size := ladder.best(rungs, candidate).size) <= candidate]
        if len(filled) < len(ladders):
            continue
        longest = max(filled, default=candidate) if exact else candidate
        unequal = 1 - min(filled, default=candidate) / longest
        if unequal <= TOLERANCE:
            return candidate
        if unequal < least:
            best, least = candidate, unequal
    return best


def _iterations(codec: Baseline | Neural, image: Image.Image) -> list[Coded]:
    """The files of a model of binary codes, one an iteration; nothing of other codecs."""
    return list(codec.measure(image)) if isinstance(codec, Neural) and isinstance(codec.codec, BinaryCodec) else []


def _rungs(codec: Baseline | Neural, image: Image.Image, iterations: list[Coded]) -> Sequence[Rung]:
    """A codec's files of fixed sizes; nothing where it makes files of any size."""
    if iterations:
        return [Rung(k, coded.size, -k) for k, coded in enumerate(iterations)]
    if isinstance(codec, Baseline) and codec.setting == "quality":
        return ladder.ladder(codec, image)
    return ()
