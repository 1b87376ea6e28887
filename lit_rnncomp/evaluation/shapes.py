"""The shapes of the JSON in a results folder: a damaged or foreign file is named before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Shape = Callable[[Any], bool] | list[Any] | dict[Any, Any]
"""A function says whether a value will do. `[shape]` is a list of such values, of one at least; `{str: shape}` an
object of such values; `{"key": shape, "other?": shape}` one with these keys, the second perhaps, and maybe more."""

LARGEST = 1e300
"""No number is larger: neither infinite nor a whole number that no float can hold."""


def text(value: Any) -> bool:
    return isinstance(value, str)


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def positive(value: Any) -> bool:
    return number(value) and value > 0


def number_or_none(value: Any) -> bool:
    return value is None or number(value)


_POINT: Shape = {
    "setting": number,
    "bytes": positive,
    "header_bytes": number_or_none,
    "bpp": positive,
    "nominal_bpp": number_or_none,
    "encode_seconds": number,
    "decode_seconds": number,
    "metrics": {str: number_or_none},
}
MEASUREMENT: Shape = {
    "codec": text,
    "title": text,
    "setting": text,
    "versions": {str: text},
    "machine": {str: text},
    "points": [_POINT],
}
PICTURE: Shape = {"name": text, "width": positive, "height": positive, "sha256": text, "codecs": {str: MEASUREMENT}}
_MODEL: Shape = {"tune?": text, "config?": {"unit": text, "reconstruction": text, "layers?": text}}
RUN: Shape = {
    "format": number,
    "data": text,
    "pictures": [text],
    "pictures_found?": number,
    "codecs": [text],
    "models": {str: _MODEL},
    "metrics": [text],
    "machine": {"processor": text, "cores": text, "python": text},
    "finished": text,
}
CURVES: Shape = {
    "format": number,
    "data": text,
    "pictures": [text],
    "models": {str: _MODEL},
    "areas": {str: {str: {"auc": number, "auc_file": number}}},
    "curves": {str: {str: {"bpp": [positive], "quality": [number]}}},
}


def check(value: Any, shape: Shape, place: str = "") -> None:
    """Compares a value out of JSON, which is at `place`, with its shape.

    Raises:
        ValueError: it or a value in it has another; the message names the place and the value.
    """
    if not (shape(value) if callable(shape) else isinstance(value, type(shape)) and (value or isinstance(value, dict))):
        raise ValueError(f"{place or 'its content'} is {_shortened(value)}")
    if isinstance(shape, list):
        parts = [(str(k), part, shape[0]) for k, part in enumerate(value)]
    elif isinstance(shape, dict):
        parts = _named(value, shape, place)
    else:
        return
    for key, part, of in parts:
        check(part, of, f"{place}.{key}" if place else key)


def _named(value: dict[str, Any], shape: dict[Any, Any], place: str) -> list[tuple[str, Any, Shape]]:
    """The parts of an object that have a shape."""
    if str in shape:
        return [(key, part, shape[str]) for key, part in value.items()]
    missing = next((key for key in shape if key not in value and not key.endswith("?")), None)
    if missing:
        raise ValueError(f"{place or 'it'} has no {missing!r}")
    keys = {key.removesuffix("?"): of for key, of in shape.items()}
    return [(key, value[key], of) for key, of in keys.items() if key in value]


def _shortened(value: Any) -> str:
    written = json.dumps(value)
    return written if len(written) <= 40 else f"{written[:40]}..."
