"""What Pillow reads wrong of GIF, BMP, icons and Photoshop's files, and what it would hand to another program."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.picture_files import bits_of_gif
from PIL import Image

from lit_rnncomp.images import ImageError, read_image, read_photograph

RED, GREEN, BLUE, DARK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)


def gif(frames: list[tuple[int, int, np.ndarray]], background: int = 0, transparent: int | None = None) -> bytes:
    """Of 4x4 pixels and four colours; `frames`: left, top and indices of the palette."""
    data = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x81, background, 0) + bytes(RED + GREEN + BLUE + DARK)
    for left, top, indices in frames:
        if transparent is not None:
            data += b"\x21\xf9\x04\1\0\0" + bytes([transparent, 0])
        data += b"," + struct.pack("<HHHHB", left, top, indices.shape[1], indices.shape[0], 0) + bits_of_gif(indices)
    return data + b";"


@pytest.mark.parametrize("background", [0, 3])
@pytest.mark.parametrize("transparent", [None, 1])
def test_around_a_small_first_frame_a_gif_is_transparent(transparent: int | None, background: int) -> None:
    frames = [(1, 1, np.full((2, 2), 2)), (0, 0, np.full((4, 4), 1))]
    photograph = read_photograph(io.BytesIO(gif(frames, background, transparent)))
    inside = np.zeros((4, 4), bool)
    inside[1:3, 1:3] = True
    np.testing.assert_array_equal(np.asarray(photograph.alpha), np.where(inside, 255, 0))
    np.testing.assert_array_equal(np.asarray(photograph.over_white()), np.where(inside[..., None], BLUE, 255))


def test_a_first_frame_of_all_of_a_gif_is_opaque() -> None:
    indices = np.arange(16).reshape(4, 4) % 4
    photograph = read_photograph(io.BytesIO(gif([(0, 0, indices)])))
    assert photograph.alpha is None
    np.testing.assert_array_equal(np.asarray(photograph.colours), np.array([RED, GREEN, BLUE, DARK])[indices])


SAMPLES = np.random.RandomState(0).randint(0, 256, (3, 4, 4)).astype(np.uint8)


def bmp(samples: np.ndarray) -> bytes:
    """Version 4, of 32 bits with masks of four channels."""
    body = samples[::-1].tobytes()
    head = struct.pack("<IiiHHIIiiII", 108, 4, 3, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    head += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


def test_a_bmp_that_is_transparent_everywhere_is_opaque() -> None:
    photograph = read_photograph(io.BytesIO(bmp(SAMPLES)))
    np.testing.assert_array_equal(np.asarray(photograph.alpha), SAMPLES[..., 3])
    unused = SAMPLES.copy()
    unused[..., 3] = 0
    photograph = read_photograph(io.BytesIO(bmp(unused)))
    assert photograph.alpha is None
    np.testing.assert_array_equal(np.asarray(photograph.colours), SAMPLES[..., 2::-1])


def psd(mode: int, planes: np.ndarray) -> bytes:
    channels, height, width = planes.shape
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, 8, mode)
    return head + bytes(12) + b"\0\0" + planes.tobytes()


def test_inks_of_no_known_colour_are_refused() -> None:
    planes = SAMPLES[..., :3].transpose(2, 0, 1)
    np.testing.assert_array_equal(np.asarray(read_image(io.BytesIO(psd(3, planes)))), SAMPLES[..., :3])
    with pytest.raises(ImageError, match="its channels are inks of no known colour"):
        read_image(io.BytesIO(psd(7, planes)))


def test_no_other_program_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow has Ghostscript draw EPS, which is a program in itself."""
    ran = tmp_path / "ran"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {ran}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(drawing)
    with pytest.raises(ImageError, match=r"a\.png: it is a drawing \(EPS\), not a picture of pixels"):
        read_image(tmp_path / "a.png")
    assert not ran.exists()


def test_an_icon() -> None:
    """Whether its channel says something is as with BMP."""
    file = io.BytesIO()
    icon = Image.fromarray(np.tile(SAMPLES, (6, 4, 1))[:16, :16])
    icon.save(file, "ICO", sizes=[(16, 16)], bitmap_format="bmp")
    photograph = read_photograph(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(np.asarray(photograph.alpha), np.asarray(icon.getchannel("A")))
    np.testing.assert_array_equal(np.asarray(photograph.colours), np.asarray(icon.convert("RGB")))


def test_a_bit_of_an_xbm_is_black() -> None:
    text = b"#define x_width 8\n#define x_height 1\nstatic char x_bits[] = {\n0x01\n};\n"
    assert np.asarray(read_image(io.BytesIO(text)))[0, :, 0].tolist() == [0] + [255] * 7
