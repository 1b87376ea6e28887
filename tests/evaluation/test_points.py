"""Files of points, as people, spreadsheets and programs write them."""

import re
import shutil

import pytest

from lit_rnncomp.evaluation.evaluate import evaluate
from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.evaluation.points import RATES, read_points


def written(path, content):
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "bpp,psnr\n0.5,30\n1,33\n",
        "  # mine\n\n0.5 30 # at quality 40\n1 33\n",
        "# bpp, psnr\n1, 33#last, and best\n0.5, 30\n",
        "\ufeffbpp\tPSNR\r\n0.5\t30\r\n1\t33\r\n",
        "quality,PSNR,ms-ssim,bpp\n20,30,0.9,0.5\n40,33,0.95,1.0\n",
        "bpp;dB\n0,5;30,0\n1,0;33,0\n",
        '"Rate", "PSNR"\n1, 33\n0.5, 30\n',
        "Rate (bpp),PSNR (dB)\n0.5,30\n1,33\n",
        "Bitrate [bits/pixel]   PSNR [dB]\n0.5             30\n1               33\n",
        '"0.5","30"\n"1","33"\n',
        '"0,5" "30"\n"1" "33"\n',
        '"0,5","30,0"\n"1,0","33,0"\n',
        "0,5 30,0\n1,0 33,0\n",
        "0,5\t30,0\n1,0\t33,0\n",
        "bpp, psnr\n 0,5 30\n 1,0 33\n",
        "0.5,\t30,\n1,\t33,\n",
        "0.5\t\t30\n1\t\t33\n",
        "5e-1,30\n1e0,33\n",
        "psnr,header,bpp,encoder\n30,,0.5,\n33,,1,\n",
        ',"rate (kbps)",bpp,nominal_bpp,note,PSNR_dB\n0,9,0.5,0.4,,30\n1,9,1,0.9,"best, yet",33\n',
        'file,setting,bpp,psnr\n"a #1, b.png",20,0.5,30\n"a #2, b.png",40,1,33\n',
    ],
)
def test_points_as_people_have_them(tmp_path, content):
    found = read_points(written(tmp_path / "points", content), METRICS["psnr"])
    assert [list(axis) for axis in found] == [[0.5, 1], [30, 33]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "not a table"),
        ("0.5\n", "not a table"),
        ("a, b\n", "not a table"),
        ("bpp,psnr\n", "not a table"),
        ("O.1 20\n0.2 28\n0.4 31\n", "not a table .*'O.1' is no number"),
        ("bpp,psnr\n0.2,28\nbpp,psnr\n", "not a table .*'bpp' of bpp is no number"),
        ("bpp,ssim,psnr\n0.2,,28\n0.4,0.9,\n", "not a table .*a line has no value of psnr"),
        ("bpp,psnr\n1,0.2,28\n2,0.4,31\n", "not a table .*a line has more values than the first one has names"),
        ("1,1, 28,5\n2,2, 30,5\n", "not a table .*it has 4 columns, and its first line does not name them"),
        ("20 0.2 28\n40 0.4 31\n", "not a table .*it has 3 columns"),
        ("psnr,kbps\n28,100\n31,200\n", "the columns psnr, kbps, and none of bits per pixel: call it bpp or"),
        ("setting,bytes,psnr\n20,100,28\n40,200,31\n", "the columns setting, bytes, psnr, and none of bits per pixel"),
        ("Rate (kbps),psnr\n100,28\n200,31\n", r"the columns Rate \(kbps\), psnr, and none of bits per pixel"),
        ("x,y\n0.2,28\n0.4,31\n", "the columns x, y, and none of bits per pixel"),
        ("setting,bpp,quality\n1,0.2,28\n2,0.4,31\n", "the columns setting, quality beside the rate, and none of psnr"),
        ("0.2 28\n0.4 nan\n", "a value that is not finite"),
        ("0.2 28\ninf 31\n", "a value that is not finite"),
        ("0 28\n0.4 31\n", "a rate that is not positive"),
        ("codec,bpp,psnr\na,0.2,28\nb,0.4,31\n", "points of several curves, codec is a, b: give a file for each"),
        ("image,bpp,psnr\n1,0.2,28\n2,0.4,31\n", "points of several curves, image is 1, 2: give a file for each"),
        ("preset,bpp,psnr\nfast,0.2,28\nfast,0.4,31\nslow,0.4,32\n", "several curves, preset is fast, slow"),
    ],
)
def test_files_that_are_no_points(tmp_path, content, message):
    path = tmp_path / "points"
    if content is not None:
        written(path, content)
    with pytest.raises(ValueError, match=message) as raised:
        read_points(path, METRICS["psnr"])
    assert str(raised.value).startswith(str(path)) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", RATES)
def test_every_name_of_a_rate(tmp_path, name):
    heads = f"psnr,{name.replace('_', ' ').title()}"
    found = read_points(written(tmp_path / "points", f"{heads}\n30,0.5\n33,1\n"), METRICS["psnr"])
    assert [list(axis) for axis in found] == [[0.5, 1], [30, 33]]


@pytest.mark.parametrize(
    ("content", "metric", "message"),
    [
        ("0.2 28\n0.4 31\n", "ms_ssim", "values up to 31, and MS-SSIM is at most 1: .*--metric psnr"),
        ("bpp,MS-SSIM (dB)\n0.2,8\n0.4,11\n", "ms_ssim", "values up to 11, and MS-SSIM is at most 1"),
        ("0.2 0.9\n0.4 0.95\n", "psnr", "are no PSNR in dB: .*--metric ms_ssim"),
        ("bpp,psnr\n0.2,28\n", "ssim", "a column of psnr and none of ssim: say --metric psnr"),
    ],
)
def test_points_of_another_metric(tmp_path, content, metric, message):
    with pytest.raises(ValueError, match=message):
        read_points(written(tmp_path / "points", content), METRICS[metric])


def test_a_similarity_is_not_read_from_its_decibels(tmp_path):
    path = written(tmp_path / "points", "bpp,MS-SSIM (dB),MS-SSIM\n0.5,10,0.9\n1,20,0.99\n")
    assert list(read_points(path, METRICS["ms_ssim"]).quality) == [0.9, 0.99]


def test_the_points_of_an_evaluation(results, photographs, tmp_path):
    """Those of one codec on one picture are a curve; those of several are refused."""
    with pytest.raises(ValueError, match=r"points\.csv has points of several curves, picture is astronaut\.png, sub/"):
        read_points(results / "points.csv", METRICS["psnr"])
    (tmp_path / "pictures").mkdir()
    shutil.copy(photographs / "astronaut.png", tmp_path / "pictures")
    cache = str(results / "cache")
    evaluate(None, str(tmp_path / "pictures"), "jpeg420", str(tmp_path / "ev"), cache=cache, json=True)
    for name in METRICS:
        assert METRICS[name].area(read_points(tmp_path / "ev" / "points.csv", METRICS[name])) > 0
    found = read_points(tmp_path / "ev" / "points.csv", METRICS["psnr"])
    lines = (tmp_path / "ev" / "points.csv").read_text().splitlines()
    assert len(found.bpp) == len(lines) - 1 and re.search(rf",{found.bpp[0]},,.*,{found.quality[0]},", lines[1])
