"""The models that ship: found without an option, whole, worth shipping, and described by their files."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import lit_rnncomp
from lit_rnncomp.codec import container, zoo
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.evaluation.catalog import describe
from lit_rnncomp.evaluation.measure import to_tensor
from lit_rnncomp.evaluation.metrics import psnr_hvs

PHOTO = data.chelsea()[:176, 100:308]


def psnr(decoded) -> float:
    return 10 * np.log10(255**2 / np.square(np.asarray(decoded).astype(float) - PHOTO).mean())


def test_the_default_ships_and_meets_a_rate() -> None:
    codec = lit_rnncomp.load()
    assert codec.name == zoo.DEFAULT
    encoded = codec.encode(PHOTO, bpp=0.8)
    assert 0.98 * 0.8 <= 8 * len(encoded) / PHOTO[..., 0].size <= 0.8
    assert psnr(codec.decode(encoded)) > 31
    assert psnr(codec.decode(codec.encode(PHOTO, bpp=0.8, tune="psnr"))) > psnr(codec.decode(encoded))


def test_qualities_of_the_default_rise_and_are_those_of_jpeg() -> None:
    codec = lit_rnncomp.load()
    assert len(codec.qualities) == 100 and codec.qualities == sorted(codec.qualities)
    sizes = [len(codec.encode(PHOTO, quality=quality)) for quality in (10, 50, 75, 90)]
    assert sizes == sorted(sizes)
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", quality=75)
    decoded = codec.decode(codec.encode(PHOTO, quality=75))
    rival = Image.open(file).convert("RGB")
    original, ours, theirs = (to_tensor(Image.fromarray(np.asarray(picture))) for picture in (PHOTO, decoded, rival))
    # Calibrated on average: a single picture may be two decibels off.
    assert abs(float(psnr_hvs(original, ours)) - float(psnr_hvs(original, theirs))) < 2
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", quality=30)
    assert len(codec.encode(PHOTO, quality=30)) < 0.95 * len(file.getvalue())


def test_the_entropy_model_saves_bits_where_there_are_any_to_save() -> None:
    file = container.parse(lit_rnncomp.load("residual_gru_dct64").encode(PHOTO))
    chunks, layout = file.iterations, file.header.layout
    assert isinstance(layout, container.Binary) and PHOTO.shape == (22 * layout.stride, 26 * layout.stride, 3)
    plain = 22 * 26 * layout.bits / 8
    assert len(chunks) == 16 and chunks[0].kind == container.ITERATION
    assert len(chunks[0].payload) < 0.9 * plain
    assert len(chunks[1].payload) < 0.97 * plain
    assert max(len(chunk.payload) for chunk in chunks) <= plain


# What NumPy dispatches on, and the oldest kernels of its linear algebra.
SIMD = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))


@pytest.mark.parametrize("name", sorted(zoo.shipped()))
@pytest.mark.parametrize(
    "setting",
    [{"OMP_NUM_THREADS": "2"}, {"OPENBLAS_CORETYPE": "Prescott"}, {"NPY_DISABLE_CPU_FEATURES": SIMD}],
    ids=lambda s: next(iter(s)),
)
def test_a_file_is_decoded_under_other_settings_of_the_processor(
    name: str, setting: dict[str, str], tmp_path: Path
) -> None:
    codec = lit_rnncomp.load(name)
    (tmp_path / "a.rnnc").write_bytes(codec.encode(PHOTO, bpp=0.6))
    script = "from lit_rnncomp.cli import main; main()"
    command = [sys.executable, "-c", script, "decode", str(tmp_path / "a.rnnc"), str(tmp_path / "a.png")]
    subprocess.run(command, env={**os.environ, **setting}, check=True, capture_output=True, timeout=120)
    here = np.asarray(codec.decode((tmp_path / "a.rnnc").read_bytes())).astype(int)
    # The codes are exact; the network that draws the picture is float, and may round the other way.
    assert np.abs(np.asarray(Image.open(tmp_path / "a.png")).astype(int) - here).max() <= 1
    subprocess.run(
        [*command, "--exact", "-f"], env={**os.environ, **setting}, check=True, capture_output=True, timeout=120
    )
    exact = codec.decode((tmp_path / "a.rnnc").read_bytes(), exact=True)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(exact))


@pytest.mark.parametrize(
    "setting",
    [{}, {"OPENBLAS_CORETYPE": "Prescott"}, {"OPENBLAS_CORETYPE": "Haswell"}, {"NPY_DISABLE_CPU_FEATURES": SIMD}],
)
def test_exact_binary_codes_are_the_same_everywhere(setting: dict[str, str], tmp_path: Path) -> None:
    """In float32 the settings disagree on this picture."""
    model = "residual_gru_dct64"
    here = lit_rnncomp.load(model).encode(PHOTO, exact=True)
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "encode", str(tmp_path / "photo.png")]
    environment = {**os.environ, **setting}
    command += [str(tmp_path / "a.rnnc"), "--model", model, "--exact"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    assert (tmp_path / "a.rnnc").read_bytes() == here


Y, X = np.mgrid[:96, :96]
UNSEEN = {
    "noise": np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8),
    "stripes": np.stack([X // 16 % 2, Y // 24 % 2, X // 40 % 2], -1).astype(np.uint8) * 255,
    "checkerboard": np.repeat(((X // 3 + Y // 3) % 2)[..., None], 3, 2).astype(np.uint8) * 255,
}


@pytest.mark.parametrize("picture", UNSEEN)
@pytest.mark.parametrize("name", sorted(name for name in zoo.shipped() if name.startswith("ternary")))
def test_pictures_unlike_all_that_were_learned_from_are_drawn_as_their_codes_say(name: str, picture: str) -> None:
    """A network that runs wild there may cost something over the middles of intervals, and not thousands of times."""
    codec = lit_rnncomp.load(name)
    silent = {key: 0 * x for key, x in codec.tensors.items() if key.startswith(("refiner.head", "refiner.own"))}
    plain_tensors = {**codec.tensors, **silent}
    middles = TernaryCodec({key: x for key, x in plain_tensors.items() if not key.startswith("filter.")})
    middles.digest = codec.digest
    for tune in ("psnr", "visual"):
        for step in (1024, 1536, 2304, 2560):
            file = codec.encode(UNSEEN[picture], step=step, tune=tune)
            drawn, plain = (
                np.square(np.asarray(c.decode(file)).astype(float) - UNSEEN[picture]).mean() for c in (codec, middles)
            )
            assert drawn < 4 * plain + 1, f"{tune}, step {step}"


@pytest.mark.parametrize("name", sorted(zoo.shipped()))
def test_every_model_has_a_card_and_results_on_all_of_kodak(name: str) -> None:
    path = zoo.shipped()[name]
    row = describe(name, path)
    assert row["digest"] in path.with_suffix(".md").read_text()
    results = json.loads((path.parent / "results" / f"{name}.json").read_text())
    assert len(results["pictures"]) == 24
    for measured in [f"{name}-{tune}" for tune in row["tunes"]] if "tunes" in row else [name]:
        versions = results["versions"][measured]
        assert versions["weights"] == row["digest"]
        assert versions.get("entropy_model") == row.get("entropy_digest")
    for kodak in row.get("tunes", {"": row["kodak"]}).values():
        assert {"ms_ssim", "psnr", "psnr_hvs"} <= set(kodak)


def test_all_models_together_are_small() -> None:
    assert sum(path.stat().st_size for path in zoo.shipped().values()) < 20e6
