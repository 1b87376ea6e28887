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

from ..files import STDOUT, Output, picture_format, replacing, write_bytes
from ..progress import Progress
from .batch import Done
from .names import ENDING, Pair

if TYPE_CHECKING:
    from .api import Codec

FLAGS = {
    name: "--" + name.replace("max_bytes", "bytes").replace("_", "-")
    for name in ("quality", "bpp", "max_bytes", "psnr", "ms_ssim", "iterations", "tune", "focus", "coder", "model")
} | {"partial=True": "--partial", "exact=True": "--exact"}
"""What the Python API calls an argument, and a command line."""


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
        from ..images import read_image, read_metadata
        from .container import parse

        photo, file = pair
        output = Output(file, photo, self.model, self.focus, force=self.force, ending=ENDING)
        codec = _codec(self.model, self.device)
        data = _standard_input() if photo == STDOUT else None
        image = read_image(photo if data is None else _stream(data))
        given = self.options if self.focus is None else {**self.options, "focus": read_image(self.focus)}
        _check_options(codec, given)
        known = inspect.signature(codec.encode).parameters
        if "metadata" in known and self.kept:
            found = read_metadata(photo if data is None else _stream(data))  # type: ignore[arg-type]
            given = {**given, "metadata": {name: found[name] for name in self.kept if name in found}}
        with in_flags():
            coded = codec.encode(image, **given, progress=progress)
        write_bytes(output, coded)
        source = Path(photo).stat().st_size if data is None else len(data)
        pixels, size = image.width * image.height, len(coded)
        text = (
            f"{photo}: {image.width}x{image.height}, {source:,} bytes -> {file}: {size:,} bytes, "
            f"{8 * size / pixels:.3f} bpp, "
            f"{source / size:.1f} times smaller, {3 * pixels / size:.0f}:1 against raw RGB"
        )
        values = {
            "photo": photo,
            "file": file,
            "width": image.width,
            "height": image.height,
            "source_bytes": source,
            "bytes": size,
            "bpp": 8 * size / pixels,
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
        from .metadata import KINDS

        file, picture = pair
        data = read(file)
        kind = "PNG" if picture == STDOUT else picture_format(picture)
        output = Output(picture, file, self.model, force=self.force)
        with in_flags(f"cannot decode {file}: "):
            image = _decoder(self.model, self.device, data).decode(data, **self.options, progress=progress)
        with replacing(output) as temporary:
            image.save(temporary, kind, **{name: value for name, value in image.info.items() if name in KINDS})
            size = temporary.stat().st_size
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


def read(file: str) -> bytes:
    """The bytes of a file, or of standard input for `-`. Raises `ValueError`."""
    if file == STDOUT:
        return _standard_input()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error


@contextmanager
def in_flags(prefix: str = "") -> Iterator[None]:
    """An error of the Python API in the words of the command line: `max_bytes=20` is `--bytes 20`."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(prefix + flagged(str(error))) from error


def flagged(message: str) -> str:
    """A message of the Python API, arguments named as on a command line."""
    for name, flag in FLAGS.items():
        message = message.replace(name, flag) if "=" in name else message.replace(f"{name}=", f"{flag} ")
    return message


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


def _standard_input() -> bytes:
    data = sys.stdin.buffer.read()
    if not data:
        raise ValueError("cannot read standard input: it is empty")
    return data


def _stream(data: bytes) -> io.BytesIO:
    stream = io.BytesIO(data)
    stream.name = "standard input"
    return stream


def _check_options(codec: Codec, given: dict[str, Any]) -> None:
    """Raises `ValueError` for an option that the model's kind of codes does not have."""
    known = inspect.signature(codec.encode).parameters
    for name in given:
        if name not in known:
            flag = FLAGS.get(name, f"--{name}")
            options = ", ".join(FLAGS[option] for option in known if option in FLAGS)
            raise ValueError(f"the model {codec.name} has no {flag}: its options are {options}")
