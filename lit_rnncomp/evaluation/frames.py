"""Decoded pictures that `evaluate` keeps of a few test pictures, without loss: for the strip and the report."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..picture_formats import write_picture
from .records import ResultsError
from .results import Results, flat_name

LONGEST_WEBP = 16383
"""Pixels of the longest side that the format can say."""


def frames_name(picture: str) -> Path:
    """The folder of one test picture's frames, inside that of the results."""
    return Path("frames") / flat_name(picture)


def frames_folder(results: Results, picture: str) -> Path | None:
    """Where the decoded pictures of one test picture lie; None when no frames of every model were kept."""
    folder = results.folder / frames_name(picture)
    models = results.models
    return folder if models and all((folder / model / "complete").exists() for model in models) else None


def write_frame(path: Path, picture: Image.Image) -> None:
    """Writes `path` with the ending `.webp`, the fast way, or `.png` where WebP holds no picture of that size; whole or
    not at all."""
    if max(picture.size) <= LONGEST_WEBP:
        write_picture(path.with_name(f"{path.name}.webp"), picture, "WEBP", lossless=True, quality=0, method=0)
    else:
        write_picture(path.with_name(f"{path.name}.png"), picture, "PNG", compress_level=1)


def frame_file(path: Path) -> Path:
    """The file that `write_frame(path, ...)` wrote."""
    webp = path.with_name(f"{path.name}.webp")
    return webp if webp.exists() else path.with_name(f"{path.name}.png")


def open_frame(path: Path) -> Image.Image:
    """What `write_frame(path, ...)` kept. Raises `ResultsError` when it is gone."""
    try:
        return Image.open(frame_file(path)).convert("RGB")
    except OSError:
        raise ResultsError(f"the kept picture {frame_file(path)} cannot be read: evaluate again") from None
