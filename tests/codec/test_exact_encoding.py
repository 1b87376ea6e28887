"""`encode(exact=True)`: the same pixels give the same bytes, whatever adds, multiplies and takes logarithms."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import processors, ternary_models
from skimage import data

import lit_rnncomp
from lit_rnncomp.codec import bits, container, ternary_picture
from lit_rnncomp.codec.ternary_picture import FINEST, Picture
from lit_rnncomp.models import lapped, ternary

CODEC = ternary_models.codec()
PHOTO = ternary_models.picture(96, 136)
ONE = 1 << 20


def from_the_middle(values: np.ndarray, unit: float) -> float:
    """How far, in units, the value is from where rounding turns that is closest to it."""
    size = np.abs(values).ravel() / unit
    return float(np.abs(size - np.floor(size) - 0.5).min())


def test_no_library_decides_how_a_constant_is_rounded() -> None:
    """Libraries differ by some 1e-15 in cosines, powers and logarithms."""
    assert from_the_middle(lapped.butterfly(), 2**-20) > 1e-3
    assert from_the_middle(lapped.block_basis(), 2**-20) > 1e-3
    assert from_the_middle(16 - np.log2(np.arange(1, 65536)), 2**-20) > 1e-6
    powers = np.array([2 ** (scale / 256) for scale in range(1, 256)])
    near = powers.astype(np.float32)
    for other in (np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(9))):
        middle = (near.astype(np.float64) + other) / 2
        assert np.abs(powers / middle - 1).min() > 1e-12


@pytest.mark.parametrize(
    ("size", "side", "split"),
    [((8, 8), 8, False), ((24, 8), 8, False), ((40, 72), 8, False), ((32, 48), 16, False), ((32, 48), 16, True)],
)
def test_the_analysis_is_that_of_integers(size: tuple[int, int], side: int, split: bool) -> None:
    """The same sums in 64-bit integers, which no one could round."""
    image = np.random.RandomState(size[0]).choice(np.array([0, 1, 128, 254, 255], np.uint8), (*size, 3))
    matrices = lapped.butterfly(), lapped.block_basis(side, split)
    filters, basis = (np.rint(matrix * ONE).astype(np.int64) for matrix in matrices)
    samples = (2 * image.astype(np.int64) - 255) * ONE * ONE  # in units of 2**-41
    for axis in (0, 1):
        samples = samples.swapaxes(0, axis)
        for border in range(side - 4, size[axis] - 4, side):
            samples[border : border + 8] = np.einsum("ij,jkl->ikl", filters, samples[border : border + 8] // ONE)
        samples = samples.swapaxes(0, axis)
    half = 1 << 20
    whole, rest = samples // (2 * half), samples % (2 * half)
    rounded = whole + ((rest > half) | ((rest == half) & (whole % 2 == 1)))  # to units of 2**-20, halves to even
    rows, columns = size[0] // side, size[1] // side
    blocks = rounded.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3 * side**2)
    expected = np.einsum("ij,kj->ki", basis, blocks)
    assert np.abs(expected).max() < 2**53
    where = np.full((rows, columns), split) if side == 16 else None
    exact = lapped.analysis(image, np.float64, exact=True, size=side, split=where)
    np.testing.assert_array_equal(lapped._together(exact, side // 8), expected / (ONE * ONE))
    assert np.abs(exact - lapped.analysis(image, np.float64, size=side, split=where)).max() < 0.01


def test_costs_are_information() -> None:
    chances = np.array([1, 2, 100, 32768, 65535], np.uint16)
    np.testing.assert_allclose(bits.costs()[chances], 16 - np.log2(chances), atol=1e-6)
    np.testing.assert_allclose(bits.more(chances), np.log2(65536 / chances - 1), atol=1e-5)


def test_coefficients_are_counted_by_comparison() -> None:
    for image in (PHOTO, np.zeros_like(PHOTO)):
        picture = Picture(CODEC, image, "visual", exact=True)
        counts, size = picture.significant(), np.abs(picture._transforms.at(0).target)
        for step in (0, 1, 700, 1500, FINEST):
            assert counts[step] == (size >= ternary_picture._thresholds()[step]).sum()
        usual = Picture(CODEC, image, "visual").significant()
        assert np.abs(counts - usual).max() <= 2e-3 * size.size


def test_exact_files_are_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"step": 1900}, {"bpp": 0.8}, {"psnr": 30.0}):
        exact, usual = (CODEC.encode(PHOTO, **options, exact=exact) for exact in (True, False))
        assert len(exact) == pytest.approx(len(usual), rel=0.01)
        assert CODEC.decode(exact).size == (136, 96)
    monkeypatch.setattr(ternary_picture, "_MULTIPLIER", 1e9)
    assert len(CODEC.encode(PHOTO, step=1900, exact=True)) < len(exact), "bits are weighed"


def test_the_first_iteration_is_the_first_with_a_code() -> None:
    """Also of a picture whose largest coefficient is a threshold, or just below."""
    for scale in range(0, 256, 17):
        for below in (False, True):
            picture = Picture(CODEC, PHOTO, "psnr")
            peak = np.float32(1024 / ternary.factor(scale))
            target = picture._transforms.at(0).target
            target *= (np.nextafter(peak, np.float32(0)) if below else peak) / np.abs(target).max()
            header, _, chunks = container.parse(picture.encode(5 * 256 + scale).data)
            *_, state = CODEC.states(container.parse(picture.encode(5 * 256 + scale).data), None, False)
            first = header.layout.first
            assert first in (1, 2) and len(chunks) == 6 - first
            levels = ternary.levels(target, first + 1, scale)
            assert np.abs(levels).max() == 1 and np.abs(state.after).max() < 2 ** (6 - first)


ROCKET = data.rocket()[:168, :192]
SCRIPT = "from codec.test_exact_encoding import digests; print(*digests())"


def digests(exact: bool = True) -> list[str]:
    """Of files of a picture on which float32 disagrees under most settings, for every kind of target."""
    codec = lit_rnncomp.load("ternary64")
    mask = np.zeros(ROCKET.shape[:2], np.uint8)
    mask[30:70, :90] = 255
    targets = [{"step": 2700, "tune": "psnr"}, {"quality": 75}, {"bpp": 0.7}, {"max_bytes": 900}]
    targets += [{"psnr": 33.0, "tune": "psnr"}, {"ms_ssim": 14.0}, {"iterations": 9, "focus": mask}]
    files = [codec.encode(ROCKET, **target, exact=exact) for target in targets]
    files.append(codec.truncate(files[0], max_bytes=4000))
    return [hashlib.sha256(file).hexdigest() for file in files]


@pytest.mark.slow
@pytest.mark.parametrize("setting", processors.SETTINGS, ids=str)
def test_files_are_the_same_under_every_setting_of_the_processor(setting: dict[str, str], here: list[str]) -> None:
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    if "SkylakeX" in setting.values() and not {"X86_V4", "AVX512_SKX"} & set(found):
        pytest.skip("this processor has no AVX-512")
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **setting}
    if environment.get("NPY_DISABLE_CPU_FEATURES") == "ALL":
        environment["NPY_DISABLE_CPU_FEATURES"] = " ".join(found)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == here


@pytest.fixture(scope="module")
def here() -> list[str]:
    return digests()
