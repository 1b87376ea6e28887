"""The ops as PyTorch sees them: schema, fake tensors, autograd, `torch.compile`."""

import importlib

import pytest
import torch
from helpers.op_cases import CASES, DEVICE, results

import rnncomp_kernels as ops
from rnncomp_kernels import _launch


def arguments(case, inputs):
    """What the public function hands to the registered op."""
    inputs = inputs + [None] * (4 - len(inputs))
    if "lstm" in case.name:
        return (*inputs[:3], True)
    if case.name.startswith("gru_reset"):
        return tuple(inputs[:3])
    return (
        (*inputs, *case.options.values())
        if case.options or not case.name.startswith("residual_gru")
        else (*inputs, 0.1, 0.1)
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_opcheck_compiled(case):
    module = importlib.import_module("rnncomp_kernels." + case.name.split("-")[0])
    for dense in (torch.contiguous_format, torch.channels_last):
        inputs = [
            x if x is None else x.detach().contiguous(memory_format=dense).requires_grad_()
            for x in case.inputs((2, 2, 3, 3), torch.float32)
        ]
        outcome = torch.library.opcheck(module._forward, arguments(case, inputs))
        assert set(outcome.values()) == {"SUCCESS"}
        assert len(outcome) == 4


def test_opcheck_binarizer_compiled():
    binarizer = importlib.import_module(
        "rnncomp_kernels.binarize"
    )  # the module: the package has the function under its name
    x = torch.randn(2, 3, 4, 5, device=DEVICE, requires_grad=True)
    for seed in (None, torch.tensor(3, device=DEVICE)):
        assert set(torch.library.opcheck(binarizer._forward, (x, seed)).values()) == {"SUCCESS"}


def test_opcheck_ternarize_compiled():
    module = importlib.import_module("rnncomp_kernels.ternarize")
    x = torch.randn(2, 3, 4, 5, device=DEVICE)
    for form in (torch.contiguous_format, torch.channels_last):
        dense = x.clone(memory_format=form).requires_grad_()
        assert set(torch.library.opcheck(module._forward, (dense,)).values()) == {"SUCCESS"}


def test_opcheck_of_what_a_layers_node_calls_compiled():
    """The backward ops with both gradients, which write into what they are given."""
    reset, gru, residual, lstm, associative = (
        importlib.import_module(f"rnncomp_kernels.{name}")
        for name in ("gru_reset", "gru_update", "residual_gru_update", "lstm_update", "associative_lstm_update")
    )

    def t(blocks):
        return torch.randn(2, 2 * blocks, 3, 3, device=DEVICE)

    calls = [
        (lstm._backward_into, (t(4), t(1), t(1), t(1), t(1), t(4), t(1))),
        (associative._backward_into, (t(9), t(2), t(2), t(2), t(2), t(9), t(2))),
        (gru._backward_into, (t(1), t(1), t(3), None, None, None, t(3), None, None, None)),
        (residual._backward_into, (t(1), t(1), 0.1, 0.1, *map(t, (4, 3, 1, 1)), *map(t, (4, 3, 1, 1)))),
        (reset._backward_into, (t(3), t(2), t(1), t(1), t(3), t(2), t(1))),
    ]
    for op, values in calls:
        assert set(torch.library.opcheck(op, values).values()) == {"SUCCESS"}, op


@pytest.mark.parametrize("tile", [64, 4096])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_tile_does_not_matter(case, tile, monkeypatch):
    inputs = case.inputs((2, 3, 5, 7), torch.float32)
    expected = results(case, case.op, inputs)
    module = importlib.import_module("rnncomp_kernels._launch")
    monkeypatch.setattr(module, "TILE", tile)
    for x, y in zip(results(case, case.op, inputs), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_channels_last_stays_channels_last():
    gates = torch.randn(2, 12, 4, 5, device=DEVICE).contiguous(memory_format=torch.channels_last)
    assert ops.lstm_update(gates).h.is_contiguous(memory_format=torch.channels_last)
    assert ops.binarize(gates).is_contiguous(memory_format=torch.channels_last)
    assert ops.ternarize(gates).is_contiguous(memory_format=torch.channels_last)


def test_training_keeps_one_sum_of_gates():
    """Both convolutions' outputs can be freed: what autograd holds is their sum and the old cell."""
    gates, hidden = (torch.randn(1, 8, 3, 3, device=DEVICE, requires_grad=True) for _ in range(2))
    c = torch.randn(1, 2, 3, 3, device=DEVICE, requires_grad=True)
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x) or x, lambda x: x):
        ops.lstm_update(gates, c, hidden)
    pointers = {x.data_ptr() for x in held}
    assert sum(x.numel() for x in held) == gates.numel() + c.numel()
    assert gates.data_ptr() not in pointers and hidden.data_ptr() not in pointers


def test_the_kernels_are_what_runs():
    assert _launch.use_kernels(torch.zeros(1, device=DEVICE))
