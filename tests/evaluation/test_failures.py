"""Codecs that fail and odd pictures cost `evaluate` only themselves."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from skimage.data import astronaut

from lit_rnncomp.evaluation import rd
from lit_rnncomp.evaluation.bar import counted
from lit_rnncomp.evaluation.baselines import Baseline
from lit_rnncomp.evaluation.evaluate import evaluate
from lit_rnncomp.evaluation.mean_curves import MeanCurves
from lit_rnncomp.evaluation.neural import Neural
from lit_rnncomp.evaluation.report import report
from lit_rnncomp.evaluation.results import Results
from lit_rnncomp.evaluation.summary import areas


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


def test_a_model_that_is_not_there(photographs, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        evaluate([str(tmp_path / "absent.ckpt")], str(photographs), "jpeg420", str(tmp_path / "out"))


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


def test_names_that_read_like_markup(photographs, tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    picture = tmp_path / "x[" / "b] :smile:.png"
    picture.parent.mkdir()
    Image.open(photographs / "astronaut.png").crop((0, 0, 48, 48)).save(picture)
    model = "m[x]:smile:"
    evaluate([f"{model}={tiny_model}"], str(tmp_path), "none", str(tmp_path / "out"), anchor=model, frames=0)
    printed = capsys.readouterr()
    assert printed.out.count(f"│ {model} ") == 2 and f"Rate against {model}" in printed.out
    with counted() as progress:
        progress.add_task("x[/b].png  m[x]:smile:")
        Console(width=80).print(progress.get_renderable())
    assert "x[/b].png  m[x]:smile:" in capsys.readouterr().out


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
