"""Uninitialised memory is NaN in these tests: an element that no kernel wrote cannot hide. The benchmark is small."""

import functools
import sys
from dataclasses import replace

import pytest
import torch
from helpers.benchmark_runs import FOLDER
from helpers.interpreter import mend_bfloat16

from rnncomp_kernels import _launch

if _launch.INTERPRETED:
    mend_bfloat16()


def _poisoned(allocate):
    def allocate_nan(*args, **kwargs):
        x = allocate(*args, **kwargs)
        with torch.no_grad():
            return x.fill_(float("nan") if x.is_floating_point() else 85)

    return allocate_nan


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch, request):
    if "compiled" in request.node.nodeid:
        return  # the tracer must see torch's own functions
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, _poisoned(getattr(owner, name)))


@pytest.fixture
def small_benchmark(monkeypatch):
    """Its scripts can be imported; networks and pictures are small."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import shapes

    small = {name: replace(config, width=0.02, iterations=2) for name, config in shapes.NETWORKS.items()}
    monkeypatch.setattr(shapes, "NETWORKS", small)
    monkeypatch.setattr(shapes, "SCENES", {"train": (2, 32, 32), "picture": (1, 32, 64)})
    monkeypatch.setattr(shapes, "UNITS", ("gru",))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    yield
    for module in FOLDER.glob("*.py"):
        sys.modules.pop(module.stem, None)
