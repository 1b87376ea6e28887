"""`evaluate` from pictures to tables: what it writes, that it can be resumed, and that failures stay where they are."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.codec.api import load
from lit_rnncomp.evaluation import metrics
from lit_rnncomp.evaluation.baselines import BASELINES, Baseline
from lit_rnncomp.evaluation.evaluate import _input, evaluate
from lit_rnncomp.evaluation.mean_curves import MeanCurves, summaries
from lit_rnncomp.evaluation.measure import measure
from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.evaluation.neural import Neural, named_models
from lit_rnncomp.evaluation.records import ResultsError
from lit_rnncomp.evaluation.results import Results, begin
from lit_rnncomp.evaluation.summary import areas
from lit_rnncomp.evaluation.unit_table import UnitTable


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


def test_a_second_run_does_not_measure_the_first_ones_drawings(tiny_model, tmp_path):
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "one.png")
    for _ in range(2):
        evaluate([str(tiny_model)], str(tmp_path), "none", str(tmp_path / "ev"), "tiny", json=True)
    assert json.loads((tmp_path / "ev" / "run.json").read_text())["pictures"] == ["one.png"]


@pytest.mark.parametrize("data", ["pics", "pics/ev", "link"])
@pytest.mark.parametrize("out", [".", "pics", "pics/ev", "pics/ev/again", "pics/other", "elsewhere"])
def test_results_among_the_pictures_are_no_pictures(tmp_path, data, out):
    """Wherever an evaluation is, its drawings and frames are no input of this one, and photographs beside them are."""
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "ev").symlink_to(tmp_path / "pics" / "ev", target_is_directory=True)
    begin(tmp_path / "pics" / "ev", [])
    for name in ("rd.png", "strip.png", "frames/a/original.webp", "frames/a/tiny/001.webp"):
        (tmp_path / "pics" / "ev" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pics" / "ev" / name).touch()
    cache, photograph = tmp_path / data / "cache", tmp_path / data / "sub" / "one.png"
    for path in (cache / "two.png", photograph):
        path.parent.mkdir(parents=True)
        path.touch()
    assert _input(tmp_path / data, tmp_path / out, cache) == [photograph]


@pytest.mark.slow
def test_worker_processes_give_the_same_points(results, tiny_model, photographs, tmp_path):
    with pytest.warns(UserWarning, match="broken"):
        evaluate([str(tiny_model)], str(photographs), "jpeg420,webp", str(tmp_path), workers=2, json=True)
    one, two = (json.loads((folder / "summary.json").read_text()) for folder in (results, tmp_path))
    for codec, by_metric in one.items():
        for metric, both in by_metric.items():
            for key, value in both.items():
                assert two[codec][metric][key] == (value if value is None else pytest.approx(value, rel=1e-5))


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


@pytest.fixture
def copied(results, tmp_path):
    return shutil.copytree(results, tmp_path / "copied", ignore=shutil.ignore_patterns("frames"))


def changed(path, place, value):
    """Puts a value into a file of JSON; without a place it is all of it."""
    found = json.loads(path.read_text())
    part = found
    for key in place[:-1]:
        part = part[key]
    if place:
        part[place[-1]] = value
    path.write_text(json.dumps(found if place else value))


POINT = ["codecs", "webp", "points", 1]


@pytest.mark.parametrize(
    ("file", "place", "value", "said"),
    [
        *(("pictures/astronaut.png.json", [], value, "its content is ") for value in ([], None, "a", 1)),
        ("pictures/astronaut.png.json", [], {}, "it has no 'name'"),
        ("pictures/astronaut.png.json", ["codecs"], {}, "different metrics, or there is none"),
        ("pictures/astronaut.png.json", ["codecs", "webp"], [], "codecs.webp is []"),
        ("pictures/astronaut.png.json", ["codecs", "webp", "points"], [], "codecs.webp.points is []"),
        ("pictures/astronaut.png.json", [*POINT, "bpp"], "0.5", 'codecs.webp.points.1.bpp is "0.5"'),
        ("pictures/astronaut.png.json", [*POINT, "bpp"], float("nan"), "codecs.webp.points.1.bpp is NaN"),
        ("pictures/astronaut.png.json", [*POINT, "bytes"], 10**400, "codecs.webp.points.1.bytes is 10000"),
        ("pictures/astronaut.png.json", [*POINT, "metrics"], {}, "its points have different metrics"),
        ("pictures/astronaut.png.json", [*POINT, "other"], 1, "unexpected keyword argument 'other'"),
        ("run.json", [], {"format": 1, "pictures": ["one.png"]}, "it has no 'data'"),
        ("run.json", [], [], "its content is []"),
        ("run.json", ["pictures"], [1], "pictures.0 is 1"),
        ("run.json", ["models"], ["tiny"], 'models is ["tiny"]'),
        ("run.json", ["machine"], {}, "machine has no 'processor'"),
    ],
)
def test_damaged_results_are_named(copied, file, place, value, said):
    changed(copied / file, place, value)
    with pytest.raises(ResultsError) as raised:
        Results.read(copied)
    message = str(raised.value)
    assert message.startswith(f"{copied / file} has damaged results: ") and said in message
    assert message.endswith("; evaluate again, measured points are kept") and "\n" not in message


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ([], [], "its content is []"),
        (["curves"], [], "curves is []"),
        (["curves", "webp", "psnr", "bpp", 0], "0.5", 'curves.webp.psnr.bpp.0 is "0.5"'),
        (["curves", "webp", "psnr", "bpp", 0], None, "curves.webp.psnr.bpp.0 is null"),
        (["curves", "webp", "psnr", "quality"], [1.0], "curves.webp.psnr has not as many values of bpp as of quality"),
        (["areas"], None, "areas is null"),
        (["areas", "webp", "psnr"], {"auc": 50}, "areas.webp.psnr has no 'auc_file'"),
        (["models", "tiny", "tune"], [], "models.tiny.tune is []"),
        (["models", "tiny", "config"], {}, "models.tiny.config has no 'unit'"),
        (["pictures"], [{"a": "b" * 50}], 'pictures.0 is {"a": "bbb'),
    ],
)
def test_curves_that_are_none_are_named(copied, place, value, said):
    file = copied / "curves.json"
    changed(file, place, value)
    for read in (MeanCurves.read, UnitTable.read, summaries):
        with pytest.raises(ResultsError) as raised:
            read(file)
        message = str(raised.value)
        assert message.startswith(f"{file} is no curves.json of `lit-rnncomp evaluate`: ") and said in message
        assert len(message) < len(str(file)) + 150 and "\n" not in message


def test_results_with_fewer_metrics_are_read(copied):
    """An earlier version had no ssim."""
    for path in (copied / "pictures").iterdir():
        found = json.loads(path.read_text())
        for point in (point for codec in found["codecs"].values() for point in codec["points"]):
            del point["metrics"]["ssim"]
        path.write_text(json.dumps(found))
    results = Results.read(copied)
    assert "ssim" not in areas(results)["webp"] and "psnr" in areas(results)["webp"]


@pytest.mark.parametrize("damage", ["", "{}", "[]", "null", "[" * 100_000])
def test_a_damaged_measurement_is_measured_again(photographs, tmp_path, damage):
    codec, image = BASELINES["jpeg420"], Image.open(photographs / "astronaut.png").crop((0, 0, 32, 32))
    first = measure(image, codec, tmp_path)
    (record,) = tmp_path.iterdir()
    record.write_text(damage)
    again = measure(image, codec, tmp_path)
    assert [point.bytes for point in again.points] == [point.bytes for point in first.points]
    assert measure(image, codec, tmp_path) == again, "kept again"
