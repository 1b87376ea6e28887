"""Deferred weight gradients: those of autograd, once a step, through autograd."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lit_rnncomp.models.cells import PaddedConv2d, ResidualConvGRU
from lit_rnncomp.models.config import RECONSTRUCTIONS, UNITS
from lit_rnncomp.models.deferred import DeferredGradients
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.loss import segment_losses, sum_of_segments

Gradients = dict[str, Tensor]


@pytest.fixture
def deferring_codec(tiny_codec):
    """A tiny codec with deferred gradients; without the flag they are autograd's."""

    def make(**options: Any) -> RecurrentCodec:
        codec = tiny_codec(**options)
        codec.defer_gradients = True
        return codec

    return make


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(2, 3, 32, 32, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 2 - 1


def step(codec: RecurrentCodec, image: Tensor, length: int | None = None) -> Gradients:
    codec.zero_grad()
    torch.manual_seed(2)  # of the binarizer's noise
    losses = (s.loss for s in segment_losses(codec, image, 3, length, 0.0))
    sum_of_segments(losses, codec).backward() if length else next(losses).backward()
    return {name: p.grad.clone() for name, p in codec.named_parameters() if p.grad is not None}


def assert_same(ours: Gradients, theirs: Gradients, rtol: float = 1e-10) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=rtol, atol=rtol * float(gradient.abs().max()), msg=name)


SHAPES = {"conv": {}, "dct": {"frontend": "dct", "code_stride": 8, "bits": 8, "projections": "per_iteration"}}


EVERY = [
    choice
    for choice in itertools.product(UNITS, RECONSTRUCTIONS, SHAPES)
    if choice[2] == "dct" or choice[1] not in ("coefficient_gain", "measured_gain")
]


@pytest.mark.parametrize(("unit", "reconstruction", "shape"), EVERY)
def test_gradients_are_those_of_autograd(deferring_codec, unit, reconstruction, shape) -> None:
    codec = deferring_codec(unit=unit, reconstruction=reconstruction, iterations=3, **SHAPES[shape]).double().train()
    other = copy.deepcopy(codec)  # measured gains follow every step
    other.defer_gradients = False
    assert_same(step(codec, images()), step(other, images()))


@pytest.mark.parametrize(
    "options",
    [{"priming": 1}, {"padding": "tf_same"}, {"frontend": "dct", "code_stride": 8, "bits": 8, "shortcut": True}],
)
def test_also_with_what_is_rarer(deferring_codec, options) -> None:
    codec = deferring_codec(iterations=3, **options).double().train()
    ours = step(codec, images())
    codec.defer_gradients = False
    assert_same(ours, step(codec, images()))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_segments_of_a_truncated_step(deferring_codec, length) -> None:
    codec = deferring_codec(unit="residual_gru", iterations=3).double().train()
    ours = step(codec, images(), length)
    codec.defer_gradients = False
    assert_same(ours, step(codec, images(), length))


def test_accumulates_over_steps_and_follows_changed_weights(deferring_codec) -> None:
    codec = deferring_codec(iterations=3).double().train()

    def two_steps() -> Gradients:
        start = copy.deepcopy(codec.state_dict())
        first = step(codec, images())
        with torch.no_grad():
            for p in codec.parameters():
                p.add_(0.01)
        second = step(codec, images())
        codec.load_state_dict(start)
        return {name: first[name] + 3 * second[name] for name in first}

    ours = two_steps()
    codec.defer_gradients = False
    assert_same(ours, two_steps())


def test_a_convolution_follows_weights_changed_while_the_loop_lasts() -> None:
    conv, x, deferred = PaddedConv2d(2, 3, 3).double(), torch.randn(1, 2, 4, 4).double(), DeferredGradients()
    for dtype in (None, None, torch.bfloat16, torch.bfloat16):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            conv = conv if dtype is None else conv.float()
            assert torch.equal(deferred(conv, x.to(conv.weight.dtype)), conv(x.to(conv.weight.dtype)))
        with torch.no_grad():
            conv.weight.mul_(2)


def test_a_pass_without_parameters_leaves_nothing_behind() -> None:
    conv, deferred = PaddedConv2d(2, 3, 3).double(), DeferredGradients()
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    y = deferred(conv, x).square().sum()
    torch.autograd.grad(y, x, retain_graph=True)
    first = torch.autograd.grad(y, [conv.weight, conv.bias], retain_graph=True)
    again = torch.autograd.grad(y, [conv.weight, conv.bias])
    expected = torch.autograd.grad(conv(x).square().sum(), [conv.weight, conv.bias])
    for ours, second, theirs in zip(first, again, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(second, theirs)


def test_without_autograd_nothing_is_gathered() -> None:
    conv, x, deferred = PaddedConv2d(2, 3, 3), torch.randn(1, 2, 4, 4), DeferredGradients()
    with torch.no_grad():
        assert torch.equal(deferred(conv, x), conv(x))
    deferred(conv, x).sum().backward()
    assert conv.weight.grad is not None


def test_frozen_weights_and_pictures_of_several_sizes() -> None:
    conv, deferred = PaddedConv2d(2, 3, 3, 2).double(), DeferredGradients()
    conv.weight.requires_grad_(False)
    pictures = [torch.randn(2, 2, side, side).double() for side in (4, 8, 4)]
    sum(deferred(conv, x).square().sum() for x in pictures).backward()
    ours, conv.bias.grad = conv.bias.grad, None
    sum(conv(x).square().sum() for x in pictures).backward()
    assert conv.weight.grad is None
    torch.testing.assert_close(ours, conv.bias.grad)


def test_each_gradient_arrives_once_and_through_hooks(deferring_codec) -> None:
    codec, arrivals = deferring_codec(iterations=3).train(), []
    for name, p in codec.named_parameters():
        p.register_post_accumulate_grad_hook(lambda p, name=name: arrivals.append(name))
    step(codec, images(torch.float32))
    assert sorted(arrivals) == sorted(name for name, _ in codec.named_parameters())


class WeightGradients(TorchDispatchMode):
    """Counts products that make a weight gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution_backward.default:
            self.count += args[10][1]
        return function(*args, **(kwargs or {}))


def test_one_product_a_convolution(deferring_codec) -> None:
    codec = deferring_codec(unit="gru", iterations=3).train()
    convolutions = [m for m in codec.modules() if isinstance(m, PaddedConv2d)]
    with WeightGradients() as ours:
        step(codec, images(torch.float32))
    codec.defer_gradients = False
    with WeightGradients() as theirs:
        step(codec, images(torch.float32))
    assert ours.count == len(convolutions)
    assert theirs.count > 2 * ours.count


def test_bfloat16_is_no_further_from_the_truth_than_autograd(deferring_codec) -> None:
    codec = deferring_codec(iterations=3, binarize="sign").train()

    def mixed() -> Gradients:
        with torch.autocast("cpu", torch.bfloat16):
            codec.zero_grad()
            outputs = [codec.encoder(images(torch.float32), None, 0, codec._begin())[0]]
            outputs += [codec.decoder(torch.ones(2, 32, 2, 2), None, 0, codec._begin())[0]]
            sum(x.float().square().mean() for x in outputs).backward()
        found = {name: p.grad.double() for name, p in codec.named_parameters() if p.grad is not None}
        assert all(p.grad is None or p.grad.dtype == torch.float32 for p in codec.parameters())
        return found

    ours = mixed()
    codec.defer_gradients = False
    theirs = mixed()
    exact = copy.deepcopy(codec).double()
    exact.zero_grad()
    outputs = [exact.encoder(images())[0], exact.decoder(torch.ones(2, 32, 2, 2).double())[0]]
    sum(x.square().mean() for x in outputs).backward()
    truth = {name: p.grad for name, p in exact.named_parameters() if p.grad is not None}

    def error(found: Gradients) -> float:
        return float(sum((found[name] - truth[name]).square().sum() for name in truth))

    assert error(ours) <= 2**2 * error(theirs)  # squares: at most twice as far


def test_a_step_that_waits_is_neither_copied_nor_stored(deferring_codec) -> None:
    codec = deferring_codec(iterations=3).train()
    codec(images(torch.float32))
    for other in (copy.deepcopy(codec), pickle.loads(pickle.dumps(codec))):
        assert_same(step(other, images(torch.float32)), step(codec, images(torch.float32)), rtol=1e-6)


def test_gradients_of_all_iterations_lie_side_by_side(deferring_codec) -> None:
    """What the layers write is one batch at once: only inputs, and what other convolutions are given, is joined."""
    codec = deferring_codec(unit="residual_gru", iterations=3, **SHAPES["dct"]).train()
    widths = {cell.input_conv.out_channels for cell in codec.modules() if isinstance(cell, ResidualConvGRU)}
    with Joined() as joined:
        step(codec, images(torch.float32))
    assert joined.widths and not joined.widths & widths


class Joined(TorchDispatchMode):
    """The channels of batches that are joined."""

    def __init__(self) -> None:
        super().__init__()
        self.widths: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.cat.default and len(args) == 1:
            self.widths.add(args[0][0].shape[1])
        return function(*args, **(kwargs or {}))
