"""What a network of binary codes has got wrong, iteration by iteration: the error by colour plane and frequency.

    python -m lit_rnncomp.evaluation.planes MODEL PICTURES

The colour rotation and DCT of `models.dct` are orthonormal, so the cells of a row add up to the mean squared error of
a pixel's three samples together, on the 0..255 scale; `dc` is that of the means of blocks of 8x8. MS-SSIM hardly sees a
mean that is wrong, and averages of all channels not which colour is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..codec import weights, zoo
from ..images import list_images, read_image, to_signal
from ..models.dct import BLOCK, block_basis
from ..models.recurrent_codec import RecurrentCodec

PLANES = ("luma", "blue-red", "green-magenta")
BANDS = {"dc": (0, 0), "low": (1, 2), "middle": (3, 5), "high": (6, 14)}
"""Sums of vertical and horizontal frequency."""


def errors(codec: RecurrentCodec, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of a picture `(H, W, 3)`, cropped to whole blocks: `(iterations, planes, bands)`."""
    multiple = max(codec.config.multiple, BLOCK)
    height, width = (side // multiple * multiple for side in picture.shape[:2])
    signal = to_signal(torch.tensor(picture[:height, :width]).movedim(2, 0)[None])
    basis = torch.tensor(block_basis()).float()[:, :, None, None]
    frequency = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))
    masks = [(low <= frequency) & (frequency <= high) for low, high in BANDS.values()]
    found = []
    with torch.inference_mode():
        for residual in codec(signal).residuals:
            blocks = torch.nn.functional.pixel_unshuffle(residual * 127.5, BLOCK)
            power = torch.nn.functional.conv2d(blocks, basis).square().mean((0, 2, 3)).double().numpy()
            by_plane = power.reshape(len(PLANES), BLOCK, BLOCK) / BLOCK**2
            found.append([[plane[mask].sum() for mask in masks] for plane in by_plane])
    return np.array(found)


def measure(model: str, folder: str | Path) -> NDArray[np.float64]:
    """The mean of `errors` over a folder of pictures. Raises what `weights.load_binary` and `read_image` raise."""
    codec = weights.load_binary(zoo.find(model))
    pictures = track(list_images(folder), "measuring", transient=True)
    return np.mean([errors(codec, np.asarray(read_image(path))) for path in pictures], axis=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="a checkpoint, a weights file or a shipped model")
    parser.add_argument("pictures", help="a folder")
    arguments = parser.parse_args()
    found = measure(arguments.model, arguments.pictures)
    table = Table("iteration", *(f"{plane}\n{band}" for plane in PLANES for band in BANDS), title=arguments.model)
    for t in sorted({0, len(found) // 4 - 1, len(found) // 2 - 1, len(found) - 1} - {-1}):
        table.add_row(str(t + 1), *(f"{value:.1f}" for value in found[t].ravel()))
    Console(markup=False, emoji=False, width=160).print(table)
