"""BMP, and the icons made of it: a fourth channel that says nothing."""

from __future__ import annotations

from PIL import Image

FORMATS = {"BMP", "DIB", "ICO"}


def settle_alpha(image: Image.Image) -> Image.Image:
    """A picture that Pillow decoded, opaque where it is transparent everywhere: many programs declare an alpha channel
    and leave it at 0."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image
