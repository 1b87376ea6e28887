"""A small model of ternary codes whose weights no library version can change: drawn as integers, not trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from lit_rnncomp.codec import container
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.codec.ternary_weights import TUNE_WEIGHTS
from lit_rnncomp.models import lapped
from lit_rnncomp.models.context_model import ContextModel
from lit_rnncomp.models.post_filter import PostFilter
from lit_rnncomp.models.refiner import Refiner

QUALITIES = [600 + 20 * quality for quality in range(100)]


def tensors(
    seed: int = 0, channels: int = 24, stages: int = 1, filtered: bool = False, size: int = 8
) -> dict[str, np.ndarray]:
    """Shapes and table of a `ContextModel` and a `Refiner`, perhaps with a filter, weights from NumPy's frozen
    generator; a code is 0 more often than not."""
    random = np.random.RandomState(seed)
    made: dict[str, Any] = {}
    context = ContextModel(channels, blocks=2, stages=stages, size=size).integers()
    for name in sorted(context):
        layer, _, part = name.rpartition(".")
        if part == "weight":
            shape = context[name].shape
            faint = layer.removeprefix("coarse.").startswith(("head", "own", "back", "merge", "mix", "seen"))
            made[name] = random.randint(-127, 128, shape).astype(np.int8)
            inputs = shape[2] if layer.endswith("own") else shape[0] * shape[1]
            # 73 is the deviation of an integer drawn like this.
            exponent = round(np.log2(73 * inputs**0.5 * (8 if faint else 1)))
            made[f"{layer}.exponent"] = np.full_like(context[f"{layer}.exponent"], min(exponent, 14))
        elif part == "bias":
            made[name] = random.randint(-60, 61, context[name].shape).astype(np.int32)
    for name in filter(lambda name: "head." in name and name.endswith("bias"), made):
        half = len(made[name]) // 2
        made[name][:half] -= 2 * 16 << int(made[name.replace("bias", "exponent")][0])
    for prefix in ("", "coarse.")[:stages]:
        made[f"{prefix}embedding"] = random.randint(-500, 501, context[f"{prefix}embedding"].shape).astype(np.int32)
        made[f"{prefix}probability"] = context["probability"]
    if size == 16:
        made["place.table"] = random.randint(-500, 501, context["place.table"].shape).astype(np.int32)
    refiner = {
        name: random.randint(-8, 9, tuple(value.shape)).astype(np.float32) / 512
        for name, value in sorted(Refiner(16, blocks=2, size=size).state_dict().items())
    }
    filter_ = {
        name: random.randint(-8, 9, tuple(value.shape)).astype(np.float32) / 32
        for name, value in sorted(PostFilter(12, blocks=7).state_dict().items())
    }
    table = lapped.coefficient_weights(size=size).astype(np.float32)
    return (
        {f"context.{name}": tensor for name, tensor in made.items()}
        | {f"refiner.{name}": tensor for name, tensor in refiner.items()}
        | {f"filter.{name}": tensor for name, tensor in filter_.items() if filtered}
        | ({TUNE_WEIGHTS: table} if size == 16 else {})
    )


def codec(seed: int = 0, stages: int = 1, filtered: bool = False, size: int = 8) -> TernaryCodec:
    return TernaryCodec(tensors(seed, stages=stages, filtered=filtered, size=size), "small", QUALITIES)


def picture(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Ramps, an edge and noise. `(rows, columns, 3)` uint8."""
    y, x = np.mgrid[:rows, :columns]
    smooth = np.stack([y + x, 200 - y, 90 + x], -1) + 60 * ((x - y)[..., None] % 40 > 20)
    noise = np.random.RandomState(seed).randint(-9, 10, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def corners(rows: int, columns: int) -> np.ndarray:
    """Squares of 6 pixels on something flat, every 20 pixels, fainter and fainter. `(rows, columns, 3)` uint8."""
    image, contrast = np.full((rows, columns, 3), 120, np.uint8), 120.0
    for y in range(5, rows - 6, 20):
        for x in range(7, columns - 6, 20):
            image[y : y + 6, x : x + 6] += round(contrast)
            contrast *= 0.88
    return image


def psnr(picture: Any, truth: Any) -> float:
    error = np.square(np.asarray(picture, float) - np.asarray(truth, float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def levels(data: bytes, codec: TernaryCodec) -> np.ndarray:
    """What the codes of a file are worth, by coefficient."""
    *_, state = codec.states(container.parse(data), None, False)
    return state.after
