"""Colour profiles: of grey and inks they are applied, of RGB kept."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers import profiles, ternary_models
from PIL import Image, ImageCms

from lit_rnncomp.codec.saving import save
from lit_rnncomp.formats import colour
from lit_rnncomp.images import read_image, read_photograph

RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
P3 = profiles.display_p3()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def through(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def srgb_level(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, on the 0..255 scale."""
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_is_shown_by_its_profile_and_stays_grey(mode: str, kind: str) -> None:
    if (mode, kind) == ("LA", "JPEG"):
        return
    image = Image.fromarray(RAMP)
    if mode == "LA":
        image.putalpha(Image.new("L", image.size, 100))
    options = {"quality": 100} if kind == "JPEG" else {}
    photograph = read_photograph(through(image, kind, icc_profile=profiles.grey(1.8), **options))
    shown = np.asarray(photograph.colours).astype(int)
    assert np.ptp(shown, axis=2).max() == 0 and "icc_profile" not in photograph.metadata
    # Nearly black, where curves are steep, tables of profiles are coarse.
    assert np.abs(shown[0, 16:, 0] - srgb_level((np.arange(256) / 255) ** 1.8)[16:]).max() <= 2
    assert np.abs(shown[0, :, 0] - np.arange(256)).max() > 10  # without the profile it is another picture


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_inks_are_shown_by_their_profile(kind: str) -> None:
    inks = np.random.RandomState(0).randint(0, 256, (1, 1, 4)).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(inks, (16, 16, 4)).copy(), "CMYK")
    profile = cmyk()
    shown = np.asarray(
        read_image(through(image, kind, icc_profile=profile, **({"quality": 100} if kind == "JPEG" else {})))
    )
    # The profile's table: lightness is what the black ink leaves, without colour, whatever the other inks are.
    lightness = 100 * (1 - inks[0, 0, 3] / 255)
    expected = srgb_level(np.array(((lightness + 16) / 116) ** 3))
    assert np.abs(shown[8, 8].astype(float) - expected).max() <= 4, (shown[8, 8], expected)
    # One that is damaged is passed over.
    plain = np.asarray(read_image(through(image, "TIFF", icc_profile=profile[:300])))
    np.testing.assert_array_equal(plain, np.asarray(image.convert("RGB")))


def cmyk() -> bytes:
    """A printer's profile of which only the black ink makes a difference."""
    grid = [65280, 0x8000, 0x8000, 0, 0x8000, 0x8000] * 8  # white and black, for all of cyan, magenta and yellow
    linear = struct.pack(">2H", 0, 65535)
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table += struct.pack(">2H", 2, 2) + linear * 4 + struct.pack(">48H", *grid) + linear * 3
    data = profiles.profile(b"CMYK", 1, {b"A2B0": table})
    return data[:12] + b"prtr" + data[16:20] + b"Lab " + data[24:]


def test_srgb_is_known_by_its_colours() -> None:
    assert colour.differs_from_srgb(P3) and colour.differs_from_srgb(P3 + b"sRGB")
    assert not colour.differs_from_srgb(SRGB)
    assert not colour.differs_from_srgb(SRGB.replace(b"s\0R\0G\0B", b"W\0i\0d\0e"))
    for broken in (b"", b"noise", P3[:200], P3.replace(b"RGB ", b"CMYK", 1), profiles.grey()):
        assert not colour.differs_from_srgb(broken)


def seen(path: Path) -> np.ndarray:
    """The colours of a file in L*a*b*, by its own profile."""
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        lab = ImageCms.profileToProfile(image.convert("RGB"), profile, ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    return np.asarray(lab).astype(int)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_the_reds_of_display_p3_stay(tmp_path: Path, suffix: str) -> None:
    codec = ternary_models.codec()
    red = Image.new("RGB", (48, 32), (255, 0, 0))
    red.save(tmp_path / "in.png", icc_profile=P3)
    picture = codec.decode(codec.encode(tmp_path / "in.png", step=2000))
    save(picture, tmp_path / f"out{suffix}", Image.registered_extensions()[suffix])
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.info["icc_profile"] == P3
    # The picture of an untrained network is not the original: it has to mean the same colours as in PNG.
    save(picture, tmp_path / "as.png", "PNG")
    near = np.abs(seen(tmp_path / f"out{suffix}") - seen(tmp_path / "as.png"))
    assert near.mean() <= 1.5
    assert "icc_profile" not in codec.decode(codec.encode(read_image(tmp_path / "in.png"), step=2000)).info
