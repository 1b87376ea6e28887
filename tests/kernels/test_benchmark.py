"""The benchmark of the kernels: its counts, and its plumbing with a clock that is not one."""

import csv
import functools
import itertools
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """run.py and traffic.py, which are scripts in a folder of their own."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import run
    import traffic

    yield run, traffic
    for name in ("run", "traffic", "shapes"):
        sys.modules.pop(name, None)


def test_shapes_are_the_layer_table(benchmarks):
    import shapes

    paper = {layer.name: layer for layer in shapes.layers("paper", "train")}
    assert paper["paper E1"][1:6] == (32, 64, 256, 8, 8)
    assert paper["paper D1"][1:6] == (32, 512, 512, 2, 2)
    assert paper["paper D4"][1:6] == (32, 64, 128, 16, 16)
    assert {layer[1:6] for layer in shapes.layers("dct", "picture")} == {(1, 48, 48, 64, 96)}
    assert shapes.code_shape("dct", "picture") == (1, 8, 64, 96)


def test_traffic_lies_between_floor_and_eager(benchmarks):
    _, traffic = benchmarks
    for op in traffic.OPS:
        shape = (2, 8, 4, 4)
        assert traffic.floor(op, shape) <= traffic.fused(op, shape).bytes < traffic.eager(op, shape).bytes
        assert traffic.fused(op, shape).launches < traffic.eager(op, shape).launches / 2


def test_eager_counts_calls_and_not_views(benchmarks):
    _, traffic = benchmarks
    for function in (lambda x: x.neg(), lambda x: x.flatten().neg().view(1, 2, 1, 1)):
        # forward and backward: each reads two float32 and writes two
        assert traffic.eager(traffic.Op("neg", function, (2,), 0, 0, 0, 0), (1, 1, 1, 1)) == traffic.Traffic(2 * 16, 2)


def test_without_a_gpu_it_says_that_nothing_was_timed(benchmarks, capsys, monkeypatch):
    run, _ = benchmarks
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run.main(["--op", "gru_reset"]) == 0
    text = capsys.readouterr().out
    assert "nothing was timed" in text
    assert "gru_reset" in text
    assert run.main(["--plot"]) == 2


def test_rows_and_plot(benchmarks, tmp_path, monkeypatch):
    run, traffic = benchmarks
    small = [(op, f"layer {op.name}", (1, 4, 2, n)) for op in traffic.OPS[:3] for n in (2, 3)]
    monkeypatch.setattr(run, "cases", lambda: small)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(run, "copy_bandwidth", lambda *_: 10.0)
    ticks = itertools.count(1)

    def clock(function):
        function()
        n = next(ticks)
        return n, n * 0.9, n * 1.1

    rows = run.benchmark(["lstm_update", "gru_reset"], "cpu", clock, "none")
    assert len(rows) == 4 * 2 * 3 * 2  # case, dtype, provider, pass
    assert all(set(row) == set(run.FIELDS) for row in rows)
    assert rows[0]["gb_per_s"] == round(11 * 4 * 4 * 4 / 1e6, 1)
    path = tmp_path / "times.csv"
    run.write_csv(path, rows)
    with path.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert run.plot(path).read_text().startswith("<?xml")


def test_every_case_of_the_baseline_is_compiled(benchmarks, monkeypatch):
    """More shapes than torch compiles one function for: none falls back to eager, none leaves its sizes open."""
    run, traffic = benchmarks
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    graphs = []

    def clock(function):
        function()
        graphs.append(run.counters["stats"]["unique_graphs"])
        return 1.0, 1.0, 1.0

    cases = torch._dynamo.config.recompile_limit + 2
    for n in range(cases):
        assert len(list(run.timed(traffic.BY_NAME["gru_reset"], (1, 2, 2, 2 + n), torch.float32, "cpu", clock))) == 6
    assert len(graphs) == 6 * cases


def test_a_baseline_that_is_not_compiled_is_no_baseline(benchmarks, monkeypatch):
    run, traffic = benchmarks
    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    with pytest.raises(RuntimeError, match="torch.compile made 0 graphs of gru_reset, expected 2"):
        list(run.timed(traffic.BY_NAME["gru_reset"], (1, 2, 2, 2), torch.float32, "cpu", lambda f: (f(), 1.0, 1.0)))


def test_cpu_training_step(monkeypatch, capsys):
    import json

    monkeypatch.syspath_prepend(str(FOLDER))
    import cpu_training_step

    sizes = ["--width", "0.02", "--iterations", "1", "--batch", "1", "--side", "32", "--sgemm", "64", "--repeats", "3"]
    assert cpu_training_step.main([*sizes, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["memory_format"] for r in results] == ["contiguous", "channels_last"]
    for r in results:
        assert 0 < r["ratio_p20"] <= r["ratio"] <= r["ratio_p80"]
        assert 0 < sum(c["share"] for c in r["calls"]) <= 1.000001
    assert results[0]["gflop_per_step"] > 0


def test_the_readme_holds_the_counts(benchmarks):
    """The table of kernels/README.md is what run.py prints."""
    import shapes

    _, traffic = benchmarks
    layer = shapes.layers("paper", "train")[-1]
    shape = (layer.batch, layer.channels, layer.height, layer.width)
    text = (FOLDER.parent / "README.md").read_text()
    for op in traffic.OPS:
        plain, ours, least = traffic.eager(op, shape), traffic.fused(op, shape), traffic.floor(op, shape)
        theirs, own = (f"{traffic.bytes / 1e6:.1f} | {traffic.launches}" for traffic in (plain, ours))
        row = f"| `{op.name}` | {theirs} | {own} | {least / 1e6:.1f} |"
        assert row in text
