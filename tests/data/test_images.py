import contextlib
import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from lit_rnncomp.data import ImageError, list_images, read_image
from lit_rnncomp.images import open_photograph

RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5


def through_file(image: Image.Image, kind: str = "PNG", **options) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return read_image(buffer)


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_is_untouched(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(pixels(read_image(source)), RAMP)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_becomes_three_equal_channels(mode):
    grey = Image.fromarray(RAMP[..., 0]).convert(mode)
    expected = np.asarray(grey.convert("L"))
    np.testing.assert_array_equal(pixels(through_file(grey)), np.stack([expected] * 3, -1))


def test_palette_is_looked_up():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(pixels(through_file(palette)), [[[10, 20, 30], [40, 50, 60]]])


def test_transparency_is_laid_over_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    np.testing.assert_array_equal(pixels(through_file(Image.fromarray(rgba))), [[[10, 20, 30], [255] * 3, [204] * 3]])
    grey_alpha = np.array([[[7, 255], [7, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(pixels(through_file(Image.fromarray(grey_alpha, "LA"))), [[[7] * 3, [255] * 3]])


def test_a_transparent_palette_entry_or_colour_is_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(pixels(through_file(palette, transparency=1)), [[[10, 20, 30], [255] * 3]])
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    np.testing.assert_array_equal(pixels(through_file(colour, transparency=(1, 2, 3))), [[[255] * 3, [4, 5, 6]]])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_the_high_byte(kind):
    samples = np.array([[0, 255, 256, 0x1234, 0xFFFF]], dtype=np.uint16)
    expected = np.stack([samples >> 8] * 3, -1)
    np.testing.assert_array_equal(pixels(through_file(Image.fromarray(samples), kind)), expected)


def test_16_bit_colour_keeps_the_high_byte_too():
    import struct
    import zlib

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    samples = np.array([0x01FF, 0x8000, 0xFFFF], dtype=">u2")
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + samples.tobytes()))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(pixels(read_image(io.BytesIO(data))), [[[1, 0x80, 0xFF]]])


def test_32_bit_samples_are_refused():
    with pytest.raises(ImageError, match="signed numbers, of which no range is known"):
        through_file(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), "TIFF")


def test_32_bit_samples_in_memory_have_no_known_range():
    grey = Image.fromarray(RAMP[..., 0])
    for image in (grey.convert("I"), Image.fromarray(RAMP[..., 0].astype(np.int32))):
        with pytest.raises(ValueError, match=r'mode I says nothing .* convert\("L"\) if .*, convert\("I;16"\) if'):
            open_photograph(image)
        np.testing.assert_array_equal(np.asarray(open_photograph(image.convert("L")).colours)[..., 0], RAMP[..., 0])
    wide = Image.fromarray(np.full((2, 2), 0x1234, np.int32)).convert("I;16")
    assert open_photograph(wide).colours.getpixel((0, 0)) == (0x12,) * 3


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("name", ["a.png", "a.pgm"])
def test_16_bit_files_are_read_as_such_when_pillow_has_opened_them(tmp_path, name, loaded):
    samples = np.array([[0, 255, 256, 0x1234, 0xFFFF]], dtype=np.uint16)
    if name == "a.png":
        Image.fromarray(samples).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"P5 5 1 65535\n" + samples.astype(">u2").tobytes())
    with Image.open(tmp_path / name) as image:
        if loaded:
            image.load()
        np.testing.assert_array_equal(np.asarray(open_photograph(image).colours)[..., 0], samples >> 8)
    # Before version 11.3 Pillow opened such a PNG in mode I.
    if loaded and name == "a.png":
        older = image.convert("I")
        older.format = "PNG"
        np.testing.assert_array_equal(np.asarray(open_photograph(older).colours)[..., 0], samples >> 8)


def test_floating_point_is_refused():
    with pytest.raises(ImageError, match="floating-point numbers, of which no range is known"):
        through_file(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")


def test_cmyk_follows_pillow():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    result = pixels(through_file(cmyk, "JPEG", quality=100)).astype(int)
    assert np.abs(result - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = through_file(Image.fromarray(RAMP[:3]), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels(result), np.rot90(RAMP[:3], turn))
    again = through_file(result)  # the flag must not survive the turn
    np.testing.assert_array_equal(pixels(again), pixels(result))


def test_errors_name_the_file(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:900])
    for name, reason in (("text.png", "not a picture"), ("cut.png", "cannot read"), ("none.png", "no such file")):
        with pytest.raises(ImageError, match=reason) as error:
            read_image(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_damaged_bytes_only_ever_raise_image_error(kind):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(whole, kind)
    data = np.frombuffer(whole.getvalue(), np.uint8)
    random = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about damaged metadata
        for _ in range(150):
            damaged = data.copy()
            damaged[random.integers(len(data), size=4)] = random.integers(256, size=4)
            with contextlib.suppress(ImageError):
                assert read_image(io.BytesIO(damaged[: random.integers(1, len(data))].tobytes())).mode == "RGB"


def test_the_pixel_limit_of_pillow_holds(tmp_path, monkeypatch):
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 2 - 1)
    with pytest.raises(ImageError, match=r"large\.png.*exceeds limit.*MAX_IMAGE_PIXELS"):
        read_image(tmp_path / "large.png")


def test_listing_is_sorted_recursive_and_selective(tmp_path):
    for name in ("b.PNG", "a/c.jpeg", "a/b.webp", "z.tif", "notes.txt", ".hidden.png", "x.rnnc", "y.bmp", "w.avif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["a/b.webp", "a/c.jpeg", "b.PNG", "w.avif", "y.bmp", "z.tif"]
    with pytest.raises(ImageError, match="nowhere is not a folder"):
        list_images(tmp_path / "nowhere")


def test_reading_needs_no_torch():
    script = "import sys, lit_rnncomp.data; sys.exit(any(m in sys.modules for m in ('torch', 'lightning', 'rich')))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_linked_folders_are_searched_once_and_circles_end(tmp_path):
    for name in ("disk/set/a.png", "photos/b.png", "photos/deep/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    photos = tmp_path / "photos"
    for link, target in (("set", tmp_path / "disk/set"), ("again", tmp_path / "disk"), ("a", photos / "deep")):
        (photos / link).symlink_to(target)
    (photos / "deep/circle").symlink_to(photos)
    assert [path.relative_to(photos).as_posix() for path in list_images(photos)] == [
        "again/set/a.png",
        "b.png",
        "deep/c.png",
    ]
