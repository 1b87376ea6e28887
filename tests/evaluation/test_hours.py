"""`lit-rnncomp plot --hours`: what training time buys."""

from __future__ import annotations

import json

import pytest

from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.evaluation.plot import plot
from lit_rnncomp.evaluation.records import ResultsError


def written(path, models, area, pictures=("a.png",)):
    """A curves.json in which every metric of every codec has one area."""
    areas = {name: {metric: {"auc": area, "auc_file": area} for metric in METRICS} for name in (*models, "webp")}
    content = {"format": 1, "data": "d", "models": models, "pictures": pictures, "areas": areas, "curves": {}}
    path.write_text(json.dumps(content))
    return str(path)


@pytest.fixture
def lengths(tmp_path):
    tunes = [{f"m{k}-{tune}": {"tune": tune} for tune in ("psnr", "visual")} for k in range(2)]
    return [written(tmp_path / f"{k}.json", models, (1.6, 1.7)[k]) for k, models in enumerate(tunes)]


def test_a_line_for_each_tune_and_a_level_for_each_classical_codec(lengths, tmp_path, capsys):
    plot(lengths, out=str(tmp_path / "h.png"), hours=[1, 2.5], title="Two lengths")
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "h.svg").read_text()
    for word in ("Two lengths", "psnr", "visual", "webp", "core-hours of training", "2.5"):
        assert f">{word}" in text
    assert "quality against hours in" in capsys.readouterr().out


def test_results_after_the_hours_are_levels_only(lengths, tmp_path):
    plot(lengths, out=str(tmp_path / "h.png"), hours=[7])
    text = (tmp_path / "h.svg").read_text()
    assert ">7<" in text and ">2.5<" not in text


def test_lines_are_in_order_of_hours(lengths):
    from lit_rnncomp.evaluation.hours import _lines
    from lit_rnncomp.evaluation.mean_curves import summaries

    lines = _lines([summaries(path) for path in lengths], [5, 3], METRICS["ms_ssim"])
    assert lines == {"psnr": [(3, 1.7), (5, 1.6)], "visual": [(3, 1.7), (5, 1.6)]}


@pytest.mark.parametrize("hours", [[1, 2, 3], [0], [1, -2]])
def test_hours_that_are_none(lengths, tmp_path, hours):
    with pytest.raises(ValueError, match="positive core-hours, at most one for each of 2 results"):
        plot(lengths, out=str(tmp_path / "h.png"), hours=hours)
    assert not (tmp_path / "h.png").exists()


def test_models_and_metrics_without_an_area_are_left_out(lengths, tmp_path):
    """A model may have failed, and pictures may be too small for a metric."""
    path = tmp_path / "0.json"
    found = json.loads(path.read_text())
    del found["areas"]["m0-psnr"], found["areas"]["m0-visual"]["ms_ssim"], found["areas"]["webp"]["ms_ssim"]
    path.write_text(json.dumps(found))
    plot([str(path)], out=str(tmp_path / "h.png"), hours=[1])
    text = (tmp_path / "h.svg").read_text()
    assert ">visual<" in text and ">psnr<" not in text and ">webp<" in text
    found["areas"] = {}
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"no model of .*0\.json was measured"):
        plot([str(path)], out=str(tmp_path / "h.png"), hours=[1])


def test_other_pictures_are_refused(lengths, tmp_path):
    other = written(tmp_path / "other.json", {"m": {}}, 1.5, pictures=("b.png",))
    with pytest.raises(ResultsError, match="over different pictures"):
        plot([*lengths, other], out=str(tmp_path / "h.png"), hours=[1])


def test_one_drawing_at_a_time(lengths, tmp_path):
    with pytest.raises(ValueError, match="leave out all but one"):
        plot(lengths, out=str(tmp_path / "h.png"), hours=[1], table=True)
