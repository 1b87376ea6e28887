"""JPEG 2000 of few bits: white is white."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from lit_rnncomp.images import ImageError, read_image


def codestream(samples: np.ndarray, bits: int) -> bytes:
    """Lossless, of samples of less than 8 bits `(h, w)` or `(h, w, 3)`.

    It is coded as one of 8 bits and declared to be one of `bits`: what is stored is the difference from half the range,
    so that samples are moved by what these halves differ.
    """
    moved = (samples + 128 - 2 ** (bits - 1)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(moved).save(file, "JPEG2000", no_jp2=True, irreversible=False, mct=0)
    data = bytearray(file.getvalue())
    (count,) = struct.unpack_from(">H", data, 40)
    for channel in range(count):
        assert data[42 + 3 * channel] == 7
        data[42 + 3 * channel] = bits - 1
    return bytes(data)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_samples_of_few_bits_are_stretched(bits: int, channels: tuple[int, ...]) -> None:
    samples = np.random.RandomState(bits).randint(0, 2**bits, (16, 24, *channels))
    samples[0, 0], samples[0, 1] = 0, 2**bits - 1
    shown = np.asarray(read_image(io.BytesIO(codestream(samples, bits))))
    expected = np.rint(samples * 255 / (2**bits - 1))
    np.testing.assert_array_equal(shown, expected if channels else np.repeat(expected[..., None], 3, 2))


def test_channels_of_unequal_depth_are_refused() -> None:
    data = bytearray(codestream(np.zeros((16, 16, 3), int), 4))
    data[45] = 5
    with pytest.raises(ImageError, match="its channels have 4, 6, 4 bits"):
        read_image(io.BytesIO(data))


@pytest.mark.parametrize(
    ("steps", "message"), [((1, 2, 2), "15x16 pixels by 1x1, 2x2, 2x2"), ((2, 2, 2), "by 2x2, 2x2, 2x2")]
)
def test_sub_sampling_that_pillow_reads_wrong_is_refused(steps: tuple[int, ...], message: str) -> None:
    data = bytearray(codestream(np.zeros((16, 15, 3), int), 8))
    for channel, step in enumerate(steps):
        data[43 + 3 * channel : 45 + 3 * channel] = [step, step]
    with pytest.raises(ImageError, match=message):
        read_image(io.BytesIO(data))
