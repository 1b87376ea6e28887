"""Units by frameworks: networks in their cells, seeds as spreads, ranks, and what is above JPEG or the baseline."""

from __future__ import annotations

import json

import pytest

from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.evaluation.plot import plot
from lit_rnncomp.evaluation.records import FORMAT, ResultsError
from lit_rnncomp.evaluation.unit_table import BASELINE, UnitTable, show, with_one_baseline

MS_SSIM, PSNR_HVS = METRICS["ms_ssim"], METRICS["psnr_hvs"]
RATES = [0.125 * k for k in range(1, 17)]


def written(path, networks, jpeg=None):
    """A `curves.json` of networks `name: (unit, framework, layers, area, quality)`, `quality` at all rates."""
    areas, curves = {}, {}
    for name, (*_, area, quality) in networks.items():
        areas[name] = {
            "ms_ssim": {"auc": area, "auc_file": area - 0.01},
            "psnr_hvs": {"auc": 1.875 * quality, "auc_file": 1.875 * (quality - 1)},
        }
        curves[name] = {metric: {"bpp": RATES, "quality": [quality] * 16} for metric in ("ms_ssim", "psnr_hvs")}
    if jpeg:
        curves["jpeg420"] = {metric: {"bpp": RATES, "quality": jpeg} for metric in ("ms_ssim", "psnr_hvs")}
    models = {
        name: {"config": {"unit": unit, "reconstruction": framework, "layers": layers}}
        for name, (unit, framework, layers, *_) in networks.items()
    }
    models["other"] = {"file": "ternary"}  # has no unit
    data = {"format": FORMAT, "data": "kodak", "pictures": ["a.png", "b.png"], "models": models}
    path.write_text(json.dumps(data | {"areas": areas, "curves": curves}))
    return str(path)


@pytest.fixture
def source(tmp_path):
    networks = {
        "seed 1": ("gru", "additive", "toderici2017", 1.80, 30.0),
        "seed 2": ("gru", "additive", "toderici2017", 1.84, 32.0),
        "one": ("lstm", "one_shot", "toderici2017", 1.81, 33.0),
        "old": ("lstm", "additive", "toderici2016", 1.70, 25.0),
    }
    return written(tmp_path / "short.json", networks, jpeg=[20.0] * 8 + [40.0] * 8)


def test_seeds_are_one_cell_with_a_spread(source):
    table = UnitTable.read(source)
    assert [(cell.unit, cell.framework, len(cell.networks)) for cell in table.cells] == [
        (BASELINE, "additive", 1),
        ("lstm", "one_shot", 1),
        ("gru", "additive", 2),
    ]
    *_, gru = table.cells
    assert gru.mean(MS_SSIM) == pytest.approx(1.82)
    assert gru.spread(MS_SSIM) == pytest.approx(0.02 * 2**0.5)
    assert gru.mean(PSNR_HVS) == pytest.approx(31)  # dB, not an area
    assert gru.mean(PSNR_HVS, "files") == pytest.approx(30)
    assert table.cells[1].spread(MS_SSIM) is None


def test_networks_that_differ_in_more_than_their_seed_have_rows_of_their_own(source, tmp_path):
    path = tmp_path / "short.json"
    data = json.loads(path.read_text())
    configs = [data["models"][name]["config"] for name in ("seed 1", "seed 2", "one")]
    for config, frontend in zip(configs, ("dct", "conv", "conv"), strict=True):
        config |= {"frontend": frontend, "bits": 8}
    path.write_text(json.dumps(data))
    cells = UnitTable.read(source).cells
    assert [(cell.row, len(cell.networks)) for cell in cells] == [
        (BASELINE, 1),
        ("lstm", 1),
        ("gru, frontend dct", 1),
        ("gru, frontend conv", 1),
    ]
    assert [cell.spread(MS_SSIM) for cell in cells] == [None] * 4
    plot([source], out=str(tmp_path / "table.svg"), table=True)
    assert "frontend conv" in (tmp_path / "table.svg").read_text()


def test_tables_without_a_baseline_are_compared_with_that_of_another(source, tmp_path):
    alone = written(tmp_path / "alone.json", {"a": ("gru", "additive", "toderici2017", 1.87, 30.0)})
    first, second = with_one_baseline([UnitTable.read(alone), UnitTable.read(source)])
    assert first.baseline is second.baseline is not None
    assert [list(column.cells) for column in show(first).columns if "baseline" in str(column.header)] == [["+10.0%"]]
    (lonely,) = with_one_baseline([UnitTable.read(alone)])
    assert lonely.baseline is None


def test_ranks_are_of_each_metric(source):
    table = UnitTable.read(source)
    ranks = [[table.rank(cell, metric) for cell in table.cells] for metric in (MS_SSIM, PSNR_HVS)]
    assert ranks == [[3, 2, 1], [3, 1, 2]]


def test_the_table_says_what_is_above_jpeg_and_over_the_baseline(source):
    table = show(UnitTable.read(source))
    columns = {str(column.header).replace("\n", " "): list(column.cells) for column in table.columns}
    assert columns["over the baseline"] == ["+0.0%", "+6.5%", "+7.1%"]
    # JPEG is at 20 up to 1 bit per pixel, and rises to 40 at 9/8: 25 is met at 1.03, 33 at 1.08
    assert columns["above JPEG: MS-SSIM"] == ["48%", "51%", "50%"]
    assert columns["MS-SSIM area (rank)"][2] == "1.8200 ±0.0283 (1)"


def test_drawn_and_printed(source, tmp_path, capsys):
    plot([source, source], out=str(tmp_path / "table.png"), table=True, title="Two lengths")
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "table.svg").read_text()
    assert "Two lengths" in text and "1.8200" in text and "1st" in text and "(baseline 1.7000)" in text
    assert capsys.readouterr().out.count("residual") == 0


def test_a_file_whose_name_reads_like_markup(source, tmp_path, capsys):
    (tmp_path / "short.json").rename(tmp_path / "a[b]:smile:.json")
    plot([str(tmp_path / "a[b]:smile:.json")], out=str(tmp_path / "table.png"), table=True)
    assert "a[b]:smile:: nominal rates" in capsys.readouterr().out


def test_of_a_real_evaluation(results, tmp_path, capsys):
    plot([str(results)], out=str(tmp_path / "table.png"), table=True)
    found = UnitTable.read(str(results))
    assert [(cell.unit, cell.framework) for cell in found.cells] == [("gru", "additive")]
    areas = json.loads((results / "curves.json").read_text())["areas"]["tiny"]["ms_ssim"]
    assert found.cells[0].mean(MS_SSIM) == areas["auc"]
    assert f"{areas['auc']:.4f}" in capsys.readouterr().out


def test_what_is_no_table(results, tmp_path):
    with pytest.raises(ResultsError, match="holds no network with a unit and a framework"):
        UnitTable.read(written(tmp_path / "none.json", {}))
    with pytest.raises(ResultsError, match="holds no network with a unit and a framework"):
        UnitTable.read(written(tmp_path / "other.json", {"a": ("peephole", "additive", "toderici2017", 1.8, 30.0)}))
    with pytest.raises(ResultsError, match="cannot be read"):
        plot([str(tmp_path / "nothing.json")], out=str(tmp_path / "a.png"), table=True)
    with pytest.raises(ValueError, match="leave out all but one of them"):
        plot([str(results)], out=str(tmp_path / "a.png"), table=True, published="kodak")
    assert not (tmp_path / "a.png").exists()
