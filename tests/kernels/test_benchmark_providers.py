"""What the benchmark times beside each other computes the same: layers, training steps and encodings by every provider.

On a CPU the kernels' providers take the reference; `test_interpreter.py` runs these tests with the kernels.
"""

import functools
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.op_cases import DEVICE

pytest.importorskip("triton", reason="triton is not installed")
# The tracer looks at every tensor's .grad; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
FOLDER = Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"
UNITS = ("lstm", "associative_lstm", "gru", "residual_gru")


@pytest.fixture
def poisoned_memory():
    """Not here: the tracer must see torch's own functions."""


@pytest.fixture(autouse=True)
def benchmark_folder(monkeypatch):
    """Its scripts can be imported; networks and pictures are small, and nothing is drawn by chance."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import shapes

    small = {
        name: replace(config, width=0.02, iterations=2, binarize="sign") for name, config in shapes.NETWORKS.items()
    }
    monkeypatch.setattr(shapes, "NETWORKS", small)
    monkeypatch.setattr(shapes, "SCENES", {"train": (1, 32, 32), "picture": (1, 32, 64)})
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    yield
    torch._dynamo.reset()
    for module in FOLDER.glob("*.py"):
        sys.modules.pop(module.stem, None)


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def numbers(run):
    """What the function returns that `run` prepares; what should be compiled is."""
    import timing

    torch._dynamo.reset()
    timing.counters.clear()
    with run.context():
        found = run.prepare(DEVICE)()
    timing.check_compiled(run)
    return found


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", ["paper E1", "paper D1", "paper D3"])
def test_layers(unit, name):
    import layers
    import shapes

    layer = next(layer for layer in shapes.layers("paper", "train") if layer.name == name)
    runs = list(layers.of_case(layer, unit, "train", torch.float32))
    for passes, whole in (("forward", ("lstm", "gru", "residual_gru")), ("forward+backward", ("lstm",))):
        found = {run.labels["provider"]: run for run in runs if run.labels["pass"] == passes}
        # a kernel of 2x2 is not symmetric, so that no op takes all of D1
        expected = ["eager", "torch.compile", "triton update"]
        assert list(found) == expected + (["triton layer"] if unit in whole and name != "paper D1" else [])
        plain = numbers(found["eager"])
        for provider in list(found)[1:]:
            assert_same(numbers(found[provider]), plain)


@pytest.mark.parametrize("unit", UNITS)
def test_training_steps(unit):
    """Loss and gradients; the graphs on a GPU alone."""
    import shapes
    import timing
    import traffic
    import whole

    config = replace(shapes.NETWORKS["dct"], unit=unit)
    found = {}
    for run in whole.steps(DEVICE):
        if run.labels["place"] == "dct train" and (run.labels["name"], run.labels["dtype"]) == (unit, "float32"):
            provider, made = run.labels["provider"], traffic.Whole(config, "train").to(DEVICE)
            torch._dynamo.reset()
            timing.counters.clear()
            with run.context():
                loss = whole.training_step(made, whole.STEPS[provider], torch.float32)()
            timing.check_compiled(run)
            found[provider] = [loss.clone(), *(p.grad.clone() for p in made.parameters())]
    assert len(found) == (6 if DEVICE == "cuda" else 4)
    for provider in found:
        assert_same(found[provider], found["eager"])


@pytest.mark.parametrize("unit", UNITS)
def test_encodings(unit):
    import whole

    runs = [run for run in whole.encodes(DEVICE) if run.labels["name"] == unit]
    for network in ("paper", "dct"):
        codes = {r.labels["provider"]: numbers(r) for r in runs if r.labels["place"] == f"{network} picture"}
        assert list(codes) == ["eager", "torch.compile", "triton"]
        assert len(codes["eager"]) == 2 and set(codes["eager"][0].unique().tolist()) == {-1, 1}
        for provider in codes:
            assert all(torch.equal(a, b) for a, b in zip(codes[provider], codes["eager"], strict=True))
