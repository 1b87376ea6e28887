"""`.rnnc` files as pictures of Pillow."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ternary_models
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

import lit_rnncomp
import lit_rnncomp.pillow
from lit_rnncomp.codec import container

PHOTO = Image.fromarray(ternary_models.picture(56, 40))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pillow") / "a.rnnc"
    exif = Image.Exif()
    exif[0x010F] = "maker"
    PHOTO.save(path, quality=60, exif=exif, icc_profile=b"a profile", xmp=b"<x/>")
    return path


def test_save_is_encode_and_open_is_decode(tmp_path: Path) -> None:
    codec = lit_rnncomp.load()
    PHOTO.save(tmp_path / "a.rnnc", bpp=1.5)
    data = (tmp_path / "a.rnnc").read_bytes()
    assert data == codec.encode(PHOTO, bpp=1.5)
    with Image.open(tmp_path / "a.rnnc") as image:
        assert (image.format, image.mode, image.size) == ("RNNC", "RGB", PHOTO.size)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(codec.decode(data)))


def test_opening_decodes_nothing(path: Path) -> None:
    script = (
        "import sys; from PIL import Image; import lit_rnncomp.pillow as plugin\n"
        "plugin.load_for = plugin._load = lambda *_: sys.exit('a model was loaded')\n"
        f"with Image.open({str(path)!r}) as image: print(image.size, image.mode, image.n_frames, sorted(image.info))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    count = len(container.parse(path.read_bytes()).iterations)
    assert result.stdout == f"{PHOTO.size} RGB {count} ['exif', 'icc_profile', 'xmp']\n"


def test_metadata_come_back(path: Path) -> None:
    with Image.open(path) as image:
        assert (image.info["icc_profile"], image.info["xmp"]) == (b"a profile", b"<x/>")
        assert image.getexif()[0x010F] == "maker"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_turned_picture_is_not_turned_twice(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'
    PHOTO.save(tmp_path / f"a.{suffix}", exif=exif)
    for said in ("object", "bytes"):
        with Image.open(tmp_path / f"a.{suffix}") as photo:
            given = photo.getexif() if said == "object" else photo.info["exif"]
            photo.save(tmp_path / "a.rnnc", quality=30, exif=given, xmp=xmp)
        with Image.open(tmp_path / "a.rnnc") as image:
            assert image.size == PHOTO.size[::-1]
            assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (1, "maker")
            assert b'tiff:Orientation="1"' in image.info["xmp"]
            assert ImageOps.exif_transpose(image).size == image.size
    PHOTO.save(tmp_path / "b.rnnc", quality=30, exif=exif)  # it was not turned: the next one turns it
    with Image.open(tmp_path / "b.rnnc") as image:
        assert image.size == PHOTO.size and image.getexif()[0x0112] == 6


def test_a_file_holds_one_picture(tmp_path: Path) -> None:
    for options in ({"save_all": True}, {"save_all": True, "append_images": [PHOTO]}):
        with pytest.raises(ValueError, match="save_all: a file holds one picture"):
            PHOTO.save(tmp_path / "a.rnnc", **options)
    with pytest.raises(ValueError, match="a picture of 0x5 has no pixels"):
        Image.new("RGB", (0, 5)).save(tmp_path / "a.rnnc")
    assert not (tmp_path / "a.rnnc").exists()


def test_frames_are_iterations(path: Path) -> None:
    expected = list(lit_rnncomp.load().decode_progressive(path.read_bytes()))
    with Image.open(path) as image:
        assert image.n_frames == len(expected) and image.tell() == image.n_frames - 1
        for frame in (0, image.n_frames - 1, 1):
            image.seek(frame)
            np.testing.assert_array_equal(np.asarray(image), np.asarray(expected[frame]))
        with pytest.raises(EOFError, match="no frame 99"):
            image.seek(99)


def test_a_grey_picture_is_grey(tmp_path: Path) -> None:
    PHOTO.convert("L").save(tmp_path / "a.rnnc", quality=60)
    with Image.open(tmp_path / "a.rnnc") as image:
        assert image.mode == "L" and np.asarray(image).shape == PHOTO.size[::-1]


def test_a_cut_file_needs_leave(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = path.read_bytes()[:-5]
    with Image.open(io.BytesIO(cut)) as image, pytest.raises(OSError, match="iterations are intact"):
        image.load()
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(cut)) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(lit_rnncomp.load().decode(cut, partial=True)))


def test_errors_are_of_the_kinds_of_pillow(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    for damaged in (data[:9], b"RNNC" + b"noise" * 20):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(damaged))
    foreign = ternary_models.codec().encode(PHOTO, step=900)
    with Image.open(io.BytesIO(foreign)) as image, pytest.raises(OSError, match="does not ship"):
        image.load()
    for options, message in (({"quality": 0}, "outside 1..100"), ({"speed": 3}, "speed"), ({"bpp": 1e-3}, "too few")):
        with pytest.raises(ValueError, match=message):
            PHOTO.save(tmp_path / "b.rnnc", **options)
        assert not (tmp_path / "b.rnnc").exists()
