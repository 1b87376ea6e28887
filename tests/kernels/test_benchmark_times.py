"""The benchmark's rows, with a clock that is not one: counts and rates, what fails, files, picture."""

import csv
import functools
import importlib
import json
from dataclasses import replace

import pytest
import torch
from helpers.benchmark_runs import FOLDER, broken, meter, rows_of, ticking

pytest.importorskip("triton", reason="triton is not installed")
# The tracer looks at every tensor's .grad; nothing of ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
    pytest.mark.usefixtures("small_benchmark"),
]


@pytest.fixture
def poisoned_memory():
    """Not here: filling memory would be counted as a launch."""


@pytest.mark.slow
def test_every_kind_by_every_provider():
    import layers
    import ops
    import shapes
    import timing
    import traffic
    import whole

    runs = list(ops.of_case(traffic.BY_NAME["gru_reset"], "here", (1, 4, 2, 3), torch.bfloat16))
    runs += layers.of_case(shapes.layers("dct", "train")[0], "gru", "train", torch.bfloat16)
    runs += [run for run in (*whole.steps("cpu"), *whole.encodes("cpu")) if run.labels["place"].startswith("dct")]
    rows = rows_of(runs)
    assert len(rows) == 2 * 3 + (4 + 3) + 2 * 4 + 3
    assert all(set(row) == set(timing.FIELDS) and row["error"] is None for row in rows)
    assert len({timing.key(row) for row in rows}) == len(rows)
    for kind, names in (("op", ["gru_reset"]), ("layer", ["gru"]), ("step", ["gru"]), ("encode", ["gru"])):
        assert sorted({row["name"] for row in rows if row["kind"] == kind}) == names
    costs = {}
    for row in rows:
        case = tuple(row[label] for label in timing.LABELS if label != "provider")
        costs.setdefault(case, set()).add((row["bytes"], row["multiply_adds"]))
    assert all(len(found) == 1 for found in costs.values())


def test_what_each_provider_runs_where_kernels_can(monkeypatch):
    """Eager and compiled are the reference; a layer is timed both ways whatever the table of channels says."""
    import layers
    import shapes
    import whole

    from rnncomp_kernels import _launch

    fuses = importlib.import_module("rnncomp_kernels.conv_lstm_step").fuses
    table = dict(layers.fused_channels())
    monkeypatch.setattr(_launch, "INTERPRETED", True)
    runs = [*layers.of_case(shapes.layers("dct", "train")[0], "lstm", "train", torch.float32)]
    runs += [*whole.steps("cuda"), *whole.encodes("cuda")]
    for run in runs:
        provider = run.labels["provider"]
        with run.context():
            assert _launch.use_kernels(torch.zeros(1)) == provider.startswith("triton")
            for channels in (8, 512):
                expected = {"triton update": False, "triton layer": True}.get(provider, channels == 8)
                assert all(fuses(channels, *kernels, 1, torch.float32) == expected for kernels in table)
        assert layers.fused_channels() == table
    graphs = {run.labels["provider"] for run in runs if run.captures}
    assert graphs == {"triton graph", "triton deferred graph"}


def test_shares_of_the_roofline():
    """The larger of bytes at the copy's rate and operations at the product's, over the time."""
    import timing

    limits = timing.Limits(1e9, {"float32": 2e9, "bfloat16": 4e9})
    row = {"median_ms": 8.0, "bytes": 2_000_000, "multiply_adds": 1_000_000}
    found = timing.with_rates(row, limits, "float32")
    assert (found["gb_per_s"], found["tflop_per_s"], found["share_of_roofline"]) == (0.2, 0.0, 0.25)
    assert timing.with_rates(row | {"multiply_adds": 4_000_000}, limits, "float32")["share_of_roofline"] == 0.5
    assert timing.with_rates(row | {"multiply_adds": 4_000_000}, limits, "bfloat16")["share_of_roofline"] == 0.25


def test_layers_are_the_distinct_ones_of_all_units(monkeypatch):
    import layers
    import shapes

    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(FOLDER))
    cases = list(layers.cases())
    assert len({(unit, layer[1:]) for layer, unit, _ in cases}) == len(cases)
    of = {unit: {layer[1:] for layer, u, _ in cases if u == unit} for unit in shapes.UNITS}
    assert len(of["lstm"]) == 2 * (7 + 1)
    assert of["lstm"] == of["gru"] == of["residual_gru"]
    decoders = {layer[1:] for network in shapes.NETWORKS for scene in shapes.SCENES
                for layer in shapes.layers(network, scene) if " D" in layer.name}  # fmt: skip
    assert of["associative_lstm"] == decoders and len(decoders) == 2 * (4 + 1)


@pytest.mark.parametrize(("unit", "gates", "launches"), [("lstm", 4, 1), ("gru", 3, 2), ("residual_gru", 4, 2)])
def test_a_layer_costs_what_it_touches_and_multiplies(unit, gates, launches):
    """A whole layer in one op: each tensor once, without a copy; multiply-adds of two or three convolutions."""
    import layers
    import shapes
    import traffic

    layer = next(layer for layer in shapes.layers("paper", "train") if layer.name == "paper D4")
    b, n, c, h, w, k, _, hidden = layer[1:]
    forward, training = (
        layers.counted(layer, unit, torch.float32, passes) for passes in ("forward", "forward+backward")
    )
    with layers.CONTEXTS["triton layer"]():
        count = traffic.counted(
            lambda: layers.OneLayer(layer, unit), lambda made: made.run(made.cell.step, "forward")()
        )
    assert count.total == (forward.bytes, launches)
    if unit == "lstm":
        state, filters = b * c * h * w, gates * c * (n * k * k + c * hidden * hidden)
        assert forward.bytes == 4 * (b * n * h * w + 4 * state + filters + 4 * c)
    assert forward.multiply_adds == b * h * w * gates * c * (n * k * k + c * hidden * hidden)
    assert training.multiply_adds == 3 * forward.multiply_adds
    assert training.bytes > 2 * forward.bytes


def test_whole_networks_cost_what_is_counted():
    import shapes
    import traffic
    import whole

    def multiply_adds(iterations):
        config = replace(shapes.NETWORKS["dct"], unit="gru", iterations=iterations)
        make = functools.partial(traffic.Whole, config, "train")
        return whole.counted(make, whole.training_step, torch.float32).multiply_adds

    assert multiply_adds(4) - multiply_adds(3) == traffic.iteration("dct", "gru", kernels=True).multiply_adds
    make = functools.partial(traffic.Whole, shapes.NETWORKS["paper"], "train")
    costs = [whole.counted(make, run, torch.float32) for run in (whole.encoding, whole.training_step)]
    assert 2.5 < costs[1].multiply_adds / costs[0].multiply_adds < 3  # of as many pixels
    narrow = whole.counted(make, whole.training_step, torch.bfloat16)
    assert narrow.multiply_adds == costs[1].multiply_adds and narrow.bytes < costs[1].bytes


def test_the_peak_is_of_a_run_after_the_first_or_of_the_capture():
    """What other tensors held before is taken off."""
    import timing

    readings = iter([100, 900, 400, 100, 900])

    def meter(function):
        function()
        return next(readings)

    run = broken()._replace(prepare=lambda device: lambda: None)
    assert [row["peak_bytes"] for row in rows_of([run, run._replace(captures=True)], meter=meter)] == [300, 800]
    assert rows_of([run])[0]["peak_bytes"] is None
    assert timing.MILLISECONDS.keys() == {"op", "layer", "step", "encode"}


def test_what_fails_is_a_row_and_the_run_goes_on():
    import ops
    import traffic

    good = list(ops.of_case(traffic.BY_NAME["gru_reset"], "here", (1, 4, 2, 3), torch.float32))[:2]
    rows = rows_of([good[0], broken(), good[1]])
    assert [row["error"] for row in rows] == [None, "OutOfMemoryError: out of memory", None]
    assert rows[1]["median_ms"] is None and rows[1]["provider"] == "eager"


@pytest.mark.slow
def test_every_case_of_the_baseline_is_compiled():
    """More shapes than torch compiles one function for: none falls back to eager, none leaves its sizes open."""
    import ops
    import timing
    import traffic

    graphs = []

    def clock(function, milliseconds):
        function()
        graphs.append(timing.counters["stats"]["unique_graphs"])
        return 1.0, 1.0, 1.0

    cases = torch._dynamo.config.recompile_limit + 2
    for n in range(cases):
        runs = ops.of_case(traffic.BY_NAME["gru_reset"], "here", (1, 2, 2, 2 + n), torch.float32)
        assert not any(row["error"] for row in rows_of([run for run in runs if run.graphs], clock))
    assert graphs == [1] * 2 * cases


@pytest.mark.parametrize(("kind", "graphs"), [("op", 1), ("layer", 1), ("step", 4), ("encode", 4)])
def test_a_baseline_that_is_not_compiled_is_no_baseline(monkeypatch, kind, graphs):
    import layers
    import ops
    import shapes
    import traffic
    import whole

    monkeypatch.setattr(torch, "compile", lambda f, **_: f)
    runs = {
        "op": lambda: ops.of_case(traffic.BY_NAME["gru_reset"], "here", (1, 4, 2, 3), torch.float32),
        "layer": lambda: layers.of_case(shapes.layers("dct", "train")[0], "gru", "train", torch.float32),
        "step": lambda: whole.steps("cpu"),
        "encode": lambda: whole.encodes("cpu"),
    }
    rows = rows_of(list(run for run in runs[kind]() if run.labels["provider"] == "torch.compile")[:1])
    assert f"torch.compile made 0 graphs of {kind}, gru" in rows[0]["error"]
    assert f"expected {graphs}" in rows[0]["error"]


def test_rows_are_written_as_they_come(tmp_path, monkeypatch):
    import ops
    import run
    import traffic

    path, clock = tmp_path / "new" / "times.csv", ticking()
    path.parent.mkdir()
    runs = list(ops.of_case(traffic.BY_NAME["gru_reset"], "here", (1, 4, 2, 3), torch.float32))
    written = []

    def bench(function, milliseconds):
        written.append(len(path.read_text().splitlines()) - 1 if path.exists() else 0)
        return clock(function, milliseconds)

    monkeypatch.setattr(run, "bench", bench)
    monkeypatch.setattr(run, "most_bytes", meter)
    limits = {"copied_bytes_per_second": 1e9, "operations_per_second": {"float32": 2e9}, "clocks": None}
    monkeypatch.setattr(run, "peak", lambda device: limits)
    times = run.time_all([*runs, broken()], path, {"ops": {}}, "cpu", "a device")
    assert written == list(range(len(runs)))
    assert json.loads(path.with_suffix(".json").read_text()) == {"ops": {}, "times": times}
    assert (times["device"], times["limits"]) == ("a device", limits)
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [r["median_ms"] for r in found] == ["1", "2", "3", "4", "5", "6", ""]
    assert found[0]["device"] == "a device" and found[-1]["error"] == "OutOfMemoryError: out of memory"
    assert {p.name for p in path.parent.iterdir()} == {"times.csv", "times.json"}


def test_the_picture(tmp_path):
    """Ops, steps and encodings, also where one of them or eager failed; nothing to draw is said."""
    import layers
    import ops
    import plots
    import run
    import shapes
    import timing
    import traffic
    import whole

    of_ops = [r for op in traffic.OPS[:2] for r in ops.of_case(op, "here", (1, 4, 2, 3), torch.float32)]
    of_layers = list(layers.of_case(shapes.layers("dct", "train")[0], "gru", "train", torch.float32))
    cost = functools.partial(timing.Cost, 1000, 1000)
    made_up = [r._replace(prepare=lambda device: lambda: None, graphs=0, cost=cost)
               for r in (*of_ops, *of_layers, *whole.steps("cpu"), *whole.encodes("cpu"), broken())]  # fmt: skip
    path = tmp_path / "times.csv"
    rows = rows_of(made_up)
    first = len(of_ops) + len(of_layers)
    for part in (rows, rows[: len(of_ops)], rows[len(of_ops) : first], rows[first + 1 :]):
        run.write(path, {}, {"rows": part})
        picture = plots.plot(path)
        assert picture == tmp_path / "times.svg" and picture.read_text().startswith("<?xml")
    for part in ([], rows_of([broken()])):
        run.write(path, {}, {"rows": part})
        with pytest.raises(ValueError, match="has no times that a picture shows"):
            plots.plot(path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(tmp_path, monkeypatch):
    """A real clock, a real meter and real limits; graphs too."""
    import layers
    import run
    import shapes
    import whole

    runs = [*layers.of_case(shapes.layers("dct", "train")[0], "gru", "train", torch.float32)]
    runs += [r for r in whole.steps("cuda") if r.labels["place"] == "dct train"]
    times = run.time_all(runs, tmp_path / "times.csv", {}, "cuda", run.gpu())
    assert len(times["rows"]) == len(runs)
    for row in times["rows"]:
        assert row["error"] is None
        assert row["median_ms"] > 0 and row["peak_bytes"] > 0 and row["share_of_roofline"] > 0
