"""ICC profiles of colours that a file describes by numbers: primaries, white and a curve (ICC.1:2010)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]


class Chromaticities(NamedTuple):
    """CIE 1931 x and y of white and of the three primaries."""

    white: Point
    red: Point
    green: Point
    blue: Point


_D65 = (0.3127, 0.3290)
BT709 = Chromaticities(_D65, (0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_PAL = Chromaticities(_D65, (0.640, 0.330), (0.290, 0.600), (0.150, 0.060))
_NTSC = Chromaticities(_D65, (0.630, 0.340), (0.310, 0.595), (0.155, 0.070))
_BT2020 = Chromaticities(_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_DISPLAY_P3 = Chromaticities(_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_PRIMARIES = {1: BT709, 5: _PAL, 6: _NTSC, 7: _NTSC, 9: _BT2020, 12: _DISPLAY_P3}
_CURVES = {4: 2.2, 5: 2.8, 8: 1.0}
_LIKE_SRGB = {1, 2, 6, 11, 13, 14, 15}
"""Transfer characteristics of television are shown as those of sRGB, as browsers do."""
_BRIGHT = {16: "PQ", 18: "HLG"}
_UNSAID = 2

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def of_code_points(primaries: int, transfer: int) -> bytes | None:
    """The profile of colours that are named as in ITU-T H.273; None for those of sRGB, and for what is not said.

    Raises `ValueError` for others than of a screen: high dynamic range is no 8-bit picture.
    """
    if transfer in _BRIGHT:
        raise ValueError(f"its samples are of high dynamic range ({_BRIGHT[transfer]}); convert the picture first")
    points = BT709 if primaries == _UNSAID else _PRIMARIES.get(primaries)
    if points is None or transfer not in _LIKE_SRGB | set(_CURVES):
        raise ValueError(
            f"its colours (primaries {primaries}, transfer characteristics {transfer} of ITU-T H.273) have no rule; "
            "convert the picture first"
        )
    curve = _CURVES.get(transfer)
    return None if curve is None and points == BT709 else build(points, curve)


def build(points: Chromaticities, gamma: float | None = None) -> bytes:
    """An RGB profile of version 4. `gamma`: samples are light to the power of 1 / gamma; None: by the curve of
    sRGB. Raises `ValueError` for primaries that span nothing."""
    white, primaries = _xyz_of(points.white), [_xyz_of(point) for point in points[1:]]
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    matrix = np.array(primaries).T
    if abs(np.linalg.det(matrix)) < 1e-6:
        raise ValueError("its primaries are no colours")
    columns = adapted @ (matrix * np.linalg.solve(matrix, white))
    tags = {b"chad": b"sf32" + bytes(4) + _fixed(adapted.ravel())}
    tags |= {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)}
    return _assembled(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def build_grey(gamma: float) -> bytes:
    """As `build`, of grey."""
    return _assembled(b"GRAY", {b"kTRC": _curve(gamma)})


def _xyz_of(point: Point) -> NDArray[np.float64]:
    x, y = point
    if y <= 0:
        raise ValueError("its primaries are no colours")
    return np.array([x / y, 1, (1 - x - y) / y])


def _curve(gamma: float | None) -> bytes:
    """Parametric, of an exponent or that of sRGB (IEC 61966-2-1)."""
    if gamma is not None:
        return b"para" + bytes(8) + _fixed([gamma])
    return b"para" + bytes(4) + b"\0\3\0\0" + _fixed([2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045])


def _xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(encoded), 28) + encoded


def _fixed(values: Iterable[float]) -> bytes:
    numbers = [round(65536 * float(value)) for value in values]
    return struct.pack(f">{len(numbers)}i", *(min(max(number, -(2**31)), 2**31 - 1) for number in numbers))


def _assembled(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("as the file says"), b"cprt": _text("none"), b"wtpt": _xyz(_D50)} | tags
    at, table, body, places = 128 + 4 + 12 * len(tags), b"", b"", dict[bytes, int]()
    for name, value in tags.items():
        if value not in places:  # the three curves are one
            places[value] = at + len(body)
            body += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, places[value], len(value))
    head = struct.pack(">I4xI4s4s4s12x4s", at + len(body), 0x04200000, b"mntr", space, b"XYZ ", b"acsp")
    head += bytes(28) + _xyz(_D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
