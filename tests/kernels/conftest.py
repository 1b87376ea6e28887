"""Uninitialised memory is NaN in these tests: an element that no kernel wrote cannot hide."""

import pytest
import torch
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
