"""Errors by colour plane and frequency add up to the squared error, and stand where the error is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lit_rnncomp.codec import weights
from lit_rnncomp.evaluation.planes import errors, measure
from lit_rnncomp.images import list_images, read_image, to_signal


@pytest.fixture(scope="module")
def codec(tiny_model):
    return weights.load_binary(tiny_model)


def test_errors_add_up(codec, photographs):
    picture = np.asarray(read_image(photographs / "astronaut.png"))
    height, width = (side // 16 * 16 for side in picture.shape[:2])
    signal = to_signal(torch.tensor(picture[:height, :width]).movedim(2, 0)[None])
    with torch.inference_mode():
        squares = [3 * (127.5 * residual).square().mean().item() for residual in codec(signal).residuals]
    np.testing.assert_allclose(errors(codec, picture).sum((1, 2)), squares, rtol=1e-4)


def test_a_grey_that_is_off_is_an_error_of_dc_in_luma(codec, monkeypatch):
    monkeypatch.setattr(codec, "picture", lambda estimate: torch.full((1, 3, 32, 32), -1.0))
    found = errors(codec, np.full((32, 40, 3), 10, np.uint8))
    np.testing.assert_allclose(found[:, 0, 0], 300, rtol=1e-4)
    assert found.sum() == pytest.approx(found[:, 0, 0].sum(), rel=1e-4)


def test_a_folder_gives_the_mean(codec, tiny_model, tmp_path, photographs):
    for index in (0, 1):
        read_image(list_images(photographs / "sub")[0]).crop((0, 0, 48, 32 + 16 * index)).save(
            tmp_path / f"{index}.png"
        )
    each = [errors(codec, np.asarray(read_image(path))) for path in list_images(tmp_path)]
    np.testing.assert_allclose(measure(str(tiny_model), tmp_path), np.mean(each, axis=0))
