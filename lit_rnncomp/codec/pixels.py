"""What a codec takes for a picture, and how large a one it draws."""

from __future__ import annotations

import math
import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import to_rgb
from .container import BitstreamError, Header

Pixels = NDArray[np.uint8]

MEMORY = "LIT_RNNCOMP_MEMORY"
"""The variable of the environment that says how many GB (1e9 bytes) decoding a picture may take; `DEFAULT_MEMORY`
without it."""
DEFAULT_MEMORY = 4.0
TERNARY_BYTES, TERNARY_EXACT_BYTES = 80, 120
"""Of memory for each pixel of a picture in ternary codes, at most: in float32, and with `exact`."""


def as_pixels(image: Image.Image | Pixels) -> Pixels:
    """`(H, W, 3)` uint8 of a PIL image or such an array. Raises `ValueError` for anything else."""
    if isinstance(image, Image.Image):
        image = np.asarray(to_rgb(image))
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or not image.size
    ):
        what = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"expected a PIL image or an (H, W, 3) uint8 array with at least one pixel, got {what}")
    return image


def check_pixels(header: Header, multiple: int) -> None:
    """Refuse what Pillow would refuse, before anything is allocated. Raises `BitstreamError`.

    What counts is what is computed: sides rounded up to `multiple`.
    """
    limit = Image.MAX_IMAGE_PIXELS
    height, width = (-(-side // multiple) * multiple for side in (header.height, header.width))
    if limit is not None and height * width > 2 * limit:
        raise BitstreamError(
            f"the header claims {header.width}x{header.height} pixels, more than {2 * limit}; "
            "raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        )


def check_memory(width: int, height: int, multiple: int, a_pixel: int) -> None:
    """Refuse a picture whose decoding could take more than is allowed: a file of fifty bytes may claim any size, and an
    encoder writes none that is refused by default. Raises `BitstreamError`.

    `a_pixel`: bytes for each pixel, sides rounded up to `multiple`.
    """
    needed = a_pixel * math.prod(-(-side // multiple) * multiple for side in (width, height)) / 1e9
    if needed > allowed_memory():
        raise BitstreamError(
            f"{width}x{height} pixels may take {needed:.1f} GB of memory to decode, more than {allowed_memory():g}; "
            f"set {MEMORY}={math.ceil(needed)} in the environment if you trust it"
        )


def allowed_memory() -> float:
    """GB that decoding a picture may take. Raises `ValueError`."""
    text = os.environ.get(MEMORY) or DEFAULT_MEMORY
    try:
        allowed = float(text)
    except ValueError:
        allowed = math.nan
    if not allowed > 0:
        raise ValueError(f"{MEMORY}={text} in the environment is not a positive number of GB")
    return allowed
