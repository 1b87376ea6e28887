"""What `encode --quality` means: for each quality of JPEG the step with the same PSNR-HVS, on average over photographs.

    python -m lit_rnncomp.evaluation.calibrate model.safetensors PHOTOGRAPHS calibrated.safetensors

Photographs are those that `hold_out` keeps from training, coded with tune visual; the rival is libjpeg as Pillow writes
it (4:2:0). The digest of the model stays, as qualities decide nothing that a decoder must know.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from ..codec import ternary_weights
from ..codec.ternary_codec import TernaryCodec
from ..data.photographs import find_pictures, hold_out
from ..files import Output
from ..images import read_image
from .measure import to_tensor
from .metrics import psnr_hvs

QUALITIES = (1, 3, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 98, 100)
STEPS = tuple(range(640, 2816, 128))


def calibrate(codec: TernaryCodec, pictures: list[Path]) -> list[int]:
    """The step of each quality from 1 to 100."""
    rival, ours = np.zeros(len(QUALITIES)), np.zeros(len(STEPS))
    for path in track(pictures, "coding photographs", transient=True):
        image = read_image(path)
        original = to_tensor(image)
        rival += [float(psnr_hvs(original, to_tensor(_through_jpeg(image, quality)))) for quality in QUALITIES]
        ours += [float(psnr_hvs(original, to_tensor(codec.decode(codec.encode(image, step=step))))) for step in STEPS]
    wanted = np.interp(np.arange(1, 101), QUALITIES, rival)
    return np.rint(np.interp(wanted, np.maximum.accumulate(ours), STEPS)).astype(int).tolist()


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("photographs")
    parser.add_argument("out")
    parser.add_argument("--held-out", type=int, default=32, help="photographs kept from training")
    parser.add_argument("--use", type=int, default=12, help="of which so many are coded")
    arguments = parser.parse_args()
    output = Output(arguments.out, arguments.model)
    model = ternary_weights.load(arguments.model)
    if model is None:
        parser.error(f"{arguments.model} is no model of ternary codes")
    _, held = hold_out(find_pictures(arguments.photographs), arguments.held_out)
    steps = calibrate(TernaryCodec(model.tensors), held[: arguments.use])
    ternary_weights.save(output, model._replace(qualities=steps))
    print(f"{arguments.out}: quality 50 is step {steps[49]}, 75 {steps[74]}, 95 {steps[94]}")
