"""The command line with a model of ternary codes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import ternary_models
from PIL import Image

from lit_rnncomp.cli import main
from lit_rnncomp.codec import container, ternary_weights, weights
from lit_rnncomp.codec.ternary_weights import TernaryWeights

CODEC = ternary_models.codec()
PHOTO = ternary_models.picture(176, 168)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_codec) -> Path:
    folder = tmp_path_factory.mktemp("ternary")
    ternary_weights.save(folder / "small.safetensors", TernaryWeights(CODEC.tensors, CODEC.qualities))
    weights.save(folder / "binary.safetensors", tiny_codec(unit="gru"))
    Image.fromarray(PHOTO).save(folder / "photo.png")
    mask = np.zeros(PHOTO.shape[:2], np.uint8)
    mask[:, :80] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask[:-1]).save(folder / "wrong.png")
    Image.fromarray(0 * mask).save(folder / "black.png")
    (folder / "noise.png").write_bytes(b"this is no picture")
    (folder / "photo.rnnc").write_bytes(CODEC.encode(PHOTO, step=1800))
    return folder


def words(folder: Path, arguments: str, out: Path) -> list[str]:
    names = {"MODEL": folder / "small.safetensors", "BINARY": folder / "binary.safetensors", "OUT": out}
    names |= {path.name: path for path in folder.iterdir()}
    return [str(names.get(word, word)) for word in arguments.split()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"quality": 75}),
        ("-q 80", {"quality": 80}),
        ("--quality 12", {"quality": 12}),
        ("--bpp 0.5", {"bpp": 0.5}),
        ("--bytes 900", {"max_bytes": 900}),
        ("--psnr 27", {"psnr": 27}),
        ("--ms-ssim 12", {"ms_ssim": 12}),
        ("--ms_ssim 0.9", {"ms_ssim": 0.9}),
        ("-q 50 --tune psnr", {"quality": 50, "tune": "psnr"}),
        ("--bpp 0.7 --focus mask.png", {"bpp": 0.7, "focus": "mask.png"}),
    ],
)
def test_options_are_those_of_the_codec(folder: Path, tmp_path: Path, capsys, options: str, expected: dict) -> None:
    out = tmp_path / "a.rnnc"
    main(words(folder, f"encode photo.png OUT --model MODEL --json {options}", out))
    said = json.loads(capsys.readouterr().out)
    if "focus" in expected:
        expected = {**expected, "focus": Image.open(folder / "mask.png")}
    assert out.read_bytes() == CODEC.encode(PHOTO, **expected)
    assert said["bytes"] == out.stat().st_size and said["model"] == "small"


def test_decode_info_map_truncate(folder: Path, tmp_path: Path, capsys) -> None:
    data = (folder / "photo.rnnc").read_bytes()
    main(words(folder, "decode photo.rnnc OUT --model MODEL", tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png").convert("RGB") == CODEC.decode(data)
    main(words(folder, "decode photo.rnnc OUT --model MODEL --exact --iterations 3", tmp_path / "b.png"))
    assert Image.open(tmp_path / "b.png").convert("RGB") == CODEC.decode(data, iterations=3, exact=True)
    main(words(folder, f"truncate photo.rnnc OUT --model MODEL --bytes {len(data) - 300}", tmp_path / "b.rnnc"))
    cut = (tmp_path / "b.rnnc").read_bytes()
    assert cut == CODEC.truncate(data, max_bytes=len(data) - 300)
    main(words(folder, f"truncate photo.rnnc OUT --bytes {len(data) - 300}", tmp_path / "c.rnnc"))
    assert (tmp_path / "c.rnnc").read_bytes() == container.cut(data, max_bytes=len(data) - 300)
    capsys.readouterr()
    main(["info", str(tmp_path / "b.rnnc"), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["coder"], facts["tune"], facts["bytes"], facts["grey"]) == ("ternary", "visual", len(cut), False)
    assert facts["header_bytes"] + sum(chunk["bytes"] for chunk in facts["chunks"]) == len(cut)
    assert [chunk["cut"] for chunk in facts["chunks"]] == [False] * (len(facts["chunks"]) - 1) + [True]
    main(words(folder, "info photo.rnnc --map OUT --model MODEL", tmp_path / "map.png"))
    assert "tune visual" in capsys.readouterr().out
    drawn = np.asarray(Image.open(tmp_path / "map.png")).astype(int).sum(-1)
    assert drawn.shape == PHOTO.shape[:2]
    spent = CODEC.spent(data)
    assert drawn[4::8, 4::8].ravel()[spent.argmax()] == drawn.max() == 3 * 255


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("encode photo.png OUT --model MODEL --iterations 12", "--iterations 12 is outside 1..11"),
        ("encode photo.png OUT --model MODEL --coder raw", "the model small has no --coder"),
        ("encode photo.png OUT --model BINARY -q 80", "the model binary has no --quality"),
        ("encode photo.png OUT --model BINARY --ms-ssim 12", "the model binary has no --ms-ssim"),
        ("encode photo.png OUT --model BINARY --tune psnr", "the model binary has no --tune"),
        ("encode photo.png OUT --model BINARY --focus mask.png", "the model binary has no --focus"),
        ("encode photo.png OUT --model MODEL -q 0", "--quality 0 is outside 1..100"),
        (
            "encode photo.png OUT --model MODEL --bytes 20",
            "20 bytes are too few: the smallest file of this picture has",
        ),
        ("encode photo.png OUT --model MODEL --bpp .inf", "--bpp inf is not a positive number"),
        ("encode photo.png OUT --model MODEL --psnr .nan", "nan dB of PSNR is no number"),
        (
            "encode photo.png OUT --model MODEL --bpp 1 --psnr 30",
            "give one of --quality, --bpp, --bytes, --psnr, --ms-ssim, --iterations, not --bpp and --psnr",
        ),
        ("encode photo.png OUT --model MODEL --focus wrong.png", "the focus mask is uint8(175, 168)"),
        ("encode photo.png OUT --model MODEL --focus black.png", "the focus mask is all black"),
        ("encode photo.png OUT --model MODEL --focus noise.png", "noise.png: not a picture"),
        ("encode photo.png OUT --model MODEL --focus nothing.png", "nothing.png: no such file"),
        ("decode photo.rnnc OUT.png --model BINARY", "the file was made by model"),
        ("decode photo.rnnc OUT.png", "does not ship"),
        ("decode photo.rnnc OUT.png --model MODEL --iterations 99", "the file holds 1.."),
        ("info photo.rnnc --map OUT.png", "does not ship"),
        ("info photo.rnnc --map OUT.png --model BINARY", "spends the same bits everywhere"),
        ("truncate photo.rnnc OUT --model MODEL --bytes 20", "20 bytes are too few"),
        ("truncate photo.rnnc OUT --model MODEL --bytes 200 --bpp 1", "give exactly one"),
    ],
)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, capsys, arguments: str, message: str) -> None:
    arguments = arguments.replace("OUT.png", str(tmp_path / "out.png"))
    with pytest.raises(SystemExit) as stopped:
        main(words(folder, arguments, tmp_path / "out.rnnc"))
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def test_a_quality_out_of_reach_is_a_warning_of_one_line(folder: Path, tmp_path: Path, capsys) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(words(folder, "encode photo.png OUT --model MODEL --psnr 90", tmp_path / "a.rnnc"))
    assert capsys.readouterr().err == (
        "warning: no file of this picture reaches 90 dB of PSNR: it is coded as finely as can be\n"
    )
    assert (tmp_path / "a.rnnc").exists()


def test_a_damaged_file_needs_partial(folder: Path, tmp_path: Path, capsys) -> None:
    data = bytearray((folder / "photo.rnnc").read_bytes())
    data[-1] ^= 255
    (tmp_path / "damaged.rnnc").write_bytes(data)
    arguments = ["decode", str(tmp_path / "damaged.rnnc"), str(tmp_path / "a.png")]
    arguments += ["--model", str(folder / "small.safetensors")]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "iterations are intact (use --partial)" in capsys.readouterr().err
    main([*arguments, "--partial"])
    assert Image.open(tmp_path / "a.png").convert("RGB") == CODEC.decode(bytes(data), partial=True)
