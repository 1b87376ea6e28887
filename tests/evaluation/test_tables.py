"""What tables say of measured codecs: means, intervals, differences, and what is held."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from lit_rnncomp.evaluation import rd
from lit_rnncomp.evaluation.evaluate import evaluate
from lit_rnncomp.evaluation.mean_curves import MeanCurves
from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.evaluation.results import Results
from lit_rnncomp.evaluation.summary import comparison, mean_delta
from lit_rnncomp.evaluation.tables import area_columns, not_told_apart, tables


def test_comparison_against_an_anchor(results):
    measured = Results.read(results)
    rows = {row["codec"]: row for row in comparison(measured, "jpeg420")}
    assert rows["jpeg420"]["bd_rate_ms_ssim"] == 0 and rows["jpeg420"]["bd_rate_ms_ssim_pictures"] == 2
    assert rows["webp"]["bd_rate_psnr"] < -10
    assert rows["tiny"]["bd_rate_psnr"] is None and rows["tiny"]["bd_rate_psnr_pictures"] == 0, (
        "an untrained model overlaps with nothing"
    )
    by_hand = [
        rd.bd_rate(*picture.codecs["jpeg420"].curve("psnr"), *picture.codecs["webp"].curve("psnr"))
        for picture in measured.pictures
    ]
    assert mean_delta(rd.bd_rate, measured, "jpeg420", "webp", METRICS["psnr"]).value == pytest.approx(np.mean(by_hand))
    assert [table.row_count for table in tables(measured, list(rows.values()), "jpeg420", of=2)] == [3, 3, 3, 3]


def test_every_number_has_an_interval_and_every_pair_a_difference(results):
    rows = {row["codec"]: row for row in json.loads((results / "comparison.json").read_text())}
    webp = rows["webp"]
    for key in ("ms_ssim_auc_file", "psnr_mean_file", "bd_rate_psnr", "above_jpeg420_psnr", "psnr_mean_common"):
        low, high = webp[f"{key}_interval"]
        assert low <= webp[key] <= high
    paired = webp["differences"]["jpeg420"]["psnr"]
    assert paired["difference"] == pytest.approx(webp["psnr_mean_file"] - rows["jpeg420"]["psnr_mean_file"], abs=1e-5)
    assert paired["real"] and paired["interval"][0] > 0, "ahead on both pictures"
    assert rows["jpeg420"]["differences"]["webp"]["psnr"]["difference"] == -paired["difference"]
    assert "above_jpeg420_psnr" not in rows["jpeg420"] and rows["tiny"]["above_jpeg420_psnr_nominal"] == 0
    assert webp["above_jpeg420_psnr"] == 1


def test_held_first_values_are_marked_and_taken_out(results):
    """JPEG's smallest file of these pictures is longer than 1/8 bit per pixel."""
    measured = Results.read(results)
    rows = comparison(measured, "jpeg420")
    by_name = {row["codec"]: row for row in rows}
    smallest = [min(p.bpp for p in picture.codecs["jpeg420"].points) for picture in measured.pictures]
    assert by_name["jpeg420"]["held_pictures"] == sum(bpp > 1 / 8 for bpp in smallest) > 0
    low = [max(min(p.bpp for p in c.points) for c in picture.codecs.values()) for picture in measured.pictures]
    high = [min(max(p.bpp for p in c.points) for c in picture.codecs.values()) for picture in measured.pictures]
    by_hand = []
    for picture, a, b in zip(measured.pictures, low, high, strict=True):
        rates = np.linspace(max(a, 1 / 8), min(b, 2), 2001)
        by_hand.append(np.interp(rates, *picture.codecs["jpeg420"].curve("psnr")).mean())
    assert by_name["jpeg420"]["psnr_mean_common"] == pytest.approx(np.mean(by_hand), abs=0.01)
    column = next(column for column in area_columns() if column.key == "psnr_mean_file")
    assert column.cell(measured, by_name["jpeg420"]).endswith("*")


def test_close_codecs_are_not_called_a_win(results):
    rows = comparison(Results.read(results), "jpeg420")
    assert not_told_apart(rows) == [], "two pictures and codecs far apart"
    for row in rows:
        for other in row["differences"].values():
            other["psnr"] = {"difference": 0.01, "interval": [-0.02, 0.03], "real": False}
    assert not_told_apart(rows) == [
        "PSNR: webp and jpeg420 (+0.01, -0.02 to +0.03), jpeg420 and tiny (+0.01, -0.02 to +0.03)"
    ]


def test_a_mean_curve_of_ternary_codes_reaches_as_far_as_others(tmp_path):
    """A picture full of detail passes 2.25 bits per pixel early, and still does not end the mean of all."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    photograph = Image.fromarray(astronaut()[:96, 200:296])
    photograph.save(pictures / "photograph.png")
    noise = np.random.default_rng(0).integers(-40, 41, (96, 96, 3))
    Image.fromarray((np.asarray(photograph) + noise).clip(0, 255).astype(np.uint8)).save(pictures / "noise.png")
    evaluate(["ternary64@psnr"], str(pictures), "jpeg420", str(tmp_path / "out"), frames=0, json=True)
    curves = MeanCurves.read(tmp_path / "out").codecs
    assert curves["ternary64-psnr"]["psnr"].bpp[-1] > 2.05, "the right end of the plot"
    assert len({len(p.codecs["ternary64-psnr"].points) for p in Results.read(tmp_path / "out").pictures}) == 1
