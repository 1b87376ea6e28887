"""Pictures to files of ternary codes and back."""

from __future__ import annotations

import numpy as np
from helpers import ternary_models

from lit_rnncomp.codec import container
from lit_rnncomp.models import lapped

CODEC = ternary_models.codec()
PHOTO = ternary_models.picture(96, 136)


def psnr(picture, truth) -> float:
    error = np.square(np.asarray(picture, float) - np.asarray(truth, float)).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def levels(data: bytes, codec=CODEC) -> np.ndarray:
    *_, state = codec._states(container.parse(data), None, False)
    return state.after


def loudest(coefficient: int) -> np.ndarray:
    """The picture of 40x40 whose middle block has the largest coefficient that there can be."""
    unit = np.zeros((5, 5, 192))
    unit[2, 2, coefficient] = 1
    samples = unit.reshape(-1, 192) @ lapped.block_basis()
    planes = samples.reshape(5, 5, 3, 8, 8).transpose(0, 3, 1, 4, 2).reshape(40, 40, 3)
    lapped._filter(planes, lapped.butterfly().T, first=4)
    return np.where(planes > 0, 255, 0).astype(np.uint8)


def test_the_loudest_pictures_keep_their_codes() -> None:
    """Weighted and scaled, coefficients of saturated stripes would exceed what eleven digits can say."""
    for coefficient in (1, 2, 9, 8, 64, 73, 129):
        picture = loudest(coefficient)
        qualities = [psnr(CODEC.decode(CODEC.encode(picture, step=step)), picture) for step in (1023, 1535, 2047, 2559)]
        assert qualities == sorted(qualities), "no coefficient is clipped"
        data = CODEC.encode(picture, step=2047)
        decoded = levels(data).astype(float) * 2048 / 2**7
        layout = container.parse_header(data)[0].layout
        x = lapped.analysis(picture) * lapped.coefficient_weights()[1] * 2 ** (layout.scale / 256)
        assert np.abs(decoded - x).max() < 2 * 2048 / 2**7
        assert 2048 < np.abs(x).max() < 4096
