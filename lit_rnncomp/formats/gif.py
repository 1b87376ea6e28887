"""GIF: a first frame that is smaller than the picture."""

from __future__ import annotations

import io

from PIL import Image

SIGNATURES = (b"GIF87a", b"GIF89a")


def decode(data: bytes) -> Image.Image:
    """The first frame, in its place; what is around it is transparent, as everywhere else that GIF is shown. (Pillow
    gives it the first colour of the palette where the file has no transparent one.)"""
    with Image.open(io.BytesIO(data), formats=["GIF"]) as image:
        frame = image.tile[0].extents if image.tile else None  # type: ignore[attr-defined]
        image.load()
        if frame is None or frame == (0, 0, *image.size) or image.has_transparency_data:
            return image
        alpha = Image.new("L", image.size, 0)
        alpha.paste(255, frame)
        placed = image.convert("RGBA")
        placed.putalpha(alpha)
        return placed
