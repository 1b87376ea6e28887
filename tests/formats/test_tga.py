"""Targa files: a fourth channel, or a bit, is how opaque a pixel is only where the file means that."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers.picture_files import tga

from lit_rnncomp.images import read_photograph

HEIGHT, WIDTH = 5, 13
SAMPLES = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH, 4)).astype(np.uint8)
COLOURS, ALPHA = SAMPLES[..., 2::-1], SAMPLES[..., 3]


def read(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    photograph = read_photograph(io.BytesIO(data))
    return np.asarray(photograph.colours), None if photograph.alpha is None else np.asarray(photograph.alpha)


@pytest.mark.parametrize(
    ("attributes", "area", "has_alpha"),
    [(0, None, False), (8, None, True), (8, 0, False), (8, 1, False), (8, 2, False), (8, 3, True), (0, 3, False)],
)
def test_32_bits(attributes: int, area: int | None, has_alpha: bool) -> None:
    colours, alpha = read(tga(SAMPLES.tobytes(), WIDTH, HEIGHT, 32, 2, attributes, area))
    np.testing.assert_array_equal(colours, COLOURS)
    if has_alpha:
        np.testing.assert_array_equal(alpha, ALPHA)
    else:
        assert alpha is None


def test_what_is_transparent_everywhere_without_saying_so_is_opaque() -> None:
    samples = SAMPLES.copy()
    samples[..., 3] = 0
    colours, alpha = read(tga(samples.tobytes(), WIDTH, HEIGHT, 32, 2, 8))
    np.testing.assert_array_equal(colours, COLOURS)
    assert alpha is None
    assert not read(tga(samples.tobytes(), WIDTH, HEIGHT, 32, 2, 8, 3))[1].any()


def test_premultiplied_colours_are_divided() -> None:
    samples = SAMPLES.copy()
    samples[..., 3] |= 64
    samples[..., :3] = samples[..., :3].astype(int) * samples[..., 3:] // 255
    colours, alpha = read(tga(samples.tobytes(), WIDTH, HEIGHT, 32, 2, 8, 4))
    np.testing.assert_array_equal(alpha, samples[..., 3])
    assert np.abs(colours.astype(int) - COLOURS).max() <= 4


@pytest.mark.parametrize("attributes", [0, 1])
def test_16_bits(attributes: int) -> None:
    values = np.random.RandomState(1).randint(0, 1 << 16, (HEIGHT, WIDTH)).astype("<u2")
    colours, alpha = read(tga(values.tobytes(), WIDTH, HEIGHT, 16, 2, attributes))
    five = np.stack([values >> shift & 31 for shift in (10, 5, 0)], axis=-1)
    assert np.abs(colours - five * 255 / 31).max() <= 1
    if attributes:
        np.testing.assert_array_equal(alpha, np.where(values >> 15, 255, 0))  # the highest bit: 1 is opaque
    else:
        assert alpha is None


@pytest.mark.parametrize("attributes", [0, 8])
def test_grey_with_a_second_channel(attributes: int) -> None:
    colours, alpha = read(tga(SAMPLES[..., 2:].tobytes(), WIDTH, HEIGHT, 16, 3, attributes))
    np.testing.assert_array_equal(colours, np.repeat(SAMPLES[..., 2:3], 3, 2))
    assert (alpha is None) == (not attributes)


def test_runs() -> None:
    pixel = bytes([10, 20, 30, 40])
    run = bytes([0x80 | (WIDTH - 1)]) + pixel
    colours, alpha = read(tga(run * HEIGHT, WIDTH, HEIGHT, 32, 10, 8))
    assert (colours == [30, 20, 10]).all() and (alpha == 40).all()
