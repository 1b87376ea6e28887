"""A metric is a function and a row: with both, everything that measures and shows has it."""

import json

import numpy as np
import pytest
import torch

from lit_rnncomp.evaluation import metrics, rd
from lit_rnncomp.evaluation.evaluate import evaluate
from lit_rnncomp.evaluation.metric_table import METRICS, Metric
from lit_rnncomp.evaluation.report import report
from lit_rnncomp.evaluation.results import Results
from lit_rnncomp.evaluation.summary import mean_delta
from lit_rnncomp.training.rate_distortion import RateDistortionCurve


def mean_absolute(a, b):
    return (a.float() - b.float()).abs().mean(dim=(1, 2, 3))


@pytest.fixture
def distance(monkeypatch):
    """A metric of which less is better."""
    row = Metric("mean_absolute", "Distance", "levels", 1, validated=True, target=5.0, more_is_better=False)
    monkeypatch.setattr(metrics, row.name, mean_absolute, raising=False)
    monkeypatch.setitem(METRICS, row.name, row)
    return row


@pytest.mark.filterwarnings("ignore:broken.png")
def test_a_row_reaches_measurements_tables_plots_and_report(photographs, tmp_path, capsys, distance):
    evaluate(None, str(photographs), "jpeg420,webp", str(tmp_path / "out"))
    printed = capsys.readouterr().out
    assert "Distance" in printed and "5 levels" in printed
    rows = {row["codec"]: row for row in json.loads((tmp_path / "out" / "comparison.json").read_text())}
    found = Results.read(tmp_path / "out")
    curves = [picture.codecs["webp"].curve("mean_absolute") for picture in found.pictures]
    by_hand = [rd.auc(rd.GRID, np.interp(rd.GRID, *curve)) / 1.875 for curve in curves]
    assert rows["webp"]["mean_absolute_mean_file"] == pytest.approx(np.mean(by_hand), abs=1e-5)
    assert rows["webp"]["bd_rate_mean_absolute"] < -5 and rows["webp"]["bd_rate_mean_absolute_pictures"] == 2
    assert 0 < rows["webp"]["bpp_at_mean_absolute_5"] < rows["jpeg420"]["bpp_at_mean_absolute_5"]
    assert mean_delta(rd.bd_rate, found, "webp", "jpeg420", distance).value > 5
    assert "Distance (levels)" in (tmp_path / "out" / "rd.svg").read_text()
    report(str(tmp_path / "out"), out=str(tmp_path / "page.html"))
    assert "Distance<br>levels" in (tmp_path / "page.html").read_text()


def test_a_row_is_validated_in_training(distance):
    curve = RateDistortionCurve(2, 1 / 8)
    image = torch.zeros(1, 3, 32, 32)
    curve.update(image, [image + 0.2, image])
    assert list(curve.compute()["mean_absolute"]) == pytest.approx([25.5, 0], abs=0.5)
    assert [metric.name for metric in curve.summary(curve.compute())][-1] == "mean_absolute"


def test_every_row_has_a_function_of_its_name():
    a = torch.rand(2, 3, 176, 176) * 255
    for name, metric in METRICS.items():
        assert metric.name == name
        assert torch.equal(metric.measure(a, a.flip(3)), getattr(metrics, name)(a, a.flip(3)))
    assert METRICS["ms_ssim"].summarise(1.5) == 1.5 and METRICS["psnr"].summarise(56.25) == 30
