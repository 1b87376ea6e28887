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
from lit_rnncomp.codec.api import load_for, truncate
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


def test_metadata_that_are_none_are_refused_before_the_work() -> None:
    for said, message in (
        ({"alpha": b"xx"}, "metadata 'alpha' is no grey PNG of the picture's size: "),
        ({"exif": Image.Exif()}, "metadata 'exif' is Exif, not bytes"),
        ({"xmp": "<x/>"}, "metadata 'xmp' is str, not bytes"),
        ({"gps": b""}, "metadata 'gps' of 0 bytes: kinds are icc_profile, exif, xmp, alpha"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            CODEC.encode(PHOTO, step=1200, metadata=said)


def test_of_both_orders_channels_are_last() -> None:
    for grey in (PHOTO[:3, :, :1], PHOTO[:3, :1, :1]):
        assert CODEC.encode(grey, step=1200) == CODEC.encode(grey[..., 0], step=1200)
    assert CODEC.decode(CODEC.encode(PHOTO[:3, :5], step=1200)).size == (5, 3)
    assert CODEC.decode(CODEC.encode(torch.from_numpy(PHOTO[:3, :5, 0]), step=1200)).size == (5, 3)
    for shape in ((3, 5, 1), (3, 5, 3)):
        with pytest.raises(
            ValueError, match=re.escape(f"a tensor of shape {shape} is (H, W, {shape[2]}) or (3, H, W)")
        ):
            CODEC.encode(torch.zeros(shape, dtype=torch.uint8), step=1200)


def test_a_file_is_any_bytes(tmp_path: Path, tiny_codec) -> None:
    binary = BinaryCodec(tiny_codec(unit="gru"), "tiny")
    path = tmp_path / "a.rnnc"
    for codec, data in ((CODEC, FILE), (binary, binary.encode(PHOTO, iterations=1))):
        path.write_bytes(data)
        for same in (bytearray(data), memoryview(data)):
            assert codec.decode(same) == codec.decode(data)
            assert list(codec.decode_progressive(same)) == list(codec.decode_progressive(data))
            assert truncate(same, iterations=1) == truncate(data, iterations=1)
        for wrong, way_out in (
            (path, f"got {type(path).__name__}: pass Path({str(path)!r}).read_bytes()"),
            (str(path), f"got str: pass Path({str(path)!r}).read_bytes()"),
            (io.BytesIO(data), "got BytesIO: pass what its read() gives"),
            (None, "got NoneType"),
        ):
            message = re.escape(f"expected the bytes of an .rnnc file, {way_out}") + "$"
            for read in (codec.decode, codec.decode_progressive, load_for, truncate):
                with pytest.raises(ValueError, match=message):
                    list(read(wrong))
    assert CODEC.truncate(bytearray(FILE), iterations=1) == CODEC.truncate(FILE, iterations=1)
    np.testing.assert_array_equal(CODEC.spent(memoryview(FILE)), CODEC.spent(FILE))


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int], tiny_codec) -> None:
    for codec in (CODEC, BinaryCodec(tiny_codec(unit="gru"), "tiny")):
        with pytest.raises(ValueError, match=f"a picture of {size[0]}x{size[1]} has no pixels"):
            codec.encode(Image.new("RGB", size))


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
