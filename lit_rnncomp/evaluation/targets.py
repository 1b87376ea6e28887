"""How well targets are met: every picture of a folder coded to rates and qualities.

    python -m lit_rnncomp.evaluation.targets PICTURES --bpp 0.1 0.25 0.5 1 2 --psnr 30 36 --ms-ssim 12 16

For each target the least and the mean share of the bytes that a rate allows which files use, or the largest excess of a
quality over what was asked for, and the mean seconds of an encode.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..codec.api import load
from ..codec.ms_ssim import Similarity
from ..codec.ternary_codec import TernaryCodec
from ..images import list_images, read_image


def excess(codec: TernaryCodec, image: Image.Image, target: str, value: float) -> tuple[float, float]:
    """By what a file misses a target, and the seconds of its encoding.

    Of a rate the share of the allowed bytes that are used, of a quality the decibels above it.
    """
    options: dict[str, float] = {target: value}
    start = time.perf_counter()
    data = codec.encode(image, **options)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    if target == "bpp":
        return len(data) / math.floor(value * image.width * image.height / 8), seconds
    original, decoded = np.asarray(image), np.asarray(codec.decode(data))
    if target == "psnr":
        error = np.square(decoded.astype(np.float64) - original).mean() / 255**2
    else:
        error = 1 - Similarity(original)(decoded)
    return -10 * math.log10(error) - value, seconds


def rows(codec: TernaryCodec, folder: str, targets: list[tuple[str, float]]) -> Iterator[tuple[str, list[str]]]:
    """A name and cells for each target."""
    images = [read_image(path) for path in list_images(folder)]
    for target, value in targets:
        found = [excess(codec, image, target, value) for image in track(images, f"{target} {value:g}", transient=True)]
        missed, seconds = (np.array(column) for column in zip(*found, strict=True))
        if target == "bpp":
            met = [f"{missed.min():.2%}", f"{missed.mean():.2%}", f"{missed.max():.2%}"]
        else:
            met = [f"{missed.min():+.3f} dB", f"{missed.mean():+.3f} dB", f"{missed.max():+.3f} dB"]
        yield f"{target.replace('_', '-')} {value:g}", [*met, f"{seconds.mean():.2f}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pictures")
    parser.add_argument("--model")
    for name in ("bpp", "psnr", "ms_ssim"):
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, type=float, nargs="*", default=[])
    arguments = parser.parse_args()
    model = load(arguments.model)
    if not isinstance(model, TernaryCodec):
        parser.error(f"{model.name} is no model of ternary codes")
    warnings.simplefilter("ignore")
    table = Table("target", "least", "mean", "most", "seconds")
    wanted = [(name, value) for name in ("bpp", "psnr", "ms_ssim") for value in getattr(arguments, name)]
    for name, cells in rows(model, arguments.pictures, wanted):
        table.add_row(name, *cells)
    Console(markup=False, emoji=False).print(table)
