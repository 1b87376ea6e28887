"""The evaluation's verbs through the command line, as a person types them."""

import json
import warnings

import pytest

from lit_rnncomp.cli import main


def test_from_pictures_to_page(tiny_model, photographs, results, tmp_path, capsys):
    out = tmp_path / "results"
    options = [
        "--model",
        str(tiny_model),
        f"--model=again={tiny_model}",
        "--codecs",
        "jpeg420",
        "--workers",
        "1",
        "--frames",
        "1",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(
            [
                "evaluate",
                *options,
                "--data",
                str(photographs),
                "--out",
                str(out),
                "--cache",
                str(results / "cache"),
                "--json",
            ]
        )
    printed = capsys.readouterr()
    assert [row["codec"] for row in json.loads(printed.out)] == ["tiny", "again", "jpeg420"]
    assert printed.err.startswith("warning: broken.png: cannot read")
    main(["plot", str(out), str(results / "curves.json"), "--out", str(tmp_path / "curves.png")])
    assert (tmp_path / "curves.svg").exists()
    main(["bdrate", "jpeg420", "webp", "--results", str(results), "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["bd_rate"] < 0
    main(
        [
            "compare",
            str(tiny_model),
            "jpeg420",
            "--picture",
            str(photographs / "astronaut.png"),
            "--out",
            str(tmp_path / "s.png"),
        ]
    )
    main(["report", str(out), "--out", str(tmp_path / "report.html")])
    assert "again" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "nowhere"], "nowhere cannot be read"),
        (["report", "nowhere"], "nowhere is no results folder"),
        (["bdrate", "a.txt", "b.txt"], "a.txt cannot be read: give a file of points, or --results"),
        (["evaluate", "--data", "nowhere"], "--data DIR --out DIR"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1
