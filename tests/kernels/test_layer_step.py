"""A layer's step for a node of its own: the gradients of both uses of its output, whole, as autograd makes them."""

import functools

import pytest
import torch
from helpers.op_cases import DEVICE

from rnncomp_kernels import layer_step, reference

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
# Which of the gradients of (out, h) and, of an LSTM, of c there are.
ASKED = [(1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 0), (0, 0, 1)]


def tensors(blocks, form, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    found = [torch.randn(2, 3 * k, 4, 5, generator=generator, dtype=dtype).to(DEVICE) for k in blocks]
    return [x.contiguous(memory_format=form).requires_grad_() for x in found]


def room(like):
    return None if like is None else torch.full_like(like, torch.nan)


def gradients(outputs, inputs, grads):
    asked = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
    return torch.autograd.grad([o for o, _ in asked], inputs, [g for _, g in asked], materialize_grads=True)


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("name", "gates", "state"), [("lstm_update", 4, 1), ("associative_lstm_update", 9, 2)])
def test_lstm(name, gates, state, first, asked, form):
    inputs = tensors((gates, gates, state)[: 1 if first else 3], form)
    wide, hidden, c = (*inputs, None, None)[:3]
    expected = getattr(reference, name)(wide, c, hidden)
    grads = [g if a else None for g, a in zip(tensors((state,) * 3, form), asked, strict=True)]
    with torch.no_grad():
        found, kept = layer_step.lstm_forward(name, wide, c, hidden)
        grad_gates = room(wide)
        grad_c = layer_step.lstm_backward(name, kept, grads[1], grads[0], grads[2], grad_gates)
    torch.testing.assert_close(list(found), [x.detach() for x in expected])
    total = gradients([expected.h, expected.h, expected.c], inputs, grads)
    torch.testing.assert_close(grad_gates, total[0])
    if first:
        assert grad_c is None
    else:
        torch.testing.assert_close(grad_gates, total[1])
        torch.testing.assert_close(grad_c, total[2])


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("asked", [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_gru(residual, first, asked, form):
    """With the candidate's convolution in between, here a product by a number."""
    inputs = tensors((4, 3, 1) if residual else (3, 2, 1), form)[: 1 if first else 3]
    gates, hidden, h = (*inputs, None, None)[:3]
    update = functools.partial(reference.residual_gru_update, alpha_h=0.3, alpha_x=0.2)
    update = update if residual else reference.gru_update
    candidate = None if first else 1.5 * reference.gru_reset(gates, hidden, h)
    expected = update(gates, hidden, candidate, h)
    h_new, out = expected if residual else (expected, expected)
    grads = [g if a else None for g, a in zip(tensors((1, 1), form), asked, strict=True)]
    alphas = (0.3, 0.2) if residual else None
    with torch.no_grad():
        candidate = kept_reset = None
        if not first:
            reset, kept_reset = layer_step.gru_reset_forward(gates, hidden, h)
            candidate = 1.5 * reset
        ours, kept = layer_step.gru_update_forward(alphas, gates, hidden, candidate, h)
        into = room(gates), room(hidden), room(candidate)
        found = layer_step.gru_update_backward(alphas, kept, grads[1], grads[0], into)
        if not first:
            layer_step.gru_reset_backward(kept_reset, 1.5 * found.hidden_candidate, found)
    torch.testing.assert_close((ours.h, ours.out), (h_new.detach(), out.detach()))
    total = gradients([out, h_new], inputs, grads)
    assert first == (found.hidden_gates is None) == (found.h is None)
    whole = [found.gates] if first else [found.gates, found.hidden_gates, found.h]
    torch.testing.assert_close(whole, list(total))
