"""The report page, whole in one file: what is in it without JavaScript."""

import json
import re
import shutil

import pytest
from PIL import Image

from lit_rnncomp.evaluation.baselines import BASELINES
from lit_rnncomp.evaluation.per_picture import lead
from lit_rnncomp.evaluation.records import ResultsError
from lit_rnncomp.evaluation.report import report
from lit_rnncomp.evaluation.results import Results
from lit_rnncomp.evaluation.viewer import choose

TIMES = "\N{MULTIPLICATION SIGN}"


def test_the_page_names_no_outside_address(page):
    text = page.read_text()
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}, (
        "the name of SVG, which nobody fetches"
    )
    assert not re.search(r"<(?:link|script|img|iframe)[^>]*\s(?:src|href)=\"(?!data:)", text)
    assert not re.search(r"__[A-Z]+__", text), "every mark of the template is filled"
    assert "<title>Tiny &amp; &lt;small&gt;</title>" in text


def test_tables_are_there_without_javascript(page, results):
    text = page.read_text()
    area = json.loads((results / "summary.json").read_text())["webp"]["ms_ssim"]["auc_file"]
    assert f"<td>{area:.4f}" in text
    assert "<td>LSTM one-shot</td><td>1.8062</td><td>1.8166</td>" in text
    assert "<td>JPEG 4:2:0</td><td>1.7998</td><td>&ndash;</td>" in text


def test_the_viewers_numbers_are_the_measured_ones(content, results, photographs):
    measured = Results.read(results).pictures
    assert [picture["name"] for picture in content["pictures"]] == ["astronaut.png", "sub/coffee.png"]
    for shown, picture in zip(content["pictures"], measured, strict=True):
        for entry, point in zip(shown["models"]["tiny"], picture.codecs["tiny"].points, strict=True):
            assert (entry["bytes"], entry["psnr"]) == (point.bytes, point.metrics["psnr"])
        image = Image.open(photographs / picture.name)
        for codec in ("jpeg420", "webp"):
            smallest = min(len(BASELINES[codec].encode(image, quality)) for quality in range(1, 101))
            matched = [shown["codecs"][codec]["files"][key] for key in shown["codecs"][codec]["match"]["tiny"]]
            for other, ours in zip(matched, shown["models"]["tiny"], strict=True):
                assert other["bytes"] <= ours["bytes"] or other["bytes"] == smallest
                assert other["src"].startswith("data:image/jpeg" if codec == "jpeg420" else "data:image/webp")


def test_tables_mark_what_is_held_and_give_intervals(page, results):
    text = page.read_text()
    row = next(row for row in json.loads((results / "comparison.json").read_text()) if row["codec"] == "jpeg420")
    low, high = row["psnr_mean_file_interval"]
    assert f"<td>{row['psnr_mean_file']:.2f}*<small>{low:.2f} to {high:.2f}</small></td>" in text
    assert f"<td>{row['psnr_mean_common']:.2f}<small>" in text, "over the rates that every codec has"
    assert "mean over 2 of 3 pictures" in text and "percentile bootstrap over pictures, 10,000 resamples" in text
    assert "<th>above JPEG 4:2:0</th>" in text


def test_a_picture_on_which_the_model_loses_is_in_the_viewer(results):
    measured = Results.read(results)
    leads = {picture.name: lead(measured, picture).by for picture in measured.pictures}
    assert [picture.name for picture in choose(measured, 1)] == [min(leads, key=leads.get)]
    assert len(choose(measured, 2)) == 2 and choose(measured, 0) == []


def test_arguments_are_checked(results, tmp_path):
    with pytest.raises(ValueError, match="--quality is 0"):
        report(str(results), out=str(tmp_path / "r.html"), quality=0)
    with pytest.raises(ValueError, match="--codecs has 'gif'"):
        report(str(results), out=str(tmp_path / "r.html"), codecs="gif")


def test_names_and_headings_are_text(results, tmp_path):
    """A heading may read like a mark of the template, a name like the begin of a script."""
    shutil.copytree(results, tmp_path / "results", ignore=shutil.ignore_patterns("frames", "cache"))
    name = "<!--<script>__TABLES__"
    for path in (tmp_path / "results" / "pictures").iterdir():
        path.write_text(path.read_text().replace('"title": "tiny"', f'"title": "{name}"'))
    report(str(tmp_path / "results"), out=str(tmp_path / "page.html"), pictures=0, title="__TABLES__ & __DATA__")
    text = (tmp_path / "page.html").read_text()
    assert "<h1>__TABLES__ &amp; __DATA__</h1>" in text and "<!--" not in text and text.count("<h2>Area under") == 1
    data = re.search(r'<script id="data" type="application/json">([^<]*)</script>', text).group(1)
    assert json.loads(data)["curves"][0]["title"] == name


def test_results_that_share_no_picture_are_named(results, tmp_path):
    shutil.copytree(results, tmp_path / "results", ignore=shutil.ignore_patterns("cache"))
    for codec, path in zip(("tiny", "webp"), sorted((tmp_path / "results" / "pictures").rglob("*.json")), strict=True):
        picture = json.loads(path.read_text())
        del picture["codecs"][codec]
        path.write_text(json.dumps(picture))
    with pytest.raises(ResultsError, match=r"no picture was measured by all of tiny, jpeg420, webp.*run\.json"):
        report(str(tmp_path / "results"), out=str(tmp_path / "report.html"))
    assert not (tmp_path / "report.html").exists()
