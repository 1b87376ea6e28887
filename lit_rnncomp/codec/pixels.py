"""What a codec takes for a picture, and how large a one it draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import to_rgb
from .container import BitstreamError, Header

Pixels = NDArray[np.uint8]


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
