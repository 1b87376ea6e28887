"""Colour profiles: which are sRGB anyway, and those of grey, inks and L*a*b* applied."""

from __future__ import annotations

import functools
import io
from contextlib import suppress

import numpy as np
from PIL import Image

_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}


def fits(profile: bytes, mode: str) -> bool:
    """Whether a profile is one for pictures of a mode."""
    return profile[36:40] == b"acsp" and profile[16:20] == _SPACES.get(mode)


@functools.lru_cache(16)
def differs_from_srgb(profile: bytes) -> bool:
    """Whether colours of an RGB profile look different when they are taken as sRGB. False for a profile that cannot be
    applied."""
    if not fits(profile, "RGB"):
        return False
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(36, 6, 3)
    with suppress(Exception):
        seen = np.asarray(_to_srgb(Image.fromarray(colours), profile))
        # Profiles of sRGB itself are rounded differently.
        return bool(np.abs(seen.astype(int) - colours).max() > 3)
    return False


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture of grey or inks in sRGB; a grey one stays grey. Itself where the profile is broken or one of other
    colours."""
    if image.mode in ("L", "CMYK") and fits(profile, image.mode):
        with suppress(Exception):
            converted = _to_srgb(image, profile)
            return converted.getchannel("G") if image.mode == "L" else converted
    return image


def rgb_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An RGB picture with a profile as the nearest colours of sRGB; itself where the profile cannot be applied."""
    with suppress(Exception):
        return _to_srgb(image, profile)
    return image


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """A picture in L*a*b* of the white D50 in sRGB."""
    from PIL import ImageCms

    lab = ImageCms.createProfile("LAB", 5000)
    converted = ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None
    return converted
