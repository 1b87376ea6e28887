"""The files of one photograph at one position of the slider: this codec's, and JPEG's and WebP's at its bytes."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..codec import container
from ..codec.api import Codec
from ..codec.heat import heat
from ..codec.ms_ssim import SMALLEST, Similarity
from ..codec.pixels import Pixels
from ..codec.ternary_codec import TernaryCodec
from ..codec.ternary_picture import Picture, Tune, decibel
from ..evaluation.baselines import BASELINES, Baseline
from ..models.ternary import ITERATIONS, SCALES
from .jobs import Job
from .photo import Photo

OURS, MAP = "ours", "map"
OTHERS = [BASELINES[name] for name in ("jpeg420", "webp") if BASELINES[name].missing() is None]
"""The codecs beside, whose very files a browser shows."""

_TYPES = {"JPEG": "image/jpeg", "WEBP": "image/webp"}


class Scale(NamedTuple):
    """What the slider goes through, from 1 to `last`: `quality` as in `encode -q`, or `iterations`; where it starts."""

    name: str
    last: int
    start: int


class Shown(NamedTuple):
    """A codec's file, and what a browser shows of it.

    `picture`: of the media type `kind`; without loss what the file decodes to, or the file itself. `psnr` in dB,
    `ms_ssim` None of a picture that is too small for it. A heat map has no file, and `most` bits in its whitest block.
    """

    file: bytes
    kind: str
    picture: bytes
    psnr: float | None = None
    ms_ssim: float | None = None
    setting: int | None = None
    most: float | None = None


def scale_of(codec: Codec) -> Scale:
    """Quality where a model is calibrated for it: one encoding a position, where a rate takes a search of several; and
    its rates are about as many times apart everywhere. Iterations of other models."""
    if isinstance(codec, TernaryCodec):
        return Scale("quality", 100, 50) if codec.qualities else Scale("iterations", ITERATIONS, ITERATIONS - 3)
    return Scale("iterations", codec.iterations, max(1, codec.iterations // 2))


class Coding:
    """A photograph and its files; the sizes of those of JPEG and WebP that were tried are remembered."""

    def __init__(self, codec: Codec, photo: Photo) -> None:
        self.codec, self.photo, self.scale = codec, photo, scale_of(codec)
        self.original = png(photo.pixels)
        self._sizes: dict[str, dict[int, int]] = {}

    def files(
        self, tune: Tune, position: int, names: list[str], known: dict[str, Shown], job: Job
    ) -> Iterator[tuple[str, Shown]]:
        """What is asked for by `names`, of which `ours` is the first, as soon as it is there; nothing that is known is
        computed again. Raises what `job` raises."""
        ours = known.get(OURS) or self.ours(tune, position, job)
        for name in names:
            job.check()
            if name == OURS:
                yield name, ours
            elif name in known:
                yield name, known[name]
            elif name == MAP:
                yield name, self.map(ours.file)
            else:
                yield name, self.other(BASELINES[name], len(ours.file), job)

    def ours(self, tune: Tune, position: int, job: Job) -> Shown:
        """This codec's file: the one that `encode -q POSITION --tune TUNE` makes of these pixels."""
        data, pixels = self._coded(tune, position, job)
        job.check()
        return self._shown(data, "image/png", png(pixels), pixels, position)

    def other(self, codec: Baseline, max_bytes: int, job: Job) -> Shown:
        """The file of the highest quality that is no longer than `max_bytes`; the shortest where all are longer.

        It is searched by halves, though sizes do not rise with quality everywhere: a file for each of a hundred
        qualities would take minutes.
        """
        image, sizes = Image.fromarray(self.photo.pixels), self._sizes.setdefault(codec.name, {})
        low, high = 1, 100
        while low < high:
            job.check()
            middle = (low + high + 1) // 2
            if middle not in sizes:
                sizes[middle] = len(codec.encode(image, middle))
            low, high = (middle, high) if sizes[middle] <= max_bytes else (low, middle - 1)
        data = codec.encode(image, low)
        job.check()
        return self._shown(data, _TYPES[codec.format], data, np.asarray(codec.decode(data)), low)

    def map(self, data: bytes) -> Shown:
        """Where the bits of a file of ternary codes went."""
        assert isinstance(self.codec, TernaryCodec)
        bits = self.codec.spent(data)
        return Shown(b"", "image/png", png(heat(bits, *self.photo.size)), most=float(bits.max()))

    def _coded(self, tune: Tune, position: int, job: Job) -> tuple[bytes, Pixels]:
        """A file, and what it decodes to."""
        if not isinstance(self.codec, TernaryCodec):
            data = self.codec.encode(self.photo.pixels, iterations=position, progress=job.progress)
            return data, np.asarray(self.codec.decode(data).convert("RGB"))
        picture = Picture(self.codec, self.photo.pixels, tune, progress=job.progress)
        quality = self.scale.name == "quality"
        data, state = picture.encode(self.codec.step_of(position) if quality else SCALES * (position - 1))
        # What its decoder draws, without decoding it.
        return data, self.codec.draw(container.parse(data), state)

    def _shown(self, data: bytes, kind: str, picture: bytes, pixels: Pixels, setting: int) -> Shown:
        error = np.square(pixels.astype(np.float32) - self.photo.pixels).mean(dtype=np.float64)
        similarity = self._similarity
        value = None if similarity is None else similarity(pixels)
        return Shown(data, kind, picture, decibel(float(error) / 255**2), value, setting)

    def forget(self) -> None:
        """Gives back the memory of what is quickly computed again."""
        self.__dict__.pop("_similarity", None)

    @functools.cached_property
    def _similarity(self) -> Similarity | None:
        return Similarity(self.photo.pixels) if min(self.photo.size) >= SMALLEST else None


def png(pixels: Pixels) -> bytes:
    """Without loss; quickly rather than short, since it goes no further than this machine."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
