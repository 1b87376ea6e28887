"""The command line as a person meets it: every verb in its own process, bad input in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_rnncomp.cli import VERBS
from lit_rnncomp.codec import weights
from lit_rnncomp.codec.api import truncate
from lit_rnncomp.codec.container import BitstreamError, parse


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == code, result.stderr
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_codec) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    weights.save(folder / "tiny.safetensors", tiny_codec(unit="gru"))
    y, x = np.mgrid[:90, :70]
    Image.fromarray(np.stack([2 * y, 3 * x, x + y], -1).astype(np.uint8)).save(folder / "photo.png")
    run("encode", folder / "photo.png", folder / "photo.rnnc", "--model", folder / "tiny.safetensors")
    return folder


def test_help_imports_nothing_heavy() -> None:
    for verb in VERBS:
        if VERBS[verb][0].startswith("lit_rnncomp.training.cli"):
            continue
        script = (
            "import sys; from lit_rnncomp.cli import main\n"
            f"try: main({verb.split()} + ['--help'])\n"
            "except SystemExit: pass\n"
            "print('HEAVY', sorted({'torch', 'lightning', 'wandb', 'matplotlib'} & set(sys.modules)))"
        )
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
        assert result.stdout.strip().endswith("HEAVY []"), verb
        assert "usage: lit-rnncomp " + verb in result.stdout


def test_encode_truncate_info_decode(folder: Path) -> None:
    model = ("--model", folder / "tiny.safetensors")
    said = json.loads(run("encode", folder / "photo.png", folder / "a.rnnc", *model, "--bpp", 2, "--json").stdout)
    assert said["bytes"] == (folder / "a.rnnc").stat().st_size
    assert said["bpp"] == 8 * said["bytes"] / (90 * 70) <= 2
    assert "3 iterations" in run("truncate", folder / "photo.rnnc", folder / "b.rnnc", "--iterations", 3).stdout
    facts = json.loads(run("info", folder / "b.rnnc", "--json").stdout)
    assert (facts["width"], facts["height"], len(facts["chunks"]), facts["coder"]) == (70, 90, 3, "raw")
    assert "70x90 pixels" in run("info", folder / "b.rnnc").stdout
    run("decode", folder / "b.rnnc", folder / "b.png", *model)
    run("decode", folder / "photo.rnnc", folder / "c.png", *model, "--iterations", 3)
    assert Image.open(folder / "b.png").size == (70, 90)
    assert (folder / "b.png").read_bytes() == (folder / "c.png").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_name_that_is_not_text_is_a_name(folder: Path, encoding: str) -> None:
    name = folder / os.fsdecode(b"caf\xe9.png")
    name.write_bytes((folder / "photo.png").read_bytes())
    script = "from lit_rnncomp.cli import main; main()"
    for words, code in ((["encode", name, folder / f"{encoding[:3]}.rnnc"], 0), (["decode", name, "x.png"], 2)):
        command = [sys.executable, "-c", script, *words, "--model", folder / "tiny.safetensors"]
        result = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
        assert result.returncode == code, result.stderr
        said = result.stderr if code else result.stdout
        assert (b"caf\xe9.png" if encoding[0] == "u" else b"caf\\udce9.png") in said and said.count(b"\n") == 1
    name.unlink()


def test_damaged_file_needs_partial(folder: Path) -> None:
    damaged = bytearray((folder / "photo.rnnc").read_bytes())
    damaged[-1] ^= 255
    (folder / "damaged.rnnc").write_bytes(damaged)
    arguments = ("decode", folder / "damaged.rnnc", folder / "d.png", "--model", folder / "tiny.safetensors")
    message = run(*arguments, code=2).stderr
    assert message.count("\n") == 1
    assert "chunk 4 fails its checksum; the first 3 iterations are intact (use --partial)" in message
    assert not (folder / "d.png").exists()
    run(*arguments, "--partial")
    assert Image.open(folder / "d.png").size == (70, 90)
    assert "bytes are damaged or cut" in run("info", folder / "damaged.rnnc").stderr
    cut = ("truncate", folder / "damaged.rnnc", folder / "kept.rnnc")
    assert "chunk 4 fails its checksum; --iterations 3 keeps what is intact" in run(*cut, "--bpp", 24, code=2).stderr
    run(*cut, "--iterations", 3)
    assert json.loads(run("info", folder / "kept.rnnc", "--json").stdout)["bytes"] < len(damaged)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encode", "nothing.png", "x.rnnc", "--model", "MODEL"), "nothing.png: no such file"),
        (("encode", "PHOTO", "x.rnnc", "--model", "nothing.ckpt"), "no such model file: nothing.ckpt"),
        (("encode", "PHOTO", "x.rnnc", "--model", "PHOTO"), "photo.png: not a checkpoint"),
        (("encode", "PHOTO", "nowhere/x.rnnc", "--model", "MODEL"), "there is no folder nowhere"),
        (
            ("encode", "PHOTO", "x.rnnc", "--model", "MODEL", "--bpp", "0.001"),
            "the first iteration of this picture needs",
        ),
        (("encode", "PHOTO", "x.rnnc", "--model", "MODEL", "--coder", "rnn"), "has no learned entropy coder"),
        (("encode", "PHOTO", "x.rnnc", "--modl", "MODEL"), "unrecognized arguments: --modl"),
        (("encode", "PHOTO", "x.rnnc", "--mod", "MODEL"), "unrecognized arguments: --mod"),
        (("decode", "PHOTO", "x.png", "--model", "MODEL"), "not an .rnnc file"),
        (("decode", "FILE", "x.xyz", "--model", "MODEL"), "no picture format for the ending '.xyz'"),
        (("decode", "FILE", "x.png"), "does not ship"),
        (("decode", "FILE", "x.png", "--model", "MODEL", "--iterations", "9"), "the file holds 1..4"),
        (("truncate", "FILE", "x.rnnc"), "give exactly one of"),
        (("info", "PHOTO"), "not an .rnnc file"),
        (("export", "MODEL", "x.bin"), "must end in .safetensors"),
        (("export", "MODEL", "x.safetensors", "--visual-ac", "0.5"), "is no decoder of ternary codes"),
        (("truncate", "FILE", "x.rnnc", "--bytes=-3"), "--bytes -3 is not a positive number"),
        (("truncate", "FILE", "x.rnnc", "--bytes", "20XB"), "--bytes 20XB: not a size; write 20000, 20KB"),
        (("encode", "PHOTO", "x.rnnc", "--bpp", "abc"), "--bpp abc: not a number"),
        (("encode", "PHOTO", "x.rnnc", "--iterations", "2.5"), "--iterations 2.5: not a whole number"),
        (("encode", "PHOTO", "x.rnnc", "--tune", "eye"), "--tune eye: not one of visual, psnr"),
        (("bdrate", "a", "b", "--metric", "lpips"), "--metric lpips: not one of ms_ssim, psnr"),
        (("compare", "PHOTO", "jpeg420", "--bpp", "inf"), "--bpp inf: not a number"),
        (("encode", "PHOTO", "x.rnnc", "--qualty", "3"), "unrecognized arguments: --qualty; did you mean --quality?"),
        (("encode", "PHOTO", "x.rnnc", "--quality", "300"), "--quality 300 is outside 1..100"),
        (("encode", "PHOTO", "x.rnnc", "--bpp", "1", "--ms-ssim", "9"), "not --bpp and --ms-ssim"),
        (("encode",), "required: photos"),
        (("decode", "bpp=1.rnnc", "x.png"), "cannot read bpp=1.rnnc: No such file"),
        (("bench", "PHOTO", "--repeats", "0"), "--repeats 0 is below 1"),
        (("enocde",), "there is no verb 'enocde'; did you mean encode?"),
        (("xyzzy",), "the verbs are encode, decode"),
        (("data",), "data is no verb; its verbs are data mine"),
        (("sweep", "rnu"), "sweep rnu is no verb; its verbs are sweep run, sweep best"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, arguments: tuple[str, ...], message: str) -> None:
    names = {"PHOTO": folder / "photo.png", "MODEL": folder / "tiny.safetensors", "FILE": folder / "photo.rnnc"}
    before = set(folder.iterdir())
    result = run(*[names.get(a, a) for a in arguments], code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("size", "most"), [("300", 300), ("0.3KB", 300), ("0.3kB", 300), ("0.3KiB", 307), ("1e2", None)]
)
def test_sizes_have_units(folder: Path, tmp_path: Path, size: str, most: int | None) -> None:
    arguments = ("truncate", folder / "photo.rnnc", tmp_path / "x.rnnc", "--bytes", size)
    if most is None:
        assert "not a size" in run(*arguments, code=2).stderr
        return
    run(*arguments)
    run("truncate", folder / "photo.rnnc", tmp_path / "y.rnnc", "--bytes", most)
    assert (tmp_path / "x.rnnc").read_bytes() == (tmp_path / "y.rnnc").read_bytes()
    assert (tmp_path / "x.rnnc").stat().st_size <= most


def test_help_and_version_are_where_people_look() -> None:
    assert run("help").stdout == run("--help").stdout == run().stdout
    assert run("help", "encode").stdout == run("encode", "--help").stdout
    assert run("-V").stdout == run("--version").stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of POSIX")
@pytest.mark.parametrize("verb", ["--help", "truncate"])
def test_a_closed_pipe_ends_in_silence(folder: Path, verb: str) -> None:
    arguments = {"--help": [], "truncate": [folder / "photo.rnnc", "-", "--iterations", "3"]}[verb]
    reader, writer = os.pipe()
    os.close(reader)
    script = "from lit_rnncomp.cli import main; main()"
    with open(writer, "wb") as pipe:  # noqa: PTH123  # of a descriptor
        result = subprocess.run(
            [sys.executable, "-c", script, verb, *map(str, arguments)], stdout=pipe, stderr=subprocess.PIPE, timeout=60
        )
    assert result.stderr == b""
    assert result.returncode == 1


def test_brackets_and_colons_in_names_are_no_markup(folder: Path, tmp_path: Path) -> None:
    name = tmp_path / "[red]a[" / ":cat:b].rnnc"
    name.parent.mkdir()
    name.write_bytes((folder / "photo.rnnc").read_bytes())
    assert f"{name}: 70x90 pixels" in run("info", name).stdout
    (tmp_path / "[").mkdir()
    picture = tmp_path / "[" / "b].png"
    picture.write_bytes((folder / "photo.png").read_bytes())
    timed = run("bench", picture, "--model", folder / "tiny.safetensors", "--threads", 1, "--repeats", 1, "--no-paper")
    assert "[/b].png" in "".join(timed.stdout.split())


def test_python_speaks_of_its_own_arguments(folder: Path) -> None:
    data = (folder / "photo.rnnc").read_bytes()
    with pytest.raises(ValueError, match="max_bytes=-3 is not"):
        truncate(data, max_bytes=-3)
    with pytest.raises(ValueError, match="bpp, max_bytes and iterations"):
        truncate(data)
    with pytest.raises(BitstreamError, match=r"partial=True"):
        parse(data[:-1])


def test_codec_needs_no_lightning_wandb_or_triton(folder: Path) -> None:
    script = (
        "import sys\n"
        "for name in ('lightning', 'wandb', 'triton', 'matplotlib', 'torchmetrics'): sys.modules[name] = None\n"
        "from lit_rnncomp.cli import main; main(sys.argv[1:])"
    )
    arguments = ["encode", folder / "photo.png", folder / "light.rnnc", "--model", folder / "tiny.safetensors"]
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True, capture_output=True, timeout=60)
    assert (folder / "light.rnnc").read_bytes() == (folder / "photo.rnnc").read_bytes()


def test_a_checkpoint_that_would_run_code_is_refused(folder: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self):
            return (Path.touch, (folder / "pwned",))

    torch.save({"codec_config": {}, "state_dict": Evil()}, folder / "evil.ckpt")
    message = run("encode", folder / "photo.png", folder / "x.rnnc", "--model", folder / "evil.ckpt", code=2).stderr
    assert "not a checkpoint that loads without running code" in message
    assert not (folder / "pwned").exists()


def test_export_keeps_the_codec(folder: Path) -> None:
    run("export", folder / "tiny.safetensors", folder / "half.safetensors", "--half")
    half, full = weights.load(folder / "half.safetensors"), weights.load(folder / "tiny.safetensors")
    assert half.config == full.config
    for name, tensor in full.state_dict().items():
        assert (half.state_dict()[name] - tensor).abs().max() < 1e-3
