"""The benchmark's command: what got slower or larger is named, what failed too, and bad input is one line."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.benchmark_runs import FOLDER, broken

pytest.importorskip("triton", reason="triton is not installed")
pytestmark = pytest.mark.usefixtures("small_benchmark")


def times_of(median=1.0, peak=None, device="a device", error=None, provider="triton"):
    """Times of one run, a tenth to either side."""
    labels = broken().labels | {"provider": provider}
    row = labels | {"median_ms": median, "p20_ms": median * 0.9, "p80_ms": median * 1.1, "peak_bytes": peak}
    return {"device": device, "rows": [row | {"error": error}]}


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "lines"),
    [
        ({}, {"median": 1.3}, 0.1, 1),
        ({}, {"median": 1.3}, 0.5, 0),
        ({}, {"median": 1.2}, 0.1, 0),  # the intervals meet
        ({}, {"median": 0.5}, 0.1, 0),
        ({"peak": 10}, {"peak": 12}, 0.1, 1),
        ({"peak": 10}, {"peak": 11}, 0.1, 0),
        ({"peak": None}, {"peak": 12}, 0.1, 0),
        ({"peak": 10}, {"median": 2, "peak": 12}, 0.1, 2),
        ({}, {"median": 2, "provider": "eager"}, 0.1, 0),  # another case
        ({"error": "broken"}, {"median": 2}, 0.1, 0),
        ({}, {"median": 2, "error": "broken"}, 0.1, 0),
    ],
)
def test_what_got_slower_or_larger_is_named(old, new, tolerance, lines):
    import gate

    assert len(list(gate.worse(times_of(**old), times_of(**new), tolerance))) == lines


def test_a_line_of_the_gate():
    import gate

    old, new = times_of(1, peak=1_000_000), times_of(2, peak=2_000_000)
    case = "op, broken, here, forward, float32, triton"
    expected = [f"{case}: 1 ms before, 2 now", f"{case}: a peak of 1.0 MB before, 2.0 now"]
    assert list(gate.worse(json.loads(json.dumps(old)), new, 0.1)) == expected


def command(monkeypatch, times):
    """`run.main` as on a GPU whose times these are, and whose static part is the landed one."""
    import run

    landed = json.loads((FOLDER / "static.json").read_text())
    monkeypatch.setattr(run, "gpu", lambda: "a device")
    monkeypatch.setattr(run.static, "measure", lambda: landed)
    monkeypatch.setattr(run.tables, "traffic_table", lambda names: "")
    monkeypatch.setattr(run.tables, "iteration_table", lambda: "")
    monkeypatch.setattr(run.subprocess, "run", lambda *args, **kwargs: SimpleNamespace(returncode=0))
    asked = []

    def time_all(runs, path, static_part, device, name):
        asked.append({r.labels["kind"] for r in runs})
        run.write(path, static_part, times)
        return times

    monkeypatch.setattr(run, "time_all", time_all)
    return run.main, landed, asked


def test_against_older_times(tmp_path, monkeypatch, capsys):
    import timing

    times = times_of(2.0)
    times["rows"] = [dict.fromkeys(timing.FIELDS) | row for row in times["rows"]]
    main, landed, asked = command(monkeypatch, times)
    old, new = tmp_path / "old.json", tmp_path / "new.csv"
    to = ["--csv", str(new), "--against", str(old), "--op", "gru_reset"]
    for before, code, said in [
        (times_of(1.0), 1, "triton: 1 ms before, 2 now"),
        (times_of(2.0), 0, "1 of 1 rows have a time in"),
        (times_of(1.0, device="another"), 0, "Times were not compared: those of"),
    ]:
        old.write_text(json.dumps({**landed, "times": before}))
        assert main(to) == code
        assert said in capsys.readouterr().out
    old.write_text(json.dumps({**landed, "times": times_of(1.0)}))
    assert main([*to, "--tolerance", "1"]) == 0
    old.write_text(json.dumps(landed))  # the static part alone
    assert main(to) == 0
    assert "compared" not in capsys.readouterr().out
    assert asked == [{"op"}] * 5
    # what was written is what --against reads
    assert (
        main(["--csv", str(tmp_path / "again.csv"), "--against", str(new.with_suffix(".json")), "--only", "steps"]) == 0
    )
    assert "1 of 1 rows have a time in" in capsys.readouterr().out
    assert asked[-1] == {"step"}


def test_failed_rows_are_named_at_the_end(tmp_path, monkeypatch, capsys):
    import timing

    times = times_of(error="OutOfMemoryError: too large")
    times["rows"] = [dict.fromkeys(timing.FIELDS) | row for row in times["rows"]]
    main, _, asked = command(monkeypatch, times)
    assert main(["--csv", str(tmp_path / "new.csv"), "--only", "layers", "--only", "encode"]) == 1
    assert capsys.readouterr().out.endswith("op, broken, here, forward, float32, triton: OutOfMemoryError: too large\n")
    assert asked == [{"layer", "encode"}]
    assert main(["--csv", str(tmp_path / "new.csv"), "--plot"]) == 1
    assert ": OutOfMemoryError: too large\nCannot draw " in capsys.readouterr().out
    times["rows"][0] |= {"error": None, "bytes": 1, "share_of_roofline": 0.5, "pass": "forward+backward"}
    assert main(["--csv", str(tmp_path / "new.csv"), "--plot"]) == 0
    assert capsys.readouterr().out.endswith(f"Drew {tmp_path / 'new.svg'}\n")
    assert (tmp_path / "new.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "times.json"], "--csv times.json: the times go there as JSON"),
        (["--csv", "times.csv", "--json", "times.json"], "--json times.json: the times go there as JSON"),
        (["--csv", "static.csv", "--against", "static.json"], "--against static.json: the times go there as JSON"),
        (["--against", "rows.json"], "it has no ops, iterations and kernels; it is a file that --json wrote"),
        (["--tolerance", "-1"], "--tolerance -1.0: a fraction, 0 or more"),
        (["--op", "gru_reset", "--only", "steps"], "--op gru_reset with --only steps: leave one of them out"),
        (["--csv", "rows.json/times.csv"], "--csv: cannot write into rows.json"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    main, landed, _ = command(monkeypatch, times_of())
    monkeypatch.chdir(tmp_path)
    Path("static.json").write_text(json.dumps(landed))
    Path("rows.json").write_text("[]")
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
    assert json.loads(Path("static.json").read_text()) == landed
