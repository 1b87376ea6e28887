"""The benchmark of the kernels: its counts, and what its command says without a GPU."""

import json
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"


@pytest.fixture
def poisoned_memory():
    """Not here: filling memory would be counted as a launch."""


@pytest.fixture
def benchmarks(monkeypatch):
    """run.py and traffic.py, which are scripts in a folder of their own."""
    pytest.importorskip("triton", reason="triton is not installed")
    monkeypatch.syspath_prepend(str(FOLDER))
    import run
    import traffic

    yield run, traffic
    for module in FOLDER.glob("*.py"):
        sys.modules.pop(module.stem, None)


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
        assert traffic.eager(traffic.Op("neg", function, (2,), 0), (1, 1, 1, 1)) == traffic.Traffic(2 * 16, 2)


def test_bytes_are_those_of_the_loads_and_stores(benchmarks):
    """A GRU's reset reads r of two tensors and the state: not the gates beside it."""
    _, traffic = benchmarks
    shape, unit = (2, 8, 4, 4), 2 * 8 * 4 * 4 * 4
    reset, lstm = traffic.BY_NAME["gru_reset"], traffic.BY_NAME["lstm_update"]
    assert traffic.fused_inference(reset, shape) == traffic.Traffic(4 * unit, 1)
    assert traffic.fused_inference(lstm, shape) == traffic.Traffic(11 * unit, 1)
    assert traffic.fused(lstm, shape) == traffic.Traffic((11 + 4 + 12) * unit, 2)
    assert traffic.fused(lstm, shape, torch.bfloat16).bytes == traffic.fused(lstm, shape).bytes / 2


def test_an_iteration_counts_what_the_codec_calls(benchmarks):
    """Each layer of an LSTM is one launch forward and one backward beside its convolutions, and saves launches."""
    _, traffic = benchmarks
    plain, ours = (traffic.iteration("dct", "lstm", kernels) for kernels in (False, True))
    assert plain.multiply_adds == ours.multiply_adds > 0
    assert ours.total.launches < plain.total.launches and ours.total.bytes < plain.total.bytes


def test_the_landed_counts_are_not_exceeded(benchmarks):
    """A change that costs launches, bytes, registers or spills is seen here: `run.py --json` renews the file."""
    import static

    landed = json.loads(static.LANDED.read_text())
    found = static.measure()
    assert not list(static.worse(landed, found))
    assert found["ops"] == landed["ops"] and found["kernels"] == landed["kernels"]


def test_what_got_worse_is_named(benchmarks):
    import static

    old = {"ops": {"a": {"launches": 2, "bytes": 10}}, "gone": {"b": 1}}
    new = {"ops": {"a": {"launches": 3, "bytes": 9}}}
    assert list(static.worse(old, new)) == ["ops, a, launches: 2 before, 3 now", "gone: no longer there"]


def test_against_an_older_file(benchmarks, tmp_path, capsys, monkeypatch):
    import shapes

    run, _ = benchmarks
    monkeypatch.setattr(shapes, "UNITS", ("gru",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "old.json"
    assert run.main(["--json", str(path)]) == 0
    old = json.loads(path.read_text())
    assert run.main(["--against", str(path)]) == 0
    old["iterations"]["dct gru"]["launches"] -= 1
    path.write_text(json.dumps(old))
    assert run.main(["--against", str(path)]) == 1
    assert "iterations, dct gru, launches" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        run.main(["--against", str(tmp_path / "none.json")])


def test_without_a_gpu_it_says_that_nothing_was_timed(benchmarks, capsys, monkeypatch):
    import shapes

    run, _ = benchmarks
    monkeypatch.setattr(shapes, "UNITS", ("gru",))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run.main(["--op", "gru_reset"]) == 0
    text = capsys.readouterr().out
    assert "nothing was timed" in text
    assert "gru_reset" in text
    with pytest.raises(SystemExit, match="2"):
        run.main(["--plot"])
    assert "--plot without a GPU draws times measured elsewhere" in capsys.readouterr().err
    assert run.main(["--plot", "--csv", "none.csv"]) == 2
    assert "Cannot draw none.csv: [Errno 2]" in capsys.readouterr().out


def test_cpu_training_step(monkeypatch, capsys):
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
