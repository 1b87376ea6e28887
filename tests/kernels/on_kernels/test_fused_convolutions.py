"""Layers whose convolutions are fused with their update: equal to convolutions, then the update."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.op_cases import DEVICE

import rnncomp_kernels as ops
from rnncomp_kernels import reference

lstm, gru, residual = (
    importlib.import_module(f"rnncomp_kernels.{name}")
    for name in ("conv_lstm_step", "conv_gru_step", "conv_residual_gru_step")
)

# batch, in, channels, height, width, kernel, hidden kernel, stride: masks in every direction, more than one tile in
# each
SHAPES = [
    (2, 5, 7, 6, 9, 3, 1, 1),
    (1, 33, 40, 8, 7, 3, 3, 2),
    (2, 16, 48, 8, 9, 1, 1, 1),
    (1, 3, 4, 5, 5, 1, 3, 2),
    (1, 1, 1, 1, 1, 3, 3, 1),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def layer(shape, gates, hidden_gates, dtype=torch.float32):
    """x, weight, bias, hidden weight, candidate weight, h and c for `shape`, each asking for its gradient."""
    batch, depth, c, height, width, k, hidden_k, stride = shape
    state = (batch, c, -(-height // stride), -(-width // stride))
    sizes = (
        (batch, depth, height, width), (gates * c, depth, k, k), (gates * c,),
        (hidden_gates * c, c, hidden_k, hidden_k),
        (c, c, hidden_k, hidden_k), state, state,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(s, generator=generator) * 0.3).to(DEVICE, dtype).requires_grad_() for s in sizes]


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def unfused(monkeypatch, function):
    with monkeypatch.context() as patch:
        patch.setattr(lstm, "FUSED_CHANNELS", {})
        return function()


def both(monkeypatch, run):
    """`run()` fused and unfused; fails if the table would not fuse at all."""
    launched = []
    for module in (lstm, gru, residual):
        original = module._launch_forward
        monkeypatch.setattr(module, "_launch_forward", lambda *a, f=original: launched.append(1) or f(*a))
    with monkeypatch.context() as patch:
        patch.setattr(lstm, "FUSED_CHANNELS", dict.fromkeys([(1, 1), (1, 3), (3, 1), (3, 3)], 1024))
        fused = run()
    assert launched
    count = len(launched)
    plain = unfused(monkeypatch, run)
    assert len(launched) == count
    return fused, plain


def whole_layer(unit, shape, dtype, computed=None, share=1.0):
    """A call without gradients of the op that is a layer of `unit`, on numbers of `dtype` (`share` of them), computed
    in that type or in another; it returns the outputs."""
    gates, hidden_gates = {"lstm": (4, 4), "gru": (3, 2), "residual_gru": (4, 3)}[unit]
    tensors = ((t.detach() * share).to(computed or dtype) for t in layer(shape, gates, hidden_gates, dtype))
    x, weight, bias, hidden, candidate, h, c = tensors
    rest = (h, c) if unit == "lstm" else (candidate, h)

    def call():
        new = getattr(ops, f"conv_{unit}_step")(x, weight, bias, hidden, *rest, shape[-1])
        return [new] if isinstance(new, torch.Tensor) else list(new)

    return call


@each_shape
def test_lstm_forward_and_gradients(shape, monkeypatch):
    x, weight, bias, hidden, _, h, c = inputs = layer(shape, 4, 4)
    wanted = [t for i, t in enumerate(inputs) if i != 4]

    def run():
        new = ops.conv_lstm_step(x, weight, bias, hidden, h, c, stride=shape[-1])
        return [*new, *torch.autograd.grad(new.h.sum() + (new.c**2).sum(), wanted)]

    for fused, plain in zip(*both(monkeypatch, run), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


@each_shape
def test_lstm_first_step_without_bias(shape, monkeypatch):
    x, weight, _, hidden, _, _, _ = layer(shape, 4, 4)

    def run():
        new = ops.conv_lstm_step(x, weight, None, hidden, stride=shape[-1])
        return [*new, *torch.autograd.grad(new.h.sum(), (x, weight))]

    for fused, plain in zip(*both(monkeypatch, run), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


@each_shape
@pytest.mark.parametrize("first", [False, True])
def test_gru(shape, first, monkeypatch):
    x, weight, bias, hidden, candidate, h, _ = layer(shape, 3, 2)
    with torch.no_grad():
        fused, plain = both(
            monkeypatch, lambda: ops.conv_gru_step(x, weight, bias, hidden, candidate, None if first else h, shape[-1])
        )
    torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


@each_shape
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_residual_gru_is_the_reference_after_convolutions(shape, first, with_bias, monkeypatch):
    x, weight, bias, hidden, candidate, h, _ = (t.detach() for t in layer(shape, 4, 3))
    h, bias = None if first else h, bias if with_bias else None
    arguments = (x, weight, bias, hidden, candidate, h, shape[-1], 0.3, 0.2)
    fused, plain = both(monkeypatch, lambda: ops.conv_residual_gru_step(*arguments))
    gates, state = F.conv2d(x, weight, bias, shape[-1], weight.shape[2] // 2), ()
    if h is not None:
        padding = hidden.shape[2] // 2
        hidden_gates = F.conv2d(h, hidden, padding=padding)
        reset = reference.gru_reset(gates, hidden_gates, h)
        state = (hidden_gates, F.conv2d(reset, candidate, padding=padding), h)
    expected = reference.residual_gru_update(gates, *state, alpha_h=0.3, alpha_x=0.2)
    for ours, unfused_, theirs in zip(fused, plain, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(unfused_, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", ["gru", "residual_gru"])
def test_grus_in_training_are_the_convolutions_and_the_update(unit, monkeypatch):
    """Their kernels keep nothing for a backward pass: where one is wanted, they are not launched."""
    gates, hidden_gates = {"gru": (3, 2), "residual_gru": (4, 3)}[unit]
    x, weight, bias, hidden, candidate, h, _ = inputs = layer((1, 3, 4, 5, 5, 3, 1, 1), gates, hidden_gates)
    module = {"gru": gru, "residual_gru": residual}[unit]
    monkeypatch.setattr(module, "_launch_forward", lambda *_: pytest.fail("launched"))
    new = getattr(ops, f"conv_{unit}_step")(x, weight, bias, hidden, candidate, h)
    loss = sum(t.square().sum() for t in ([new] if unit == "gru" else new))
    assert all(bool(grad.any()) for grad in torch.autograd.grad(loss, inputs[:6]))


@pytest.mark.parametrize("unit", ["lstm", "residual_gru"])
@pytest.mark.parametrize("network", ["paper", "dct"])
def test_the_layers_of_the_networks(network, unit, monkeypatch):
    """Every layer with an odd kernel at its kernels, stride and size (of one 32x32 patch), fused whatever the table
    says.

    The paper's at a quarter of their channels: at all of them the table takes the library's convolutions, and the
    interpreter a minute.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3] / "kernels" / "benchmarks"))
    import shapes

    rows = {row._replace(name="", batch=1) for row in shapes.layers(network, "train") if row.kernel % 2}
    assert len(rows) == {"paper": 6, "dct": 1}[network]
    for row in rows:
        share = 4 if network == "paper" else 1
        size = (1, row.in_channels // share, row.channels // share, row.height * row.stride, row.width * row.stride)
        shape = (*size, row.kernel, row.hidden_kernel, row.stride)
        fused, plain = both(monkeypatch, whole_layer(unit, shape, torch.float32, share=0.3))
        for ours, theirs in zip(fused, plain, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    sys.modules.pop("shapes")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("unit", ["lstm", "gru", "residual_gru"])
def test_half_precision_is_no_further_from_the_truth(unit, dtype, monkeypatch):
    """Accumulated in float32 and rounded once: at most twice the error of rounding after every convolution."""
    shape = (2, 40, 16, 6, 7, 3, 1, 1)
    fused, plain = both(monkeypatch, whole_layer(unit, shape, dtype))
    exact = unfused(monkeypatch, whole_layer(unit, shape, dtype, torch.float64))
    for ours, eager, truth in zip(fused, plain, exact, strict=True):
        assert ours.dtype == dtype
        assert (ours - truth).abs().max() <= 2 * (eager - truth).abs().max()


def test_the_table_decides():
    assert lstm.fuses(48, 3, 1, 1, torch.float32)
    assert not lstm.fuses(512, 3, 1, 1, torch.float32)
    assert not lstm.fuses(48, 5, 1, 1, torch.float32)
    assert not lstm.fuses(48, 3, 1, 3, torch.float32)
    assert not lstm.fuses(48, 3, 1, 1, torch.float64)


def test_opcheck_compiled():
    x, weight, bias, hidden, candidate, h, c = layer((1, 3, 4, 5, 5, 3, 1, 1), 4, 4)
    for keep in (True, False):
        arguments = (x, weight, bias, h, hidden, c, 1, keep)
        arguments = arguments if keep else tuple(t.detach() if isinstance(t, torch.Tensor) else t for t in arguments)
        assert set(torch.library.opcheck(lstm._forward, arguments).values()) == {"SUCCESS"}
    x, weight, bias, hidden, candidate, h, _ = (t.detach() for t in layer((1, 3, 4, 5, 5, 3, 1, 1), 3, 2))
    assert set(torch.library.opcheck(gru._forward, (x, weight, bias, hidden, candidate, h, 1)).values()) == {"SUCCESS"}
    x, weight, bias, hidden, candidate, h, _ = (t.detach() for t in layer((1, 3, 4, 5, 5, 3, 1, 2), 4, 3))
    for state in (h, None):
        arguments = (x, weight, bias, hidden, candidate, state, 2, 0.3, 0.2)
        assert set(torch.library.opcheck(residual._forward, arguments).values()) == {"SUCCESS"}
