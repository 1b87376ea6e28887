"""Every depth, photometric interpretation, layout and transparency is read right, or refused in one line."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers import picture_files

from lit_rnncomp.data import ImageError, read_image

RANDOM = np.random.default_rng(0)


def assert_reads(file: io.BytesIO, expected: np.ndarray, levels: float = 1) -> None:
    """`expected`: `(h, w, 1 or 3)` on the 0..255 scale."""
    got = np.asarray(read_image(file)).astype(float)
    assert np.abs(got - expected).max() <= levels


def whole(bits: int, channels: int, size: tuple[int, int] = (5, 13)) -> np.ndarray:
    samples = RANDOM.integers(0, 2**bits, (*size, channels))
    samples[0, 0], samples[0, 1] = 0, 2**bits - 1
    return samples


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16, 32])
def test_grey_tiff(bits: int, photometric: int, deflate: bool, order: str) -> None:
    samples = whole(bits, 1)
    expected = samples / (2**bits - 1) * 255
    file = picture_files.tiff(samples, bits, photometric, order, deflate=deflate)
    try:
        assert_reads(file, expected if photometric else 255 - expected)
    except ImageError as refused:
        assert bits > 8 and (bits, photometric, order) not in {(12, 1, "<"), (16, 1, "<"), (16, 1, ">"), (16, 0, "<")}
        assert "\n" not in str(refused)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_colour_tiff(bits: int, planes: bool, deflate: bool, order: str) -> None:
    samples = whole(bits, 3)
    file = picture_files.tiff(samples, bits, 2, order, planes, deflate)
    if planes and bits == 16 and not deflate:
        with pytest.raises(ImageError, match="planes of 16-bit samples is not supported"):
            read_image(file)
    else:
        assert_reads(file, samples / (2**bits - 1) * 255)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("photometric", "colours"), [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_extra_samples_of_tiff(
    bits: int, photometric: int, colours: int, extra: int, planes: bool, deflate: bool
) -> None:
    samples = whole(bits, colours + 1)
    if extra == 1:  # premultiplied: no colour is above its opacity
        samples[..., :colours] = samples[..., :colours] * (samples[..., colours:] / (2**bits - 1))
    shares = samples / (2**bits - 1)
    colour, opacity = shares[..., :colours], shares[..., colours:]
    if photometric == 5:
        colour = (1 - colour[..., :3]) * (1 - colour[..., 3:])
    elif extra:
        colour = (colour if extra == 1 else colour * opacity) + 1 - opacity
    file = picture_files.tiff(samples, bits, photometric, "<", planes, deflate, {338: [extra]})
    try:
        assert_reads(file, 255 * colour, levels=3)
    except ImageError as refused:
        assert "\n" not in str(refused)
        common = extra != 1 and bits == 8 and not planes and (photometric != 5 or not extra)
        assert not common, refused


@pytest.mark.parametrize("photometric", [1, 2])
@pytest.mark.parametrize("kind", [2, 3])
def test_signed_and_floating_tiff_is_refused(photometric: int, kind: int) -> None:
    samples = whole(8, 1 if photometric == 1 else 3)
    with pytest.raises(ImageError):
        read_image(picture_files.tiff(samples, 8, photometric, tags={339: [kind] * samples.shape[2]}))
    wide = np.full((2, 2, 1), 100)
    with pytest.raises(ImageError, match="signed samples|mode F|kind"):
        read_image(picture_files.tiff(wide, 16 if kind == 2 else 32, 1, tags={339: [kind]}))


def test_ycbcr_tiff() -> None:
    samples = np.full((4, 4, 3), (100, 128, 128))
    assert_reads(picture_files.tiff(samples, 8, 6, tags={530: [1, 1]}), np.full((4, 4, 1), 100))
    for tags in ({530: [2, 2]}, {}):
        with pytest.raises(ImageError, match="subsampled YCbCr"):
            read_image(picture_files.tiff(samples, 8, 6, tags=tags))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_tiff(bits: int) -> None:
    samples, palette = whole(bits, 1), RANDOM.integers(0, 256, (2**bits, 3))
    file = picture_files.tiff(samples, bits, 3, tags={320: (257 * palette.T).ravel().tolist()})
    assert_reads(file, palette[samples[..., 0]], levels=0)


@pytest.mark.parametrize("noise", [0, 0xFF00], ids=["", "bits beyond the depth"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_png(bits: int, noise: int) -> None:
    noise = 0 if bits in (1, 16) else noise  # of one bit, Pillow tells zero from all other numbers
    samples = whole(bits, 1)
    for colour in np.unique(samples)[:5]:
        trns = picture_files.chunk(b"tRNS", struct.pack(">H", int(colour) | noise))
        expected = np.where(samples == colour, 255, samples / (2**bits - 1) * 255)
        assert_reads(picture_files.png(samples, bits, 0, trns), expected)


@pytest.mark.parametrize("noise", [0, 0xFF00], ids=["", "bits beyond the depth"])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_colour_of_png(bits: int, noise: int) -> None:
    samples = whole(bits, 3)
    colour = samples[2, 2].copy()
    samples[3, 3], samples[4, 4] = colour, colour ^ (0, 0, 1)  # one level off is not it
    trns = picture_files.chunk(b"tRNS", struct.pack(">3H", *(colour | (0 if bits == 16 else noise)).tolist()))
    expected = np.where((samples == colour).all(-1, keepdims=True), 255, samples / (2**bits - 1) * 255)
    assert expected[3, 3].min() == 255 > expected[4, 4].min()
    assert_reads(picture_files.png(samples, bits, 2, trns), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("kind", "channels"), [(4, 2), (6, 4)])
def test_opacity_of_png(bits: int, kind: int, channels: int) -> None:
    samples = whole(bits, channels)
    shares = samples / (2**bits - 1)
    opacity = shares[..., -1:]
    assert_reads(picture_files.png(samples, bits, kind), 255 * (shares[..., :-1] * opacity + 1 - opacity), levels=2)


@pytest.mark.parametrize("most", [1, 3, 100, 127, 255, 256, 1000, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_pnm_of_any_maximum(most: int, kind: int) -> None:
    samples = RANDOM.integers(0, most + 1, (3, 4, 3 if kind in (3, 6) else 1))
    head = f"P{kind} 4 3 {most}\n".encode()
    body = samples.astype(">u2" if most > 255 else ">u1").tobytes()
    plain = " ".join(map(str, samples.ravel().tolist())).encode() + b"\n"
    assert_reads(io.BytesIO(head + (plain if kind < 4 else body)), samples / most * 255)


def test_tga_has_the_opacity_that_its_header_names() -> None:
    samples = whole(8, 4).astype(np.uint8)
    colour, opacity = samples[..., 2::-1].astype(float), samples[..., 3:] / 255
    assert_reads(picture_files.tga(2, 32, 0x20, samples), colour, levels=0)
    assert_reads(picture_files.tga(2, 32, 0x28, samples), colour * opacity + 255 * (1 - opacity))
    pair = samples[..., 2:].copy()
    assert_reads(picture_files.tga(3, 16, 0x20, pair), pair[..., :1], levels=0)
    assert_reads(picture_files.tga(3, 16, 0x28, pair), pair[..., :1] * opacity + 255 * (1 - opacity))
    fifteen = RANDOM.integers(0, 1 << 16, (5, 13)).astype("<u2")
    five = np.stack([fifteen >> shift & 31 for shift in (10, 5, 0)], -1)
    for descriptor in (0x20, 0x21):
        assert_reads(picture_files.tga(2, 16, descriptor, fifteen), five * 255 / 31)
