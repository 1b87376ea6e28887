"""`torch.compile(fullgraph=True)` equals eager, forward and backward, on either path."""

import pytest
import torch
from helpers.op_cases import CASES, DEVICE, results

import rnncomp_kernels as ops


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_full_graph(case):
    inputs = case.inputs((2, 3, 4, 5), torch.float32)
    compiled = torch.compile(lambda *tensors: tuple(case.run(case.op, tensors)), fullgraph=True, backend="aot_eager")
    for x, y in zip(results(case._replace(options={}), compiled, inputs), results(case, case.op, inputs), strict=True):
        torch.testing.assert_close(x, y)
    torch._dynamo.reset()


def test_full_graph_binarizer():
    def function(x, seed):
        return ops.binarize(x, stochastic=True, seed=seed)

    x, seed = torch.randn(1, 8, 5, 5, device=DEVICE), torch.tensor(7, device=DEVICE)
    assert torch.equal(torch.compile(function, fullgraph=True, backend="aot_eager")(x, seed), function(x, seed))
    torch._dynamo.reset()


@pytest.mark.parametrize(("unit", "gates", "hidden_gates"), [("lstm", 4, 4), ("gru", 3, 2), ("residual_gru", 4, 3)])
def test_full_graph_of_a_whole_layer(unit, gates, hidden_gates):
    sizes = (1, 3, 5, 5), (gates * 4, 3, 3, 3), (gates * 4,), (hidden_gates * 4, 4, 1, 1), (4, 4, 1, 1), (1, 4, 5, 5)
    x, weight, bias, hidden, candidate, h = (torch.randn(size, device=DEVICE) for size in sizes)
    step = getattr(ops, f"conv_{unit}_step")
    arguments = (x, weight, bias, hidden, h, h) if unit == "lstm" else (x, weight, bias, hidden, candidate, h)
    compiled = torch.compile(lambda *a: step(*a), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(*arguments), step(*arguments))
    torch._dynamo.reset()


@pytest.mark.slow
def test_inductor():
    """Once through the whole compiler: an LSTM and the L1 norm of a residual, with their backward."""

    def function(gates, c, image):
        h = ops.lstm_update(gates, c).h
        return (image - h).abs().sum()

    case = CASES[0]
    gates, c, _ = case.inputs((1, 3, 4, 4), torch.float32)
    image = torch.randn(1, 3, 4, 4, device=DEVICE)
    compiled, eager = torch.compile(function, fullgraph=True)(gates, c, image), function(gates, c, image)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(torch.autograd.grad(compiled, (gates, c)), torch.autograd.grad(eager, (gates, c)))
    torch._dynamo.reset()
