"""A trained recurrent codec in the place of a baseline: measured after every iteration of one embedded stream."""

from __future__ import annotations

import functools
import importlib.metadata
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from .baselines import Coded

if TYPE_CHECKING:
    from ..codec.api import Codec


@dataclass(frozen=True)
class Neural:
    """The model `model` (a checkpoint, a weights file or a name of the zoo) on `device`, called `name` in results."""

    name: str
    model: str
    device: str = "cpu"
    setting = "iterations"

    @property
    def title(self) -> str:
        """How plots and tables call it."""
        return self.name

    def missing(self) -> None:
        """Nothing: a model that cannot be loaded is the caller's mistake and an error."""

    def versions(self) -> dict[str, str]:
        """Everything that decides the codec's bytes: its weights, this package, the library that computes."""
        from ..models.numpy_codec import NumpyCodec

        entropy = self.codec.entropy
        library = "numpy" if isinstance(self.codec.network, NumpyCodec) else "torch"
        return {
            "weights": self.codec.digest.hex(),
            "entropy_model": entropy.digest.hex() if entropy else "none",
            "lit-rnncomp": importlib.metadata.version("lit-rnncomp"),
            library: importlib.metadata.version(library),
            "device": self.device,
        }

    @property
    def codec(self) -> Codec:
        """The loaded codec; each process loads it once."""
        return _load(self.model, self.device)

    def measure(self, image: Image.Image) -> Iterator[Coded]:
        """Codes `image` once with all iterations and yields every prefix of the file with its picture."""
        start = time.perf_counter()
        data = self.codec.encode(image)
        encode_seconds = time.perf_counter() - start
        sizes, header = prefix_sizes(data)
        config = self.codec.network.config
        start = time.perf_counter()
        for k, picture in enumerate(self.codec.decode_progressive(data)):
            decode_seconds = time.perf_counter() - start
            nominal = (k + 1) * config.bits / config.code_stride**2
            yield Coded(k + 1, sizes[k], header + (k + 1) * _FRAMING, picture, encode_seconds, decode_seconds, nominal)

    def fit(self, image: Image.Image, max_bytes: int) -> Coded:
        """The longest prefix of at most `max_bytes`; the first iteration where even that is longer."""
        best = None
        for coded in self.measure(image):
            if best is not None and coded.size > max_bytes:
                break
            best = coded
        assert best is not None, "a stream holds at least one iteration"
        return best


_FRAMING = 8
"""Bytes of an `.rnnc` chunk that are not its payload: length and checksum."""


def prefix_sizes(data: bytes) -> tuple[list[int], int]:
    """File sizes after 1, 2, ... iterations of an `.rnnc` file, and the bytes of its header."""
    from ..codec import container

    _, head, chunks = container.parse(data)
    sizes, total = [], len(head)
    for chunk in chunks:
        total += container.chunk_size(len(chunk.payload))
        sizes.append(total)
    return sizes, len(head)


def named_models(models: list[str], device: str) -> list[Neural]:
    """Codecs from `M` or `NAME=M`. A model without a name is called after its file; equal names get -2, -3, ..."""
    codecs: list[Neural] = []
    for model in models:
        name, path = _name_and_path(model)
        taken = {codec.name for codec in codecs}
        unique = next(n for k in range(len(models) + 1) if (n := name if k == 0 else f"{name}-{k + 1}") not in taken)
        codecs.append(Neural(unique, path, device))
    return codecs


def _name_and_path(model: str) -> tuple[str, str]:
    """Splits `NAME=M`. Lightning's own names hold `=` too (`epoch=3-step=100.ckpt`): an existing file is not split."""
    name, equals, path = model.partition("=")
    if equals and path and "/" not in name and not Path(model).exists():
        return name, path
    return Path(model).stem, model


@functools.lru_cache(maxsize=4)
def _load(model: str, device: str) -> Codec:
    from ..codec.api import load

    return load(model, device)
