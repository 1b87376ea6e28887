"""How large a picture may be that is read here: Pillow's own rule."""

from __future__ import annotations

import math
import warnings

from PIL import Image


def check_size(pixels: int) -> None:
    """Raises `DecompressionBombError` above twice `PIL.Image.MAX_IMAGE_PIXELS`, warns above it."""
    limit = math.inf if Image.MAX_IMAGE_PIXELS is None else Image.MAX_IMAGE_PIXELS
    said = f"Image size ({pixels} pixels) exceeds limit of {limit:.0f} pixels" if pixels > limit else ""
    if pixels > 2 * limit:
        raise Image.DecompressionBombError(f"{said}, could be decompression bomb DOS attack.")
    if said:
        warnings.warn(f"{said}, could be decompression bomb DOS attack.", Image.DecompressionBombWarning, stacklevel=3)
