"""Every file that a classical codec makes of one picture, so that the best within a number of bytes is known and not
searched.

A file's size does not rise with the quality asked for everywhere: of flat graphics a finer setting is often the shorter
file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

QUALITIES = tuple(range(1, 101))


class Codec(Protocol):
    """A classical codec, as `baselines.Baseline` is."""

    def __hash__(self) -> int:
        """Of what it is: files are remembered by it."""

    @property
    def name(self) -> str:
        """What an error calls it."""

    def encode(self, image: Image.Image, setting: float) -> bytes:
        """The whole file. Raises `ValueError` for a setting that this picture does not allow."""

    def decode(self, data: bytes) -> Image.Image:
        """The picture in it."""


class Rung(NamedTuple):
    """One setting: bytes of its file, and the mean squared error of its picture over RGB."""

    setting: float
    size: int
    error: float


def ladder(codec: Codec, image: Image.Image) -> tuple[Rung, ...]:
    """A rung for every quality from 1 to 100 of the RGB `image`; those of the last few pictures are remembered.

    Settings that the codec cannot code are left out. Raises `ValueError` when it can code none.
    """
    return _qualities(codec, image.size, image.tobytes())


def best(rungs: Sequence[Rung], max_bytes: int) -> Rung:
    """The least error among files of at most `max_bytes`, the shorter of two as good; the shortest file where none is
    that short."""
    fitting = [rung for rung in rungs if rung.size <= max_bytes]
    if not fitting:
        return min(rungs, key=lambda rung: (rung.size, rung.error))
    return min(fitting, key=lambda rung: (rung.error, rung.size))


def rungs(codec: Codec, image: Image.Image, settings: Iterable[float]) -> tuple[Rung, ...]:
    """Codes `image` at each of the settings. Raises `ValueError` when the codec can code none of them."""
    pixels, found, reason = np.asarray(image, dtype=np.float32), [], None
    for setting in settings:
        try:
            data = codec.encode(image, setting)
        except ValueError as error:
            reason = error
            continue
        squares = np.square(np.asarray(codec.decode(data), dtype=np.float32) - pixels)
        found.append(Rung(setting, len(data), float(squares.mean(dtype=np.float64))))
    if not found:
        raise reason or ValueError(f"{codec.name} has no setting to try")
    return tuple(found)


@functools.lru_cache(maxsize=16)
def _qualities(codec: Codec, size: tuple[int, int], pixels: bytes) -> tuple[Rung, ...]:
    return rungs(codec, Image.frombytes("RGB", size, pixels), QUALITIES)
