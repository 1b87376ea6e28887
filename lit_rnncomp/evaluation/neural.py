"""A trained codec in the place of a baseline."""

from __future__ import annotations

import functools
import importlib.metadata
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..codec import container
from ..codec.api import Codec, load
from ..codec.binary_codec import BinaryCodec
from ..codec.rate import RateError
from ..codec.ternary_codec import TernaryCodec
from ..files import printable
from ..models.lapped import TUNES
from .baselines import Coded

STEPS = tuple(range(896, 2816, 128))
"""Of models with ternary codes: last thresholds half an octave apart, from some hundredths of a bit per pixel."""

_ENOUGH = 2.25
"""Bits per pixel beyond which no area and no table looks."""

_EVERY = 2432
"""The last threshold at which every picture is coded, whatever its rate: a mean over pictures ends where the first one
ends, and here the mean over photographs has passed 2 bits per pixel with every tune."""


@dataclass(frozen=True)
class Neural:
    """A model (a checkpoint, a weights file or a name of the zoo) on `device`, called `name` in the results.

    `tune`: of a model with ternary codes, None for its default.
    """

    name: str
    model: str
    device: str = "cpu"
    tune: str | None = None

    @property
    def setting(self) -> str:
        """What its points differ in: iterations of one embedded file, or thresholds, each with a file of its own."""
        return "iterations" if isinstance(self.codec, BinaryCodec) else "step"

    @property
    def settings(self) -> tuple[float, ...] | None:
        """What decides which points are measured: nothing of binary codes, which have one point an iteration."""
        return None if isinstance(self.codec, BinaryCodec) else (*STEPS, _EVERY, _ENOUGH)

    @property
    def title(self) -> str:
        """How plots and tables call it."""
        return self.name

    def missing(self) -> None:
        """Nothing: a model that cannot be loaded is the caller's mistake and an error."""

    def versions(self) -> dict[str, str]:
        """Everything that decides the codec's bytes: its weights, this package, the library that computes."""
        from ..models.numpy_codec import NumpyCodec

        codec = self.codec
        versions = {"weights": codec.digest.hex()}
        if isinstance(codec, BinaryCodec):
            library = "numpy" if isinstance(codec.network, NumpyCodec) else "torch"
            versions["entropy_model"] = codec.entropy.digest.hex() if codec.entropy else "none"
        else:
            library = "numpy"
            versions["tune"] = self.tune or "visual"
        versions["lit-rnncomp"] = importlib.metadata.version("lit-rnncomp")
        return {**versions, library: importlib.metadata.version(library), "device": self.device}

    def describe(self) -> dict[str, Any]:
        """What a record of a run says of the model."""
        config = {"config": self.codec.network.config.to_dict()} if isinstance(self.codec, BinaryCodec) else {}
        return {"file": printable(Path(self.model).name), **self.versions(), **config}

    @property
    def codec(self) -> Codec:
        """The loaded codec; each process loads it once."""
        return _load(self.model, self.device)

    def measure(self, image: Image.Image) -> Iterator[Coded]:
        """Of binary codes every prefix of one file with its picture, of ternary codes files at `STEPS`."""
        codec = self.codec
        if isinstance(codec, TernaryCodec):
            for step in STEPS:
                coded = self._coded(codec, image, step, step=step)
                yield coded
                if step >= _EVERY and 8 * coded.size > _ENOUGH * image.width * image.height:
                    return
            return
        start = time.perf_counter()
        data = codec.encode(image)
        encode_seconds = time.perf_counter() - start
        sizes, framing = prefix_sizes(data)
        config = codec.network.config
        start = time.perf_counter()
        for k, picture in enumerate(codec.decode_progressive(data)):
            decode_seconds = time.perf_counter() - start
            nominal = (k + 1) * config.bits / config.code_stride**2
            yield Coded(k + 1, sizes[k], framing[k], picture, encode_seconds, decode_seconds, nominal)

    def fit(self, image: Image.Image, max_bytes: int) -> Coded:
        """The best file of at most `max_bytes`; the smallest one where even that is longer."""
        codec = self.codec
        if isinstance(codec, TernaryCodec):
            try:
                return self._coded(codec, image, max_bytes, max_bytes=max_bytes)
            except RateError:
                return self._coded(codec, image, 0, step=0)
        best = None
        for coded in self.measure(image):
            if best is not None and coded.size > max_bytes:
                break
            best = coded
        assert best is not None, "a stream holds at least one iteration"
        return best

    def _coded(self, codec: TernaryCodec, image: Image.Image, setting: float, **target: Any) -> Coded:
        start = time.perf_counter()
        options: dict[str, Any] = {**target, **({"tune": self.tune} if self.tune else {})}
        data = codec.encode(image, **options)
        encoded = time.perf_counter()
        picture = codec.decode(data)
        header = len(container.parse_header(data)[1])
        return Coded(setting, len(data), header, picture, encoded - start, time.perf_counter() - encoded)


def prefix_sizes(data: bytes) -> tuple[list[int], list[int]]:
    """Of an `.rnnc` file after 1, 2, ... iterations: its bytes, and those of them that are not codes."""
    file = container.parse(data)
    sizes, framing, size, frames = [], [], len(file.head), len(file.head)
    for chunk in file.chunks:
        size, frames = size + chunk.size, frames + chunk.size - len(chunk.payload)
        sizes.append(size)
        framing.append(frames)
    return sizes, framing


def named_models(models: list[str], device: str) -> list[Neural]:
    """Codecs from `M`, `NAME=M` or, with ternary codes, `M@TUNE`. A model without a name is called after its file;
    equal names get -2, -3, ...

    Raises `ValueError` for a tune that there is not.
    """
    codecs: list[Neural] = []
    for model in models:
        name, path, tune = _parts(model)
        name = printable(name)
        taken = {codec.name for codec in codecs}
        unique = next(n for k in range(len(models) + 1) if (n := name if k == 0 else f"{name}-{k + 1}") not in taken)
        codecs.append(Neural(unique, path, device, tune))
    return codecs


def _parts(model: str) -> tuple[str, str, str | None]:
    """Name, model and tune. Lightning's own names hold `=` too (`epoch=3-step=100.ckpt`): a file that exists is never
    split."""
    if Path(model).exists():
        return Path(model).stem, model, None
    name, equals, path = model.partition("=")
    if not (equals and path and "/" not in name):
        name, path = "", model
    path, at, tune = path.rpartition("@")
    if not at:
        return name or Path(tune).stem, tune, None
    if tune not in TUNES:
        raise ValueError(f"--model {model}: there is no tune {tune!r}, only {', '.join(TUNES)}")
    return name or f"{Path(path).stem}-{tune}", path, tune


@functools.lru_cache(maxsize=4)
def _load(model: str, device: str) -> Codec:
    return load(model, device)
