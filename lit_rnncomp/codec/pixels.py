"""What a codec takes for a picture, and how large a one it draws."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import Photograph, open_photograph, read_photograph
from .container import BitstreamError, Header

Pixels = NDArray[np.uint8]
Source = Any
"""What `as_pixels` takes; tensors of torch among them, which is not imported for a type."""

MEMORY = "LIT_RNNCOMP_MEMORY"
"""The variable of the environment that says how many GB (1e9 bytes) decoding a picture may take; `DEFAULT_MEMORY`
without it."""
DEFAULT_MEMORY = 4.0
TERNARY_BYTES, TERNARY_EXACT_BYTES = 80, 128
"""Of memory for each pixel of a picture in ternary codes, at most: in float32, and with `exact`."""


def opened(image: Any) -> Any:
    """A path, a binary file object or a PIL image as a `Photograph`, read once; anything else as it is. Warns of one
    that is the first of several frames or pages. Raises `ImageError`, `ValueError`."""
    if isinstance(image, (str, os.PathLike)) or hasattr(image, "read"):
        photograph = read_photograph(image)
    elif isinstance(image, Image.Image):
        photograph = open_photograph(image)
    else:
        return image
    if photograph.more:
        warnings.warn("the picture has several frames or pages: the first is coded", stacklevel=4)
    return photograph


def as_pixels(image: Any) -> Pixels:
    """`(H, W, 3)` uint8 of a picture.

    Args:
        image: a path or a binary file object; a PIL image, which is turned by its Exif orientation; a `Photograph`; or
            an array, or tensor of torch, uint8 `(H, W, 3)`, `(H, W)`, `(H, W, 1)` or `(3, H, W)`, with at least one
            pixel. An array that is both of the last ones, as `(3, W, 1)`, has its channels last.

    Raises:
        ImageError: a file cannot be read.
        ValueError: it is nothing of these, or a tensor in which both the first and the last axis may be the channels.
    """
    image = opened(image)
    if isinstance(image, Photograph):
        return np.asarray(image.over_white())
    array = image
    if hasattr(image, "detach"):  # a tensor, of which torch is not imported to ask
        array = image.detach().cpu().numpy()
    elif hasattr(image, "__array_interface__"):
        array = np.asarray(image)
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or not array.size:
        raise _not_a_picture(array)
    if array.ndim == 3 and array.shape[0] == 3:
        last = array.shape[2] in (1, 3)
        if last and hasattr(image, "detach"):
            raise ValueError(
                f"a tensor of shape {array.shape} is (H, W, {array.shape[2]}) or (3, H, W): "
                "pass an array of shape (H, W, 3)"
            )
        array = array if last else array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise _not_a_picture(array)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _not_a_picture(image: Any) -> ValueError:
    what = f"{image.dtype} array of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    return ValueError(
        "expected a PIL image or an (H, W, 3) uint8 array with at least one pixel (also a path, a file object, or "
        f"uint8 of shape (H, W) or (3, H, W)), got {what}"
    )


def as_bytes(data: Any) -> bytes:
    """The bytes of an `.rnnc` file, of any bytes-like object. Raises `ValueError` for anything else."""
    if isinstance(data, bytes):
        return data
    way_out = ""
    if isinstance(data, (str, os.PathLike)):
        way_out = f": pass Path({os.fspath(data)!r}).read_bytes()"
    elif hasattr(data, "read"):
        way_out = ": pass what its read() gives"
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise ValueError(f"expected the bytes of an .rnnc file, got {type(data).__name__}{way_out}") from None


def is_grey(array: Pixels) -> bool:
    """Whether all channels are equal everywhere: what a file's header says, so that its decoder draws no colour."""
    return bool((array == array[..., :1]).all())


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
