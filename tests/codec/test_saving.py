"""Decoded pictures keep what is known of them, and next to nothing is lost on the way."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import picture_files, profiles, ternary_models
from helpers.commands import refused
from helpers.files import assembled
from PIL import Image, ImageFilter

from lit_rnncomp.cli import main
from lit_rnncomp.codec import container, metadata, saving, ternary_weights, weights
from lit_rnncomp.codec.container import BitstreamError
from lit_rnncomp.codec.saving import format_for, save
from lit_rnncomp.codec.ternary_weights import TernaryWeights
from lit_rnncomp.files import OutputError
from lit_rnncomp.images import metadata_of, read_image, read_metadata

# Smooth, as decoded pictures are.
PICTURE = Image.fromarray(ternary_models.picture(64, 48)).filter(ImageFilter.GaussianBlur(1.5))
PROFILE = profiles.display_p3()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><title>caf\xc3\xa9</title></x:xmpmeta>'


def exif() -> bytes:
    values = Image.Exif()
    values[0x010F], values[0x0110] = "maker", "camera"
    return values.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
def test_metadata_go_into_every_format_that_holds_them(tmp_path: Path, suffix: str) -> None:
    picture = PICTURE.copy()
    picture.info = {"icc_profile": PROFILE, "exif": exif(), "xmp": XMP}
    path = tmp_path / f"a{suffix}"
    save(picture, path, Image.registered_extensions()[suffix])
    found = read_metadata(path)
    assert found["icc_profile"] == PROFILE and found["xmp"] == XMP
    values = Image.Exif()
    values.load(found["exif"])
    assert (values[0x010F], values[0x0110]) == ("maker", "camera")


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """Of a directory, with a value of up to four bytes or where it stands."""
    return struct.pack("<HHI4s", tag, kind, count, value)


def kept_as(suffix: str, folder: Path, block: bytes) -> tuple[Path, list[str]]:
    """A picture with this Exif, written; and the notes."""
    picture = PICTURE.copy()
    picture.info = {"exif": block}
    path = folder / f"a{suffix}"
    return path, save(picture, path, Image.registered_extensions()[suffix])[1]


MAKER = entry(0x10F, 2, 4, b"abc")
LAYOUT = {
    "the size of another picture": [entry(0x100, 4, 1, b"\xa0\x0f\0\0"), entry(0x101, 4, 1, b"\xb8\x0b\0\0")],
    "separate planes": [entry(0x11C, 3, 1, b"\2\0")],
    "compressed strips": [entry(0x103, 3, 1, b"\6\0"), entry(0x111, 4, 1, b"\x20\0\0\0"), entry(0x117, 4, 1, b"\7")],
    "tiles": [entry(tag, 4, 1, b"\x10\0\0\0") for tag in (0x142, 0x143, 0x144, 0x145)],
    "other samples": [entry(0x102, 3, 1, b"\x10"), entry(0x106, 3, 1, b"\6"), entry(0x115, 3, 1, b"\4")],
    "differences of floating-point numbers": [entry(0x13D, 3, 1, b"\3\0"), entry(0x153, 3, 1, b"\3\0")],
    "one more channel": [entry(0x152, 3, 1, b"\2\0")],
    "tables of a JPEG": [
        entry(0x15B, 7, 4, b"\xff\xd8\xff\xd9"),
        entry(0x201, 4, 1, b"\x20"),
        entry(0x202, 4, 1, b"\x09"),
    ],
    "a reduced picture": [entry(0xFE, 4, 1, b"\1"), entry(0x14A, 4, 1, b"\x08")],
    "text where a number belongs": [entry(0x100, 2, 4, b"abc")],
}


@pytest.mark.parametrize("tags", LAYOUT.values(), ids=LAYOUT)
def test_a_tiff_says_how_its_own_pixels_are_stored(tmp_path: Path, tags: list[bytes]) -> None:
    entries = sorted([MAKER, *tags], key=lambda one: struct.unpack_from("<H", one))
    path, notes = kept_as(".tif", tmp_path, picture_files.exif(*entries))
    assert not notes
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(PICTURE))
        assert image.getexif()[0x10F] == "abc"
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.asarray(PICTURE))


def test_a_tiff_keeps_what_exif_says_of_the_picture(tmp_path: Path) -> None:
    said = Image.Exif()
    said[0x8769] = {0x9003: "2020:01:01 00:00:00", 0xA005: {1: "R98"}}
    said[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    said[0x11A], said[0x128], said[0x13B] = 300.0, 2, "Emile"
    block = said.tobytes().replace(b"Emile\0", b"\xc3\x89mil\0")
    path, notes = kept_as(".tif", tmp_path, block)
    assert not notes and b"\xc3\x89mil\0" in path.read_bytes()
    with Image.open(path) as image:
        found = image.getexif()
        assert (found[0x11A], found[0x128]) == (300, 2)
        assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00" and found.get_ifd(0xA005)[1] == "R98"
        assert found.get_ifd(0x8825)[2] == (1, 2, 3)


MALFORMED = {
    "a negative rational": (entry(0x11A, 10, 1, struct.pack("<I", 50)), struct.pack("<ii", -1, 1), "XResolution"),
    "text where a number belongs": (entry(0x11A, 2, 4, b"abc"), b"", "XResolution"),
    "a directory with a rational of text": (
        entry(0x8769, 4, 1, struct.pack("<I", 50)),
        struct.pack("<H", 2) + entry(0x9003, 2, 4, b"now") + entry(0xA002, 2, 4, b"\xe9t\xe9") + bytes(4),
        "ExifImageWidth",
    ),
    "a directory that is not there": (entry(0x8769, 4, 1, b"\xff\xff\xff\0"), b"", "ExifOffset"),
}


@pytest.mark.parametrize("suffix", [".tif", ".avif", ".jpg", ".png", ".webp"])
@pytest.mark.parametrize(("tag", "beyond", "name"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_exif_costs_no_picture(tmp_path: Path, suffix: str, tag: bytes, beyond: bytes, name: str) -> None:
    upright = entry(0x112, 3, 1, b"\1\0")
    first, last = (upright, tag) if tag > upright else (tag, upright)
    path, notes = kept_as(suffix, tmp_path, picture_files.exif(MAKER, first, last, beyond=beyond))
    assert read_image(path).size == PICTURE.size
    found = read_metadata(path)["exif"]
    assert b"abc" in found
    if suffix == ".tif":
        assert notes == [f"TIFF holds no Exif {name} here: left out"]
    else:
        assert "Exif" not in " ".join(notes) and beyond in found  # it is handed on as it is


def test_exif_that_is_none_is_left_out_where_it_would_be_read(tmp_path: Path) -> None:
    for suffix in (".tif", ".avif"):
        path, notes = kept_as(suffix, tmp_path, b"noise")
        assert read_image(path).size == PICTURE.size and "holds no Exif here: left out" in notes[-1]


def test_a_jpeg_names_the_exif_of_a_png(tmp_path: Path) -> None:
    path, _ = kept_as(".jpg", tmp_path, picture_files.exif(MAKER).removeprefix(b"Exif\0\0"))
    with Image.open(path) as image:
        assert image.getexif()[0x10F] == "abc"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".jp2", ".avif", ".gif"])
def test_a_lossy_format_is_named_and_loses_little(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    _, notes = save(PICTURE, path, Image.registered_extensions()[suffix])
    error = np.square(np.asarray(PICTURE, float) - np.asarray(read_image(path), float)).mean()
    if suffix in (".jpg", ".avif", ".gif"):
        assert "lossy" in notes[0] and len(notes) == 1
        assert suffix == ".gif" or 10 * np.log10(255**2 / error) > 40
    else:
        assert not notes and error == 0


@pytest.mark.parametrize("name", ["a.ico", "a.icns", "a.pbm", "a.pfm", "a.pgm", "a.PGM", "a.bw"])
def test_a_format_that_changes_a_picture_is_refused(name: str) -> None:
    with pytest.raises(OutputError, match=rf"cannot write {name}: .* alone; use \.png, \.tif, .*\.jpg$"):
        format_for(name, 40, 24, grey=False)


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".pgm", b"P5\n"), (".bw", b"\x01\xda\0\x01\0\x02"), (".ppm", b"P6\n"), (".pnm", b"P6\n")]
)
def test_a_name_that_stands_for_grey_holds_one_channel(tmp_path: Path, suffix: str, begins: bytes) -> None:
    grey = PICTURE.convert("L")
    path = tmp_path / f"a{suffix}"
    save(grey.convert("RGB"), path, format_for(str(path), *grey.size, grey=True))
    assert path.read_bytes().startswith(begins)
    np.testing.assert_array_equal(np.asarray(read_image(path))[..., 0], np.asarray(grey))


def test_a_grey_picture_is_decoded_to_a_grey_name_and_a_colour_one_is_not(tmp_path: Path, capsys) -> None:
    codec = ternary_models.codec()
    ternary_weights.save(tmp_path / "m.safetensors", TernaryWeights(codec.tensors, codec.qualities))
    for name, picture in (("grey", PICTURE.convert("L")), ("colour", PICTURE)):
        (tmp_path / f"{name}.rnnc").write_bytes(codec.encode(picture, step=1200))
    known = ["--model", str(tmp_path / "m.safetensors")]
    main(["decode", str(tmp_path / "grey.rnnc"), str(tmp_path / "grey.pgm"), *known])
    assert (tmp_path / "grey.pgm").read_bytes().startswith(b"P5\n48 64\n255\n")
    capsys.readouterr()
    said = refused(["decode", str(tmp_path / "colour.rnnc"), str(tmp_path / "colour.pgm"), *known], capsys)
    assert ".pgm is for grey alone; use .png" in said and not (tmp_path / "colour.pgm").exists()


@pytest.mark.parametrize(
    ("suffix", "begins"),
    [(".jp2", b"\0\0\0\x0cjP  "), (".j2k", b"\xff\x4f"), (".j2c", b"\xff\x4f"), (".jpc", b"\xff\x4f")],
)
def test_jpeg_2000_has_a_box_where_its_name_says_so(tmp_path: Path, suffix: str, begins: bytes) -> None:
    save(PICTURE, tmp_path / f"a{suffix}", "JPEG2000")
    assert (tmp_path / f"a{suffix}").read_bytes().startswith(begins)


@pytest.mark.parametrize(("kind", "limit"), saving._SIDES.items())
def test_the_longest_side_is_what_the_format_holds(tmp_path: Path, kind: str, limit: int) -> None:
    suffix = next(suffix for suffix, name in Image.registered_extensions().items() if name == kind)
    assert format_for(f"a{suffix}", limit, 1, grey=True) == kind
    for size in ((limit + 1, 1), (1, limit + 1)):
        with pytest.raises(
            OutputError, match=f"a{suffix}: {kind} holds {limit} pixels a side, not {size[0]}x{size[1]}"
        ):
            format_for(f"a{suffix}", *size, grey=True)
    save(Image.new("RGB", (limit, 1)), tmp_path / "a", kind)
    if kind != "PDF":
        assert Image.open(tmp_path / "a").size == (limit, 1)
    if kind == "AVIF":
        save(Image.new("RGB", (limit + 1, 1)), tmp_path / "b", kind)
        with pytest.raises(OSError, match="cannot identify"):
            Image.open(tmp_path / "b")
    else:
        with pytest.raises(OutputError, match=f"cannot write {tmp_path / 'b'}: {kind} of {limit + 1}x1 pixels: "):
            save(Image.new("RGB", (limit + 1, 1)), tmp_path / "b", kind)


def test_jpeg_xl_is_written_where_its_package_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pillow_jxl")
    # Nothing else imports the plugin there.
    script = "from lit_rnncomp.picture_formats import picture_format; print(picture_format('a.jxl'))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "JXL\n"
    picture = PICTURE.copy()
    picture.info = {"icc_profile": PROFILE, "exif": exif()}
    _, notes = save(picture, tmp_path / "a.jxl", "JXL")
    assert notes == ["JXL holds no colour profile here: left out"]
    with Image.open(tmp_path / "a.jxl") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(PICTURE))
        assert image.getexif()[0x010F] == "maker" and image.info["icc_profile"] != PROFILE
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(OutputError, match=r"cannot write a\.jxl: .* pip install pillow-jxl-plugin$"):
        format_for("a.jxl", 40, 24, grey=False)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    picture = PICTURE.copy()
    picture.info = {"icc_profile": PROFILE, "exif": b"Exif\0\0" + bytes(70000), "xmp": XMP + bytes(70000)}
    assert any("no Exif and no XMP" in note for note in save(picture, tmp_path / "a.jpg", "JPEG")[1])
    assert any(
        "no colour profile and no Exif and no XMP" in note for note in save(picture, tmp_path / "a.bmp", "BMP")[1]
    )


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", b"noise"),
        ("RGB", PROFILE[:20]),
        ("RGB", PROFILE.replace(b"RGB ", b"CMYK", 1)),
        ("L", PROFILE),
        ("RGB", "text"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored(mode: str, profile: object) -> None:
    image = Image.new(mode, (8, 8))
    image.info["icc_profile"] = profile
    assert "icc_profile" not in metadata_of(image)


def test_the_command_line_keeps_a_profile_and_speaks_of_what_is_lost(tmp_path: Path, capsys) -> None:
    codec = ternary_models.codec()
    ternary_weights.save(tmp_path / "m.safetensors", TernaryWeights(codec.tensors, codec.qualities))
    model = ["--model", str(tmp_path / "m.safetensors")]
    clear = PICTURE.convert("RGBA")
    clear.putpixel((0, 0), (1, 2, 3, 0))
    clear.save(tmp_path / "clear.png", icc_profile=PROFILE)
    main(["encode", str(tmp_path / "clear.png"), str(tmp_path / "a.rnnc"), *model])
    assert capsys.readouterr().err == f"note: {tmp_path / 'clear.png'}: transparency is laid over white\n"
    main(["decode", str(tmp_path / "a.rnnc"), str(tmp_path / "a.jpg"), *model])
    assert "JPEG is a lossy format" in capsys.readouterr().err
    assert read_metadata(tmp_path / "a.jpg") == {"icc_profile": PROFILE}
    main(["decode", str(tmp_path / "a.rnnc"), str(tmp_path / "a.png"), *model])
    assert capsys.readouterr().err == ""
    with Image.open(tmp_path / "clear.png") as image:
        data = codec.encode(image)
    assert data == (tmp_path / "a.rnnc").read_bytes()  # the Python interface keeps it, too


def transparent() -> Image.Image:
    rgba = PICTURE.convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
    return rgba


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jp2", ".jpg", ".bmp"])
def test_alpha_is_kept_without_loss_where_it_is_asked_for(tmp_path: Path, suffix: str, capsys) -> None:
    codec = ternary_models.codec()
    ternary_weights.save(tmp_path / "m.safetensors", TernaryWeights(codec.tensors, codec.qualities))
    model = ["--model", str(tmp_path / "m.safetensors")]
    transparent().save(tmp_path / "in.png")
    main(["encode", str(tmp_path / "in.png"), str(tmp_path / "a.rnnc"), "--keep", "alpha", *model])
    assert capsys.readouterr().err == ""
    main(["truncate", str(tmp_path / "a.rnnc"), str(tmp_path / "b.rnnc"), "--iterations", "1", *model])
    main(["decode", str(tmp_path / "b.rnnc"), str(tmp_path / f"b{suffix}"), *model])
    said = capsys.readouterr().err
    with Image.open(tmp_path / f"b{suffix}") as image:
        if suffix in (".jpg", ".bmp"):
            assert image.mode == "RGB" and "holds no transparency here: laid over white" in said
        else:
            assert image.mode == "RGBA" and "transparency" not in said
            np.testing.assert_array_equal(image.getchannel("A"), transparent().getchannel("A"))
    # So it is from Python, iteration by iteration.
    data = codec.encode(tmp_path / "in.png", keep=("icc", "alpha"))
    for picture in (codec.decode(data), *codec.decode_progressive(data)):
        np.testing.assert_array_equal(picture.getchannel("A"), transparent().getchannel("A"))
    assert codec.decode(codec.encode(tmp_path / "in.png")).mode == "RGB"
    with pytest.raises(ValueError, match="keep: 'all' is not one of icc, exif, xmp, alpha"):
        codec.encode(tmp_path / "in.png", keep=("all",))
    # Without being asked for it is laid over white, and said.
    main(["encode", str(tmp_path / "in.png"), str(tmp_path / "c.rnnc"), *model])
    assert "laid over white" in capsys.readouterr().err


def test_an_alpha_channel_that_is_none_is_refused() -> None:
    codec = ternary_models.codec()
    good = metadata.alpha_entry(transparent().getchannel("A"))
    large = metadata.alpha_entry(Image.new("L", (9000, 9000)))
    colours = metadata.alpha_entry(PICTURE)
    header, _, chunks = container.parse(codec.encode(PICTURE, step=500))
    for entry in (b"", b"noise", good[:60], good[:-30], large, colours):
        stored = container.Chunk(metadata.to_bytes({"alpha": entry}), container.METADATA)
        with pytest.raises(BitstreamError, match="the alpha channel is not readable"):
            codec.decode(assembled(header, [stored, *chunks]))
        with pytest.raises(ValueError, match="metadata 'alpha' is no grey PNG of the picture's size: "):
            codec.encode(PICTURE, step=500, metadata={"alpha": entry})
    assert codec.decode(codec.encode(PICTURE, step=500, metadata={"alpha": good})).mode == "RGBA"


def test_what_files_of_binary_codes_leave_out_is_said(tmp_path: Path, tiny_codec, capsys) -> None:
    weights.save(tmp_path / "m.safetensors", tiny_codec(unit="gru"))
    PICTURE.save(tmp_path / "in.png", icc_profile=PROFILE, exif=exif())
    command = ["encode", str(tmp_path / "in.png"), str(tmp_path / "a.rnnc"), "--iterations", "1", "--keep", "icc,exif"]
    main([*command, "--model", str(tmp_path / "m.safetensors")])
    assert "files of the model m hold no metadata: icc and exif left out" in capsys.readouterr().err
