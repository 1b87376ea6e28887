"""MS-SSIM without torch is the one that results are measured with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import ternary_models

from lit_rnncomp.codec.ms_ssim import SMALLEST, Similarity
from lit_rnncomp.evaluation.metrics import ms_ssim


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("size", [(161, 161), (176, 203), (200, 162)])
@pytest.mark.parametrize("noise", [0, 1, 10, 60])
def test_numpy_and_torch_agree(size: tuple[int, int], noise: int) -> None:
    original = ternary_models.picture(*size)
    random = np.random.default_rng(noise)
    other = np.clip(original + random.normal(0, noise, original.shape), 0, 255).astype(np.uint8)
    expected = float(ms_ssim(as_tensor(other), as_tensor(original)))
    assert Similarity(original)(other) == pytest.approx(expected, abs=1e-5)


def test_an_inverted_picture_is_not_below_zero() -> None:
    original = ternary_models.picture(161, 161)
    assert Similarity(original)(255 - original) == pytest.approx(
        float(ms_ssim(as_tensor(255 - original), as_tensor(original))), abs=1e-5
    )


def test_a_small_picture_is_named() -> None:
    assert SMALLEST == 161
    with pytest.raises(ValueError, match="MS-SSIM needs 161 pixels a side, the picture has 300x160"):
        Similarity(np.zeros((160, 300, 3), np.uint8))
