"""`plot`, `bdrate`, `compare` and the published curves."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lit_rnncomp.codec import zoo
from lit_rnncomp.evaluation import rd
from lit_rnncomp.evaluation.bdrate import bdrate
from lit_rnncomp.evaluation.compare import compare
from lit_rnncomp.evaluation.equal import common_bytes
from lit_rnncomp.evaluation.ladder import Rung
from lit_rnncomp.evaluation.mean_curves import MeanCurves
from lit_rnncomp.evaluation.plot import plot
from lit_rnncomp.evaluation.published import curves, shipped
from lit_rnncomp.evaluation.records import ResultsError
from lit_rnncomp.evaluation.strip import Panel, busiest, draw_strip


def test_shipped_curves_give_the_known_areas():
    by_title = {entry.title: entry.curve for entry in curves("kodak", "ms_ssim")}
    assert rd.auc(*by_title["Toderici 2017 (CVPR)"]) == pytest.approx(1.8116, abs=5e-5)
    assert rd.auc_file(*by_title["WebP"]) == pytest.approx(1.829, abs=1e-3)
    assert rd.auc_file(*by_title["BPG (4:2:0)"]) == pytest.approx(1.837, abs=1e-3)
    assert rd.auc_file(*by_title["Johnston 2018 (CVPR)"]) == pytest.approx(1.840, abs=1e-3)
    assert {entry.title for entry in curves("kodak", "psnr")} == set(by_title)
    assert curves("kodak", "psnr_hvs") == []
    assert shipped()["curves_licence"] == "Apache-2.0"


def test_shipped_table_agrees_with_the_abstract():
    """The paper's abstract: 4.3 % to 8.8 % better than the baseline, the best of each column over the baseline's."""
    table = {row["model"]: row for row in shipped()["table1"]}
    baseline = table.pop("Baseline, Toderici et al. 2016")
    gains = [
        max(row[column] or 0 for row in table.values()) / baseline[column] - 1
        for column in ("ms_ssim_high_entropy", "psnr_hvs_high_entropy")
    ]
    assert gains == pytest.approx([0.043, 0.088], abs=1e-3)


def test_curves_from_a_folder(tmp_path):
    (tmp_path / "PSNR_sRGB_RGB").mkdir()
    (tmp_path / "PSNR_sRGB_RGB" / "x.txt").write_text('# Aggregate data for "X (1)" on kodak.\n\n0.5, 30\n0.25, 27.5\n')
    (entry,) = curves(str(tmp_path), "psnr")
    assert entry.title == "X (1)"
    assert [list(axis) for axis in entry.curve] == [[0.25, 0.5], [27.5, 30]]
    assert curves(str(tmp_path), "ms_ssim") == []
    with pytest.raises(ValueError, match="has neither MS-SSIM_sRGB_RGB nor PSNR_sRGB_RGB"):
        curves(str(tmp_path / "PSNR_sRGB_RGB"), "psnr")


def test_plot_draws_every_codec(results, tmp_path, capsys):
    plot([str(results), str(results)], out=str(tmp_path / "curves.png"), title="Two runs")
    svg = (tmp_path / "curves.svg").read_text()
    for text in (
        "tiny (results)",
        "webp (results)",
        "MS-SSIM (dB)",
        "bits per pixel, mean over 2 pictures",
        "Two runs",
    ):
        assert text in svg
    assert Image.open(tmp_path / "curves.png").width > 1000
    assert "curves.svg" in capsys.readouterr().out


def test_text_of_a_drawing_is_text(results, tmp_path):
    """No formula is read into a name, and none is left out for its first letter."""
    kept = json.loads((results / "curves.json").read_text())
    names = {"tiny": "_mine", "jpeg420": "a $\\bad{ $", "webp": "10$ vs 20$"}
    kept["curves"] = {names[codec]: curves for codec, curves in kept["curves"].items()}
    (tmp_path / "$x^2$.json").write_text(json.dumps(kept))
    plot([str(tmp_path / "$x^2$.json")] * 2, out=str(tmp_path / "rd.png"), title="10$ vs $\\bad{ $")
    svg = (tmp_path / "rd.svg").read_text()
    for text in (*(f"{name} ($x^2$)" for name in names.values()), "10$ vs $\\bad{ $"):
        assert f">{text}</text>" in svg


def test_published_curves_are_drawn_over_the_pictures_that_they_are_of(results, tmp_path):
    with pytest.warns(UserWarning, match="8 published curves are left out: they are means over other pictures than "):
        plot([str(results)], out=str(tmp_path / "ours.png"), published="kodak")
    assert "published" not in (tmp_path / "ours.svg").read_text()
    mine = json.loads((results / "curves.json").read_text())
    kodak = mine | {"pictures": [f"kodim{k:02d}.png" for k in range(1, 25)]}
    (tmp_path / "kodak.json").write_text(json.dumps(kodak))
    plot([str(tmp_path / "kodak.json")], out=str(tmp_path / "kodak.png"), published="kodak")
    svg = (tmp_path / "kodak.svg").read_text()
    assert "BPG (4:2:0), published" in svg and "mean over 24 pictures" in svg
    folder = tmp_path / "others" / "PSNR_sRGB_RGB"
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text('# Aggregate rate-distortion data for "X" on mine.\n0.5, 30\n0.25, 27.5\n')
    (tmp_path / "named.json").write_text(json.dumps(mine | {"data": "Mine"}))
    plot([str(tmp_path / "named.json")], out=str(tmp_path / "named.png"), published=str(tmp_path / "others"))
    assert "X, published" in (tmp_path / "named.svg").read_text(), "the folder that was measured has that name"


def test_curves_json_is_enough_to_draw_from(results, tmp_path):
    alone, folder = MeanCurves.read(results / "curves.json"), MeanCurves.read(results)
    assert list(alone.codecs) == list(folder.codecs) and alone.models == folder.models == {"tiny"}
    for codec, by_metric in folder.codecs.items():
        for metric, curve in by_metric.items():
            assert alone.codecs[codec][metric].bpp == pytest.approx(curve.bpp, abs=1e-5)
            assert alone.codecs[codec][metric].quality == pytest.approx(curve.quality, abs=1e-5)
    kept = json.loads((results / "curves.json").read_text())
    assert kept["areas"] == json.loads((results / "summary.json").read_text())
    assert kept["versions"]["tiny"]["weights"] == kept["models"]["tiny"]["weights"]
    plot([str(results / "curves.json")], out=str(tmp_path / "c.png"))
    assert (tmp_path / "c.svg").exists()
    with pytest.raises(ResultsError, match="cannot be read"):
        MeanCurves.read(tmp_path / "none.json")
    with pytest.raises(ResultsError, match=r"is no curves\.json"):
        MeanCurves.read(results / "summary.json")


def test_shipped_results_are_drawn_by_name_unless_a_file_has_it(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plot(["ternary64", "residual_gru_dct64"], out="shipped.png")
    drawn = (tmp_path / "shipped.svg").read_text()
    assert "ternary64-psnr" in drawn and "(ternary64)" not in drawn, "each codec is in one of the results alone"
    plot(["ternary64", str(zoo.FOLDER / "results/ternary64.json")], out="twice.png")
    assert "ternary64-psnr (ternary64)" in (tmp_path / "twice.svg").read_text()
    shutil.copytree(results, "ternary64")
    plot(["ternary64"], out="mine.png")
    assert "tiny" in (tmp_path / "mine.svg").read_text()
    with pytest.raises(ResultsError, match=r"ternary6 cannot be read: .* that ship, residual_gru_dct64, "):
        plot(["ternary6"])


def test_bdrate_of_results(results, capsys):
    bdrate("jpeg420", "webp", results=str(results), metric="psnr")
    text = capsys.readouterr().out
    assert "mean over 2 of 2 pictures" in text
    printed = float(re.search(r"([-+][\d.]+) % \[.*\] rate", text).group(1))
    assert "mean of PSNR" in text and "not told apart" not in text and "webp is above jpeg420 at 100%" in text
    bdrate("jpeg420", "webp", results=str(results), metric="psnr", json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["bd_rate"] == pytest.approx(printed, abs=0.005)
    low, high = found["bd_rate_interval"]
    assert low <= found["bd_rate"] <= high < 0 and found["above"] == 1
    bdrate("webp", "webp", results=str(results), metric="psnr")
    assert "webp and webp are not told apart" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no codec 'avif'; it has tiny, jpeg420, webp"):
        bdrate("jpeg420", "avif", results=str(results))
    with pytest.raises(rd.CurvesDoNotOverlap, match="on no picture"):
        bdrate("jpeg420", "tiny", results=str(results), metric="psnr")


def test_bdrate_of_files(tmp_path, capsys):
    bpp, quality = np.array([0.2, 0.4, 0.8, 1.6]), np.array([0.9, 0.95, 0.98, 0.99])
    for name, factor in (("a.txt", 1.0), ("b.txt", 1.1)):
        np.savetxt(tmp_path / name, np.stack([bpp * factor, quality], axis=1), delimiter=",", header="bpp, MS-SSIM")
    for interpolation in ("pchip", "akima"):
        bdrate(str(tmp_path / "a.txt"), str(tmp_path / "b.txt"), interpolation=interpolation)
        assert "+10.00 % rate" in capsys.readouterr().out


def printed_sizes(capsys, count):
    lines = capsys.readouterr().out.splitlines()
    return [int(re.search(r": ([\d,]+) bytes", line).group(1).replace(",", "")) for line in lines[:count]]


def test_compare_is_at_equal_bytes(tiny_model, photographs, tmp_path, capsys):
    photo, out = photographs / "astronaut.png", tmp_path / "strip.png"
    compare([str(tiny_model), "jpeg420"], picture=str(photo), bpp=0.3, out=str(out), detail="20,30")
    sizes = printed_sizes(capsys, 2)
    assert 0.5 * 0.3 * 192 * 176 / 8 < max(sizes) <= 0.3 * 192 * 176 / 8
    assert Image.open(out).width == 3 * 492 + 12
    compare(["webp", "jpeg420"], picture=str(photo), bpp=1.0, out=str(out), force=True)
    sizes = printed_sizes(capsys, 2)
    assert 0.98 * max(sizes) <= min(sizes) and 0.5 * 192 * 176 / 8 < max(sizes) <= 192 * 176 / 8


def test_compare_takes_many(photographs, tmp_path, capsys):
    out, names = tmp_path / "strip.png", ["ternary64", "ternary64@psnr", "jpeg420", "webp", "jpeg2000"]
    compare(names, picture=str(photographs / "astronaut.png"), bpp=0.7, out=str(out))
    sizes = printed_sizes(capsys, 5)
    assert 0.98 * max(sizes) <= min(sizes) and max(sizes) <= 0.7 * 192 * 176 / 8
    assert Image.open(out).width == 6 * 492 + 12
    with pytest.raises(ValueError, match="two codecs or more: lit-rnncomp compare webp jpeg420"):
        compare(["webp"], picture=str(photographs / "astronaut.png"))


def test_compare_says_when_a_codec_cannot_go_so_low(photographs, tmp_path, capsys):
    """The others get as many bytes as it needs, and where they are no equals, the strip says so."""
    compare(["jpeg420", "webp"], picture=str(photographs / "astronaut.png"), bpp=0.02, out=str(tmp_path / "s.png"))
    lines = capsys.readouterr().out.splitlines()
    sizes = [int(re.search(r": ([\d,]+) bytes", line).group(1).replace(",", "")) for line in lines[:2]]
    assert all("longer than asked for" in line for line in lines[:2])
    for line, size in zip(lines, sizes, strict=False):
        assert ("fewer bytes)" in line) == (size < 0.98 * max(sizes))
    assert any("differ by" in line for line in lines) == (min(sizes) < 0.98 * max(sizes))


def rungs(*sizes):
    return [Rung(k, size, -k) for k, size in enumerate(sizes)]


def test_common_bytes():
    assert common_bytes([rungs(80, 99), rungs(70, 98)], 100, exact=True) == 100
    assert common_bytes([rungs(80, 90), rungs(79, 97)], 100, exact=True) == 80, "97 and 90 are no equals, 80 and 79 are"
    assert common_bytes([rungs(95, 120)], 100, exact=False) == 95, "others fill any number of bytes"
    assert common_bytes([rungs(60, 90), rungs(66, 96)], 100, exact=True) == 100, (
        "nothing is equal; the nearest is taken"
    )
    assert common_bytes([rungs(300), rungs(10, 290, 299)], 100, exact=True) == 300, "one has no shorter file"
    assert common_bytes([], 100, exact=False) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"picture": None}, "--picture P"),
        ({"bpp": 0.0}, "must be positive"),
        ({"detail": "12"}, "must be X,Y in pixels"),
    ],
)
def test_compare_refuses(photographs, tmp_path, arguments, message):
    given = {"picture": str(photographs / "astronaut.png"), "out": str(tmp_path / "s.png"), **arguments}
    with pytest.raises(ValueError, match=message):
        compare(["jpeg420", "webp"], **given)


def test_the_busiest_part_is_found():
    pixels = np.zeros((100, 160), np.uint8)
    pixels[40:70, 90:120] = np.random.default_rng(0).integers(0, 255, (30, 30))
    x, y = busiest(Image.fromarray(pixels), 30)
    assert abs(x - 90) <= 1 and abs(y - 40) <= 1


@pytest.mark.parametrize("size", [(32, 4000), (4000, 32), (1, 60000), (48, 72)])
def test_a_strip_has_a_bounded_size(size):
    strip = draw_strip([Panel(Image.new("RGB", size), "a", ""), Panel(Image.new("RGB", size), "b", "")])
    assert strip.width * strip.height < 3e6


@pytest.mark.parametrize(
    ("out", "names"),
    [
        ("rd", ["rd.png", "rd.svg"]),
        ("rd_q0.25", ["rd_q0.25.png", "rd_q0.25.svg"]),
        ("rd_q0.75.png", ["rd_q0.75.png", "rd_q0.75.svg"]),
        ("a.b.SVG", ["a.b.png", "a.b.svg"]),
        ("rd.pdf", ["rd.pdf"]),
    ],
)
def test_plots_keep_their_names(results, tmp_path, monkeypatch, out, names):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # and a drawing of ours may be replaced
        plot([str(results / "curves.json")], out=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    if names == ["rd.pdf"]:
        assert (tmp_path / "rd.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("out", ["dir/", "rd.svg/", "dir/.", ".", "..", ""])
def test_a_folder_is_no_name_of_a_plot(results, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"--out is '{re.escape(out)}', a folder; .* such as .*rd\.png"):
        plot([str(results / "curves.json")], out=out)
    assert not any(tmp_path.iterdir())


def test_plots_of_other_formats_are_refused(results, tmp_path):
    with pytest.raises(ValueError, match=r"--out is rd\.jpg; curves are drawn as \.png, \.svg or \.pdf"):
        plot([str(results / "curves.json")], out="rd.jpg")
    (tmp_path / "their.pdf").write_bytes(b"%PDF-1.4 a paper")
    with pytest.raises(ValueError, match="did not write it"):
        plot([str(results / "curves.json")], out=str(tmp_path / "their.pdf"))


def test_bdrate_where_only_one_delta_exists(tmp_path, capsys):
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    Path(a).write_text("1.0 30\n1.4 32\n2.0 34\n2.8 36\n")
    Path(b).write_text("0.25 30\n0.35 32\n0.5 34\n0.7 36\n")
    bdrate(a, b, metric="psnr")
    text = capsys.readouterr().out
    assert "-75.00 % rate" in text and "the curves share no range of rates" in text
    Path(c).write_text("1.0 40\n1.4 42\n2.0 44\n2.8 46\n")
    bdrate(a, c, metric="psnr", json=True)
    assert json.loads(capsys.readouterr().out) == {"bd_rate": None, "bd_quality": pytest.approx(10)}
    Path(d).write_text("0.5 30\n")
    with pytest.raises(ValueError, match=rf"^{re.escape(f'{d} against {a}')}: a curve is two lists"):
        bdrate(a, d, metric="psnr")
    Path(d).write_text("3.5 50\n4 52\n")
    with pytest.raises(rd.CurvesDoNotOverlap, match="share no range of psnr and none of rates"):
        bdrate(a, d, metric="psnr")
