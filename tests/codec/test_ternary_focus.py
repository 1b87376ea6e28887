"""Masks that say where ternary codes are finer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import ternary_models
from helpers.ternary_models import levels, psnr
from PIL import Image

from lit_rnncomp.codec import container, focus

CODEC = ternary_models.codec()


PHOTO = ternary_models.picture(96, 136)


def test_focus_spends_bits_where_the_mask_is_white() -> None:
    mask = np.zeros((96, 136), np.uint8)
    mask[:, :64] = 255
    data = CODEC.encode(PHOTO, step=1900, tune="psnr", focus=mask)
    assert CODEC.encode(PHOTO, step=1900, tune="psnr", focus=Image.fromarray(mask)) == data
    assert len(data) < 0.8 * len(CODEC.encode(PHOTO, step=1900, tune="psnr"))
    decoded = np.asarray(CODEC.decode(data))
    assert psnr(decoded[:, :56], PHOTO[:, :56]) > psnr(decoded[:, 72:], PHOTO[:, 72:]) + 3
    spent = CODEC.spent(data)
    assert spent.shape == (12, 17) and spent[:, :8].mean() > 1.8 * spent[:, 8:].mean()
    assert spent.sum() / 8 < len(data) < spent.sum() / 8 * 1.005 + 150
    whole = CODEC.encode(PHOTO, bpp=1, focus=mask)
    assert 8 * len(whole) / mask.size <= 1
    cut = container.parse(CODEC.truncate(data, max_bytes=len(data) // 2))
    assert cut.payload(container.SCALES) == container.parse(data).payload(container.SCALES)
    assert cut.head == container.parse(data).head


def test_a_block_of_the_transform_has_one_scale() -> None:
    cells = np.random.RandomState(0).randint(0, 9, (3, 4)).astype(np.uint8)
    alone = focus.factors(cells, 3, 8, 10)
    together = focus.factors(cells, 3, 8, 10, parts=2)
    np.testing.assert_array_equal(together, np.repeat(np.repeat(alone[::2, ::2], 2, 0), 2, 1))
    assert (alone != together).any()


def test_a_white_mask_is_no_mask_but_for_its_chunk() -> None:
    white = CODEC.encode(PHOTO, step=1700, focus=np.full((96, 136), 255, np.uint8))
    np.testing.assert_array_equal(levels(white, CODEC), levels(CODEC.encode(PHOTO, step=1700), CODEC))
    assert len(white) - len(CODEC.encode(PHOTO, step=1700)) < 25


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((96, 136), np.uint8), "the focus mask is all black"),
        (np.ones((95, 136), np.uint8), r"the focus mask is uint8\(95, 136\), the picture wants grey .* of 136x96"),
        (np.ones((96, 136, 3), np.uint8), r"the focus mask is uint8\(96, 136, 3\)"),
        (np.ones((96, 136)), r"the focus mask is float64\(96, 136\)"),
        (Image.new("L", (3, 4), 255), r"the focus mask is uint8\(4, 3\)"),
    ],
)
def test_masks_that_do_not_fit_are_named(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CODEC.encode(PHOTO, step=1000, focus=mask)
