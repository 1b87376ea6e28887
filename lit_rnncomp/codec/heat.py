"""Where the bits of a file went, as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..models.lapped import BLOCK
from .pixels import Pixels


def heat(bits: NDArray[np.float64], width: int, height: int) -> Pixels:
    """Bits of each block, `(rows, columns)`, as a picture `(height, width, 3)`: black, red, yellow, white, as a heated
    body, by their square root, and white where most of them went."""
    roots = np.sqrt(bits)
    shade = roots / max(float(roots.max()), 1e-9)
    colours = np.stack([np.clip(3 * shade - k, 0, 1) for k in range(3)], axis=-1)
    blocks = np.repeat(np.repeat(np.rint(255 * colours).astype(np.uint8), BLOCK, axis=0), BLOCK, axis=1)
    return np.ascontiguousarray(blocks[:height, :width])
