"""Pictures are listed and read by `lit_rnncomp.images`; this is the name under which programs know it."""

from ..images import ImageError, list_images, read_image

__all__ = ["ImageError", "list_images", "read_image"]
