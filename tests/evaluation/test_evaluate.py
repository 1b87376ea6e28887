"""`evaluate` from pictures to tables: what it writes, that it can be resumed, and that failures stay where they are."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from lit_rnncomp.codec.api import load
from lit_rnncomp.evaluation import metrics, rd
from lit_rnncomp.evaluation.baselines import BASELINES, Baseline
from lit_rnncomp.evaluation.evaluate import evaluate
from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.evaluation.neural import Neural, named_models
from lit_rnncomp.evaluation.report import report
from lit_rnncomp.evaluation.results import MeanCurves, Results, ResultsError
from lit_rnncomp.evaluation.summary import areas, comparison, mean_delta
from lit_rnncomp.evaluation.tables import area_columns, not_told_apart, tables


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def test_the_folder_is_complete(results):
    names = {path.name for path in results.iterdir()}
    assert names == {
        "run.json", "summary.json", "comparison.json", "curves.json", "points.csv",
        "pictures", "cache", "frames", "rd.png", "rd.svg", "strip.png", "strip-behind.png",
    }  # fmt: skip
    assert {path.name for path in (results / "pictures").iterdir()} == {"astronaut.png.json", "sub__coffee.png.json"}
    assert not [path for path in results.rglob("*") if path.name.startswith(".")], "no temporary file is left"
    assert Image.open(results / "rd.png").width > 1000
    assert "<svg" in (results / "rd.svg").read_text()
    strip = Image.open(results / "strip.png")
    assert strip.width > strip.height > 400


def test_summary_has_the_promised_shape(results):
    summary = json.loads((results / "summary.json").read_text())
    assert list(summary) == ["tiny", "jpeg420", "webp"]
    for codec in summary.values():
        assert set(codec) == set(METRICS)
        for metric in codec.values():
            assert set(metric) >= {"auc", "auc_file", "auc_interval", "auc_file_interval", "pictures"}
            low, high = metric["auc_file_interval"]
            assert metric["pictures"] == 2 and low <= metric["auc_file"] <= high
    assert 1.7 < summary["jpeg420"]["ms_ssim"]["auc_file"] < 1.875
    assert summary["tiny"]["psnr"]["auc"] != summary["tiny"]["psnr"]["auc_file"]
    assert summary["jpeg420"]["psnr"]["auc"] == summary["jpeg420"]["psnr"]["auc_file"]


def test_a_models_points_are_its_real_files(results, tiny_model, photographs):
    measured = Results.read(results).pictures[0].codecs["tiny"]
    image = Image.open(photographs / "astronaut.png")
    codec = load(tiny_model)
    for k, point in enumerate(measured.points, start=1):
        data = codec.encode(image, iterations=k)
        assert point.bytes == len(data) and point.setting == k
        assert point.bpp == pytest.approx(8 * len(data) / (192 * 176))
        assert point.nominal_bpp == k / 8 < point.bpp
        assert point.bytes - point.header_bytes == k * 12 * 11 * 32 // 8, "what is no header is the code's bits"
        decoded = codec.decode(data)
        assert point.metrics["psnr"] == pytest.approx(metrics.psnr(tensor(image), tensor(decoded)).item(), abs=1e-5)
        assert point.metrics["ms_ssim"] == pytest.approx(
            metrics.ms_ssim(tensor(image), tensor(decoded)).item(), abs=1e-5
        )
        kept = Image.open(results / "frames" / "astronaut.png" / "tiny" / f"{k:03d}.webp").convert("RGB")
        assert np.array_equal(np.array(kept), np.array(decoded)), "frames are kept without loss"


def test_a_baselines_points_are_its_real_files(results, photographs):
    measured = Results.read(results).pictures[1].codecs["jpeg420"]
    image = Image.open(photographs / "sub" / "coffee.png")
    assert [point.setting for point in measured.points] == list(BASELINES["jpeg420"].settings)
    for point in measured.points[::7]:
        data = BASELINES["jpeg420"].encode(image, point.setting)
        assert point.bytes == len(data) and point.nominal_bpp is None
        assert point.metrics["psnr"] == pytest.approx(
            metrics.psnr(tensor(image), tensor(BASELINES["jpeg420"].decode(data))).item(), abs=1e-5
        )
    assert measured.versions["pillow"] and measured.machine["processor"]


def test_run_record_and_csv(results):
    run = json.loads((results / "run.json").read_text())
    assert list(run["failures"]) == ["broken.png"], "one line for a picture that no codec could read"
    assert run["pictures"] == ["astronaut.png", "sub/coffee.png"]
    assert run["models"]["tiny"]["config"]["unit"] == "gru"
    assert str(results.parent) not in (results / "run.json").read_text(), "no path of this machine"
    rows = list(csv.DictReader((results / "points.csv").open()))
    settings = 3 + len(BASELINES["jpeg420"].settings) + len(BASELINES["webp"].settings)
    assert len(rows) == 2 * settings
    assert set(rows[0]) > {"picture", "codec", "setting", "bytes", "bpp", "encode_seconds", "decode_seconds"} | set(
        METRICS
    )


def test_a_second_run_measures_nothing(results, tiny_model, photographs, tmp_path, monkeypatch, capsys):
    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(Neural, "measure", never)
    monkeypatch.setattr(Baseline, "measure", never)
    with pytest.warns(UserWarning, match="broken"):
        evaluate(
            [str(tiny_model)],
            str(photographs),
            "webp,jpeg420",
            str(tmp_path),
            cache=str(results / "cache"),
            frames=0,
            json=True,
        )
    again, first = (json.loads((folder / "summary.json").read_text()) for folder in (tmp_path, results))
    assert again == first
    assert not (tmp_path / "strip.png").exists()
    rows = json.loads(capsys.readouterr().out)
    assert [row["codec"] for row in rows] == ["tiny", "webp", "jpeg420"]


def test_a_changed_picture_is_measured_again(results, photographs, tmp_path):
    Image.open(photographs / "astronaut.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        tmp_path / "astronaut.png"
    )
    before = set((results / "cache").iterdir())
    evaluate(None, str(tmp_path), "jpeg420", str(tmp_path / "out"), cache=str(results / "cache"), json=True)
    new = set((results / "cache").iterdir()) - before
    assert len(new) == 1
    for path in new:
        path.unlink()


def test_one_codec_failing_on_one_picture_costs_only_that(results, photographs, tmp_path, monkeypatch, capsys):
    """The mean is over the pictures that every codec measured, and the table says so."""
    encode = Baseline.encode

    def fail_on_coffee(self, image, setting):
        if self.name == "webp" and image.width == 201:
            raise OSError("encoder error 7")
        return encode(self, image, setting)

    monkeypatch.setattr(Baseline, "encode", fail_on_coffee)
    with pytest.warns(UserWarning) as warned:
        evaluate(None, str(photographs), "jpeg420,webp", str(tmp_path))
    assert sorted(str(warning.message) for warning in warned)[1] == "sub/coffee.png by webp: encoder error 7"
    found = Results.read(tmp_path)
    assert [picture.name for picture in found.common()] == ["astronaut.png"] and len(found.pictures) == 2
    expected = rd.auc_file(*found.pictures[0].codecs["jpeg420"].curve("psnr"))
    assert areas(found)["jpeg420"]["psnr"]["auc_file"] == pytest.approx(expected, abs=1e-5)
    assert "1 of 3 pictures" in capsys.readouterr().out.replace("\n", " ")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="2 measurements failed"):
        evaluate(None, str(photographs), "jpeg420,webp", str(tmp_path), strict=True)


def test_a_missing_codec_is_reported_and_not_fatal(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(Baseline, "missing", lambda self: "webp is not here" if self.name == "webp" else None)
    with pytest.warns(UserWarning) as warned:
        evaluate(None, str(photographs), "jpeg420,webp", str(tmp_path), json=True)
    assert str(warned[0].message) == "webp: webp is not here"
    assert json.loads((tmp_path / "run.json").read_text())["missing_codecs"] == {"webp": "webp is not here"}
    assert list(json.loads((tmp_path / "summary.json").read_text())) == ["jpeg420"]


@pytest.mark.slow
def test_worker_processes_give_the_same_points(results, tiny_model, photographs, tmp_path):
    with pytest.warns(UserWarning, match="broken"):
        evaluate([str(tiny_model)], str(photographs), "jpeg420,webp", str(tmp_path), workers=2, json=True)
    one, two = (json.loads((folder / "summary.json").read_text()) for folder in (results, tmp_path))
    for codec, by_metric in one.items():
        for metric, both in by_metric.items():
            for key, value in both.items():
                assert two[codec][metric][key] == (value if value is None else pytest.approx(value, rel=1e-5))


def test_small_pictures_lack_ms_ssim_only(tmp_path, photographs, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    image = Image.open(photographs / "astronaut.png")
    image.crop((0, 0, 100, 60)).save(pictures / "small.png")
    image.crop((0, 0, 5, 3)).save(pictures / "tiny.png")
    image.save(pictures / "large.png")
    evaluate(None, str(pictures), "jpeg420", str(tmp_path / "out"))
    small = Results.read(tmp_path / "out").pictures[1].codecs["jpeg420"]
    assert small.points[0].metrics["ms_ssim"] is None and small.points[0].metrics["psnr_hvs"] is not None
    assert small.curve("ms_ssim") is None
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert 1.5 < summary["jpeg420"]["ms_ssim"]["auc_file"] < 1.875, "the mean over the picture that is large enough"
    assert "MS-SSIM without 2 pictures under 161 pixels a side" in " ".join(capsys.readouterr().out.split())


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codecs": "jpeg420,jpg"}, r"--codecs has 'jpg'; the codecs are jpeg420"),
        ({"codecs": "none"}, "nothing to evaluate: give --model or --codecs"),
        ({"data": None}, "--data DIR --out DIR"),
        ({"data": "nowhere"}, "nowhere is not a folder"),
        ({"anchor": "webp"}, "--anchor is 'webp', which is not among the measured codecs jpeg420"),
    ],
)
def test_wrong_arguments(photographs, tmp_path, arguments, message):
    given = {"data": str(photographs), "codecs": "jpeg420", "out": str(tmp_path), **arguments}
    with pytest.raises(ValueError, match=message):
        evaluate(None, **given)


def test_a_model_that_is_not_there(photographs, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        evaluate([str(tmp_path / "absent.ckpt")], str(photographs), "jpeg420", str(tmp_path / "out"))


def test_models_get_different_names():
    models = named_models(["a/best.ckpt", "b/best.ckpt", "ours=c/best.ckpt"], "cpu")
    assert [(model.name, model.model) for model in models] == [
        ("best", "a/best.ckpt"),
        ("best-2", "b/best.ckpt"),
        ("ours", "c/best.ckpt"),
    ]


def test_equal_signs_in_file_names_are_no_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "epoch=3-step=100.ckpt").touch()
    given = ["epoch=3-step=100.ckpt", "runs/lr=0.1/last.ckpt", "ours=epoch=3-step=100.ckpt"]
    assert [(model.name, model.model) for model in named_models(given, "cpu")] == [
        ("epoch=3-step=100", "epoch=3-step=100.ckpt"),
        ("last", "runs/lr=0.1/last.ckpt"),
        ("ours", "epoch=3-step=100.ckpt"),
    ]


def test_folders_that_are_no_results(tmp_path, results):
    with pytest.raises(ResultsError, match=r"run\.json is missing"):
        Results.read(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ResultsError, match="damaged results"):
        Results.read(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({**json.loads((results / "run.json").read_text()), "format": 99}))
    with pytest.raises(ResultsError, match="format 99"):
        Results.read(tmp_path)


def test_pictures_with_names_alike_keep_results_of_their_own(photographs, tmp_path):
    """`a/b` and `a__b` are one name where folders are flattened, and so are `a_/b` and `a/_b`."""
    pictures = tmp_path / "pictures"
    image = Image.open(photographs / "astronaut.png")
    names = ["a/b.png", "a__b.png", "a_/b.png", "a/_b.png", f"{'long/' * 50}{'x' * 200}.png"]
    for k, name in enumerate(names):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        image.crop((0, 0, 24 + 8 * k, 24)).save(pictures / name)
    evaluate(None, str(pictures), "jpeg420", str(tmp_path / "out"), json=True)
    widths = {picture.name: picture.width for picture in Results.read(tmp_path / "out").pictures}
    assert widths == {name: 24 + 8 * k for k, name in enumerate(names)}


def test_names_that_are_no_utf8(photographs, tiny_model, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    try:
        shutil.copy(photographs / "astronaut.png", os.fsencode(pictures) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    shutil.copy(photographs / "astronaut.png", pictures / "caf\\udce9.png")
    shutil.copy(tiny_model, os.fsencode(tmp_path) + b"/mod\xe8le.safetensors")
    model = str(tmp_path / os.fsdecode(b"mod\xe8le.safetensors"))
    evaluate([model], str(pictures), "jpeg420", str(tmp_path / "out"), json=True)
    rows = list(csv.DictReader((tmp_path / "out/points.csv").open(encoding="utf-8")))
    assert {row["picture"] for row in rows} == {"caf\\udce9.png", "caf\\udce9.png'"}
    assert {row["codec"] for row in rows} == {"mod\\udce8le", "jpeg420"}
    assert Image.open(tmp_path / "out/strip.png").width > 1000
    assert "mod" in (tmp_path / "out/rd.svg").read_text(encoding="utf-8")


def test_a_model_that_fails_on_every_picture_costs_only_itself(tiny_model, photographs, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(Neural, "measure", fail)
    with pytest.warns(UserWarning) as warned:
        evaluate([str(tiny_model)], str(photographs), "jpeg420,webp", str(tmp_path), json=True)
    assert "astronaut.png by tiny: no memory" in {str(warning.message) for warning in warned}
    assert list(json.loads((tmp_path / "summary.json").read_text())) == ["jpeg420", "webp"]
    report(str(tmp_path), out=str(tmp_path / "report.html"))
    assert MeanCurves.read(tmp_path).models == frozenset()


def test_pictures_wider_than_webp_can_be(tiny_model, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    strip = np.tile(np.asarray(astronaut()[:8]), (1, 33, 1))[:, :16400]
    Image.fromarray(strip).save(pictures / "wide.png")
    evaluate([str(tiny_model)], str(pictures), "jpeg420", str(tmp_path / "out"), json=True)
    assert json.loads((tmp_path / "out/run.json").read_text())["failures"] == {}
    kept = Image.open(tmp_path / "out/frames/wide.png/original.png")
    assert np.array_equal(np.asarray(kept), strip)
    with pytest.warns(UserWarning, match="left out: webp cannot code 16400 x 8 pixels"):
        report(str(tmp_path / "out"), out=str(tmp_path / "report.html"), codecs="jpeg420,webp")
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png" in page


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
