"""Classical codecs: sizes, headers, missing codecs, and the paper's own JPEG figures on the Kodak pictures."""

import io
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from skimage import data

from lit_rnncomp.evaluation import metrics, rd
from lit_rnncomp.evaluation.baselines import BASELINES, Baseline
from lit_rnncomp.evaluation.headers import header_bytes

KODAK = (
    Path(os.environ.get("LIT_RNNCOMP_SHARED", Path(__file__).resolve().parents[2].parent / "shared")) / "data" / "kodak"
)
kodak = pytest.mark.skipif(not KODAK.is_dir(), reason="the 24 Kodak pictures are not beside the checkout")
AVAILABLE = [name for name, baseline in BASELINES.items() if baseline.missing() is None]


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut()[:192, 100:340])


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def test_the_codecs_of_pillows_wheel_are_there():
    assert {"jpeg420", "jpeg444", "webp", "jpeg2000"} <= set(AVAILABLE)


@pytest.mark.parametrize("name", AVAILABLE)
def test_measured_points(photo, name):
    baseline = BASELINES[name]
    low, high = baseline.measure(photo, (baseline.settings[2], baseline.settings[-3]))
    assert low.picture.size == high.picture.size == photo.size
    assert low.size < high.size < 240 * 192 * 3
    assert low.size == len(baseline.encode(photo, low.setting)), (
        "the size is the file's, and the codec is deterministic"
    )
    assert metrics.psnr(tensor(photo), tensor(low.picture)) < metrics.psnr(tensor(photo), tensor(high.picture))
    assert baseline.versions()["pillow"]
    if name == "jpegxl":
        assert low.header is None
    else:
        assert low.header is not None and 0 < low.header < low.size


def test_header_of_a_jpeg_is_what_an_empty_picture_leaves(photo):
    """All flat grey pictures have the same tables; one more row of blocks costs scan data, not header."""
    grey = [Image.new("RGB", (64, side), (128, 128, 128)) for side in (64, 640)]
    files = [BASELINES["jpeg420-default"].encode(image, 50) for image in grey]
    assert len(files[0]) < len(files[1])
    assert (
        header_bytes(files[0]) == header_bytes(files[1]) == header_bytes(BASELINES["jpeg420-default"].encode(photo, 50))
    )
    quantised = files[0].index(b"\xff\xda")
    assert header_bytes(files[0]) == quantised + 2 + int.from_bytes(files[0][quantised + 2 : quantised + 4], "big") + 2


def test_comments_count_as_header(photo):
    with_comment = io.BytesIO()
    photo.save(with_comment, "JPEG", quality=50, comment=b"x" * 1000)
    plain = io.BytesIO()
    photo.save(plain, "JPEG", quality=50)
    assert header_bytes(with_comment.getvalue()) == header_bytes(plain.getvalue()) + 1004
    assert header_bytes(b"some other format") is None


def error(a, b):
    return np.square(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean()


@pytest.mark.parametrize("name", AVAILABLE)
def test_fit_is_a_file_that_fits_and_uses_its_bytes(photo, name):
    budget = 6000
    fitted = BASELINES[name].fit(photo, budget)
    assert 0.8 * budget < fitted.size <= budget
    smallest = BASELINES[name].fit(photo, 20)
    assert smallest.size > 20


@pytest.fixture(scope="module")
def graphic():
    """Flat areas: sizes of files fall where quality rises."""
    picture = Image.new("RGB", (192, 128), (240, 240, 240))
    pen = ImageDraw.Draw(picture)
    pen.rectangle([24, 32, 96, 100], fill=(30, 30, 200))
    pen.rectangle([120, 16, 160, 47], fill=(200, 30, 30))
    return picture


@pytest.mark.parametrize("name", [name for name in AVAILABLE if BASELINES[name].setting == "quality"])
def test_fit_is_the_best_file_that_fits_where_sizes_do_not_rise(graphic, name):
    codec = BASELINES[name]
    files = {quality: codec.encode(graphic, quality) for quality in range(1, 101)}
    errors = {quality: error(codec.decode(file), graphic) for quality, file in files.items()}
    for budget in sorted({len(file) for file in files.values()})[::5]:
        found = codec.fit(graphic, budget)
        assert found.size <= budget
        assert error(found.picture, graphic) <= 1.0001 * min(errors[q] for q in files if len(files[q]) <= budget)


def test_jpegxl_codes_without_loss_at_100(photo):
    if reason := BASELINES["jpegxl"].missing():
        pytest.skip(reason)
    assert error(BASELINES["jpegxl"].decode(BASELINES["jpegxl"].encode(photo, 100)), photo) == 0


def test_what_a_codec_cannot_code_is_one_line():
    wide = Image.new("RGB", (16400, 1))
    with pytest.raises(ValueError, match="webp cannot code 16400 x 1 pixels at quality 50: "):
        BASELINES["webp"].encode(wide, 50)
    with pytest.raises(ValueError, match="webp cannot code"):
        BASELINES["webp"].fit(wide, 1000)


def test_a_missing_codec_has_a_reason():
    plugin = Baseline("x", "X", "X", ("pillow-x-plugin", "pillow_x_absent"), "quality", (1,), lambda _: {})
    assert plugin.missing() == "x needs the package pillow-x-plugin: pip install pillow-x-plugin"
    library = Baseline("y", "Y", "Y", "libabsent", "quality", (1,), lambda _: {})
    assert "Pillow built with libabsent" in library.missing()


def kodak_pictures():
    for path in sorted(KODAK.glob("*.png")):
        yield Image.open(path).convert("RGB")


@kodak
@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("jpeg420-default", 1.7998), ("jpeg444-default", 1.7748)])
def test_the_papers_jpeg_rows_are_reproduced(name, published):
    """Table 1: the lowest quality whose size without headers reaches the target, plotted at the target; the standard's
    tables."""
    baseline, areas = BASELINES[name], []
    for image in kodak_pictures():
        files = [baseline.encode(image, quality) for quality in range(1, 100)]
        rates = [8 * (len(file) - header_bytes(file)) / (image.width * image.height) for file in files]
        chosen = [next(i for i, rate in enumerate(rates) if rate >= target) for target in rd.GRID]
        assert all(a <= b for a, b in pairwise(chosen))
        value = {i: metrics.ms_ssim(tensor(image), tensor(baseline.decode(files[i]))).item() for i in set(chosen)}
        areas.append(rd.auc(rd.GRID, [value[i] for i in chosen]))
    assert len(areas) == 24
    assert np.mean(areas) == pytest.approx(published, abs=0.002)


@kodak
@pytest.mark.slow
def test_optimised_jpeg_on_kodak():
    """Real files with optimised Huffman tables, headers counted: better than every model of Table 1 trained on 32x32
    pictures."""
    areas = []
    for image in kodak_pictures():
        bpp, quality = [], []
        for coded in BASELINES["jpeg420"].measure(image):
            bpp.append(8 * coded.size / (image.width * image.height))
            quality.append(metrics.ms_ssim(tensor(image), tensor(coded.picture)).item())
            if bpp[-1] > 2:
                break
        areas.append(rd.auc_file(bpp, quality))
    assert len(areas) == 24
    assert np.mean(areas) == pytest.approx(1.8104, abs=0.0005)
