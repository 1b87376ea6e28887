"""Photoshop's files: which colours they are of."""

from __future__ import annotations

SIGNATURE = b"8BPS"

_MODE, _MULTICHANNEL = slice(24, 26), 7


def check(data: bytes) -> None:
    """Refuse what Pillow would read wrong: of several inks it takes the first one for grey. Raises `ValueError`."""
    if int.from_bytes(data[_MODE], "big") == _MULTICHANNEL:
        raise ValueError("its channels are inks of no known colour; convert the picture first")
