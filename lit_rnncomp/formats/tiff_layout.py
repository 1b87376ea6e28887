"""How the pixels of a TIFF file are stored."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from .ifd import Directory


class Photometric(IntEnum):
    """What the samples mean."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6
    LAB = 8
    ICCLAB = 9


_CHANNELS: dict[int, int] = {
    Photometric.WHITE_IS_ZERO: 1,
    Photometric.BLACK_IS_ZERO: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.CMYK: 4,
    Photometric.YCBCR: 3,
    Photometric.LAB: 3,
    Photometric.ICCLAB: 3,
}


class Layout(NamedTuple):
    """`bits` of each sample; `alpha`: the place of the channel that says how opaque a pixel is, None without one."""

    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    compression: int
    predictor: int
    fill_order: int
    planar: bool
    tiles: bool
    alpha: int | None
    premultiplied: bool

    @property
    def channels(self) -> int:
        """Samples of a pixel that are colours."""
        return _CHANNELS[self.photometric]

    @property
    def weight(self) -> int:
        """Eight bytes of samples that a pixel has, at least 1."""
        return -(-self.samples * self.bits // 64)


def read_layout(directory: Directory) -> Layout:
    """By its tags. Raises `ValueError` for a file that has no rule."""

    def one(tag: int, default: int | None = None) -> int:
        values = directory.integers(tag)
        if values:
            return values[0]
        if default is None or tag in directory.entries:
            raise ValueError(f"its tag {tag} is missing or damaged")
        return default

    width, height, photometric, samples = one(256), one(257), one(262), one(277, 1)
    if photometric not in _CHANNELS:
        raise ValueError(f"TIFF's photometric interpretation {photometric} has no rule; convert the picture first")
    if not width or not height or not 1 <= samples <= 64:
        raise ValueError(f"it claims {width}x{height} pixels of {samples} samples")
    reduced = one(254, 0) & 1 and (330 in directory.entries or directory.followed)
    if 50706 in directory.entries or reduced:
        raise ValueError("its first picture is a preview of another one; convert the picture first")
    if one(332, 1) != 1 and photometric == Photometric.CMYK:
        raise ValueError("its inks are not cyan, magenta, yellow and black")
    bits = directory.integers(258) or (1,)
    if len(set(bits)) > 1:
        raise ValueError(f"its samples have {', '.join(map(str, bits))} bits; convert the picture first")
    formats = set(directory.integers(339)) or {1}
    if not formats <= {1, 4} and photometric not in (Photometric.LAB, Photometric.ICCLAB):
        kind = "floating-point" if formats & {3, 6} else "signed" if formats & {2, 5} else "unknown"
        raise ValueError(f"its samples are {kind} numbers, of which no range is known; convert the picture first")
    extra = directory.integers(338)
    channels = _CHANNELS[photometric]
    if samples < channels:
        raise ValueError(f"{samples} samples a pixel are too few for photometric interpretation {photometric}")
    if not extra and photometric == Photometric.RGB and samples == 4:
        extra = (2,)  # as old programs leave it
    # 999 is Corel Draw's for 2.
    opaque = [index for index, kind in enumerate(extra[: samples - channels]) if kind in (1, 2, 999)]
    return Layout(
        width,
        height,
        bits[0],
        samples,
        photometric,
        one(259, 1),
        one(317, 1),
        one(266, 1),
        one(284, 1) == 2 and samples > 1,
        322 in directory.entries,
        channels + opaque[0] if opaque else None,
        bool(opaque) and extra[opaque[0]] == 1,
    )
