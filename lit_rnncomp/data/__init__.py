"""Photographs from disk to batches: reading, cropping, tiles, resumable order."""

from ..images import ImageError, list_images, read_image
from .samples import sample_photographs

__all__ = ["ImageError", "list_images", "read_image", "sample_photographs"]
