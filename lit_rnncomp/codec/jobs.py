"""What `encode` and `decode` do with one file."""

from __future__ import annotations

import functools
import inspect
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import STDOUT, Output, read_input, write_bytes
from ..progress import Progress
from .batch import Done
from .names import ENDING, Pair

if TYPE_CHECKING:
    from .api import Codec
    from .pixels import Pixels


@dataclass(frozen=True)
class Encoding:
    """`encode` of a pair; `options` are arguments of `Codec.encode`, `kept` kinds of metadata by Pillow's names."""

    model: str | None
    device: str
    options: dict[str, Any]
    focus: str | None
    kept: list[str]
    force: bool

    def __call__(self, pair: Pair, progress: Progress) -> Done:
        from ..images import read_image
        from .container import parse

        photo, file = pair
        output = Output(file, photo, self.model, self.focus, force=self.force, ending=ENDING)
        codec = _codec(self.model, self.device)
        # What comes through a pipe comes once.
        data = read(photo) if photo == STDOUT or Path(photo).is_fifo() else None
        holds_metadata = "metadata" in inspect.signature(codec.encode).parameters
        kept = [kind for kind in self.kept if holds_metadata or kind != "alpha"]
        pixels, entries, notes = _pixels(photo if data is None else _stream(data), kept)
        height, width, _ = pixels.shape
        source = Path(photo).stat().st_size if data is None else len(data)
        del data
        for note in notes:
            print(f"note: {photo}: {note}", file=sys.stderr)
        given = self.options if self.focus is None else {**self.options, "focus": read_image(self.focus)}
        _check_options(codec, given)
        if holds_metadata:
            given = {**given, "metadata": entries}
        elif entries:
            lost = " and ".join(name.removesuffix("_profile") for name in entries)
            print(f"note: {photo}: files of the model {codec.name} hold no metadata: {lost} left out", file=sys.stderr)
        coded = codec.encode(pixels, **given, progress=progress)
        write_bytes(output, coded)
        size = len(coded)
        text = (
            f"{photo}: {width}x{height}, {source:,} bytes -> {file}: {size:,} bytes, "
            f"{8 * size / (width * height):.3f} bpp, "
            f"{source / size:.1f} times smaller, {3 * width * height / size:.0f}:1 against raw RGB"
        )
        values = {
            "photo": photo,
            "file": file,
            "width": width,
            "height": height,
            "source_bytes": source,
            "bytes": size,
            "bpp": 8 * size / (width * height),
            "iterations": len(parse(coded).iterations),
            "model": codec.name,
        }
        return Done(text, values)


@dataclass(frozen=True)
class Decoding:
    """`decode` of a pair; `options` are arguments of `Codec.decode`."""

    model: str | None
    device: str
    force: bool
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, pair: Pair, progress: Progress) -> Done:
        from .container import parse_header
        from .saving import format_for, save

        file, picture = pair
        data = read(file)
        with _naming(file):
            header, _ = parse_header(data)
        kind = format_for(picture, header.width, header.height, header.grey)
        output = Output(picture, file, self.model, force=self.force)
        with _naming(file):
            image = _decoder(self.model, self.device, data).decode(data, **self.options, progress=progress)
        size, notes = save(image, output, kind)
        for note in notes:
            print(f"note: {picture}: {note}", file=sys.stderr)
        text = f"{file}: {len(data):,} bytes -> {picture}: {image.width}x{image.height}, {size:,} bytes"
        values = {
            "file": file,
            "picture": picture,
            "width": image.width,
            "height": image.height,
            "bytes": len(data),
            "bpp": 8 * len(data) / (image.width * image.height),
        }
        return Done(text, values)


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """Raises a `ValueError` that names the file for one that does not."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"cannot decode {file}: {error}") from error


def read(file: str) -> bytes:
    """The bytes of a file, or of standard input for `-`. Raises `ValueError`."""
    if file != STDOUT:
        return read_input(file)
    data = sys.stdin.buffer.read()
    if not data:
        raise ValueError("cannot read standard input: it is empty")
    return data


def _pixels(source: str | io.BytesIO, kept: list[str]) -> tuple[Pixels, dict[str, bytes], list[str]]:
    """What is coded of a picture's file, entries of the `kept` kinds, and what is to be said of the rest. Pillow's
    copies of the picture are gone when this returns."""
    import numpy as np

    from ..images import read_photograph
    from .metadata import of_photograph

    photograph = read_photograph(source)
    image, entries = of_photograph(photograph, kept)
    notes = ["of its frames or pages the first is coded"] if photograph.more else []
    if laid_over := image.info.get("laid_over"):
        notes.append(f"transparency is laid over {laid_over}")
    return np.asarray(image), entries, notes


def _stream(data: bytes) -> io.BytesIO:
    stream = io.BytesIO(data)
    stream.name = "standard input"
    return stream


@functools.cache
def _codec(model: str | None, device: str) -> Codec:
    from .api import load

    return load(model, device)


def _decoder(model: str | None, device: str, data: bytes) -> Codec:
    from . import zoo
    from .api import load_for
    from .container import parse_header

    path = zoo.find_digest(parse_header(data)[0].model_digest) if model is None else model
    return load_for(data, device) if path is None else _codec(str(path), device)


def _check_options(codec: Codec, given: dict[str, Any]) -> None:
    """Raises `ValueError` for an option that the model's kind of codes does not have."""
    known = inspect.signature(codec.encode).parameters
    for name in given:
        if name not in known:
            flags = ", ".join(
                _flag(option) for option in known if option not in ("image", "step", "keep", "metadata", "progress")
            )
            raise ValueError(f"the model {codec.name} has no {_flag(name)}: its options are {flags}")


def _flag(name: str) -> str:
    return f"--{name.removeprefix('max_').replace('_', '-')}"
