"""What the Python API takes for a picture, and what it says of itself."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ternary_models
from PIL import Image

import lit_rnncomp
from lit_rnncomp.cli import main
from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.binary_codec import BinaryCodec
from lit_rnncomp.codec.ternary_weights import TernaryWeights
from lit_rnncomp.images import ImageError

CODEC = ternary_models.codec()
PHOTO = ternary_models.picture(40, 24)
FILE = CODEC.encode(PHOTO, step=1200)


def test_every_source_of_the_same_picture_makes_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(path)
    sources = [path, str(path), io.BytesIO(path.read_bytes()), Image.fromarray(PHOTO), PHOTO.transpose(2, 0, 1)]
    sources += [torch.from_numpy(PHOTO), torch.from_numpy(PHOTO).permute(2, 0, 1)]
    for source in sources:
        assert CODEC.encode(source, step=1200) == FILE
    grey = PHOTO[..., 0]
    expected = CODEC.encode(np.stack([grey] * 3, -1), step=1200)
    for source in (grey, grey[..., None], torch.from_numpy(grey.copy()), Image.fromarray(grey)):
        assert CODEC.encode(source, step=1200) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_file_is(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(PHOTO).save(path, exif=exif)
    with Image.open(path) as image:
        data = CODEC.encode(image, step=1200)
    assert data == CODEC.encode(path, step=1200)
    assert CODEC.decode(data).size == ((40, 24) if orientation > 4 else (24, 40))


TURNED_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'


def turned_exif() -> bytes:
    values = Image.Exif()
    values[0x10F], values[0x112] = "maker", 6
    return values.tobytes()


@pytest.mark.parametrize("said", [{"exif": turned_exif()}, {"xmp": TURNED_XMP}], ids=["Exif", "XMP"])
def test_what_is_said_of_a_turned_picture_does_not_turn_it_again(tmp_path: Path, said: dict[str, bytes]) -> None:
    path = tmp_path / "turned.jpg"
    Image.fromarray(PHOTO).save(path, **said)
    (kind,) = said
    expected = CODEC.encode(path, step=1200, keep=[kind])
    with Image.open(path) as image:
        for source in (path, image):
            assert CODEC.encode(source, step=1200, metadata=said) == expected
    # What was not turned is still to be turned.
    assert CODEC.decode(CODEC.encode(PHOTO, step=1200, metadata=said)).info[kind] == said[kind]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_coded_and_said(tmp_path: Path, capsys, kind: str) -> None:
    frames = [Image.fromarray(PHOTO), Image.fromarray(PHOTO[::-1].copy()), Image.fromarray(PHOTO[:, ::-1].copy())]
    one, several = tmp_path / f"one.{kind.lower()}", tmp_path / f"several.{kind.lower()}"
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(one, kind, **options)
    frames[0].save(several, kind, save_all=True, append_images=frames[1:], **options)
    weights = tmp_path / "m.safetensors"
    ternary_weights.save(weights, TernaryWeights(CODEC.tensors, CODEC.qualities))
    for path in (one, several):
        main(["encode", str(path), "--model", str(weights)])
        note = f"note: {path}: of its frames or pages the first is coded\n"
        assert capsys.readouterr().err == (note if path == several else "")
    expected = CODEC.encode(one, step=1200)  # without a warning
    with Image.open(several) as image, Image.open(several) as second:
        second.seek(1)
        assert CODEC.encode(second, step=1200) != expected  # the one that was asked for
        for source in (several, io.BytesIO(several.read_bytes()), image):
            with pytest.warns(UserWarning, match="the picture has several frames or pages: the first is coded") as said:
                assert CODEC.encode(source, step=1200) == expected
            assert [warning.filename for warning in said] == [__file__]
        assert image.tell() == 0


@pytest.mark.parametrize("kind", [1, 4, 5])
def test_reduced_copies_and_masks_are_no_pages(tmp_path: Path, kind: int) -> None:
    path, frame = tmp_path / "a.tif", Image.fromarray(PHOTO)
    small = frame.resize((12, 20))
    small.encoderinfo = {"tiffinfo": {254: kind}}
    frame.save(path, save_all=True, append_images=[small])
    with Image.open(path) as image:
        assert image.n_frames == 2
        assert CODEC.encode(image, step=1200) == CODEC.encode(path, step=1200) == FILE


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PHOTO / 255, "got float64 array of shape (40, 24, 3)"),
        (PHOTO[:0], "got uint8 array of shape (0, 24, 3)"),
        (np.zeros((4, 5, 6), np.uint8), "got uint8 array of shape (4, 5, 6)"),
        (torch.zeros(3, 8, 8), "got float32 array of shape (3, 8, 8)"),
        (7, "got int"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(source: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        CODEC.encode(source, step=1200)
    with pytest.raises(ImageError, match="nowhere.png: no such file"):
        CODEC.encode("nowhere.png", step=1200)


def test_the_package_and_a_codec_say_what_they_are(tiny_codec) -> None:
    assert re.fullmatch(r"\d+\.\d+.*", lit_rnncomp.__version__)
    assert {"load", "Codec", "__version__"} <= set(dir(lit_rnncomp))
    assert "import_module" not in dir(lit_rnncomp)
    assert repr(CODEC) == f"<TernaryCodec {CODEC.name}, model {CODEC.digest.hex()}>"
    assert repr(BinaryCodec(tiny_codec(), "tiny")).startswith("<BinaryCodec tiny, model ")


def test_grey_stays_grey_with_binary_codes_too(tiny_codec) -> None:
    codec = BinaryCodec(tiny_codec(unit="gru"))
    for picture in (PHOTO[..., 0], PHOTO):
        data = codec.encode(picture, iterations=2)
        for drawn in (codec.decode(data), *codec.decode_progressive(data)):
            assert (np.ptp(np.asarray(drawn), axis=2).max() == 0) == (picture.ndim == 2)
