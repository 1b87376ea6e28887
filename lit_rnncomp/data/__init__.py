"""Photographs from disk to batches: reading, cropping, tiles, resumable order."""

from lit_rnncomp.data.samples import sample_photographs
from lit_rnncomp.images import ImageError, list_images, read_image

__all__ = ["ImageError", "list_images", "read_image", "sample_photographs"]
