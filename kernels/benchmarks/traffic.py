"""What the ops move: eager PyTorch counted call by call, the kernels by what they read and write, and the floor.

Eager is counted, not modelled: the reference runs, forward and backward, under a dispatch mode that adds up the bytes
of every tensor each call reads and writes; views are free. Nothing here needs a GPU or is a time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import shapes
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

import rnncomp_kernels
from lit_rnncomp.models.config import CodecConfig, Unit
from lit_rnncomp.models.recurrent_codec import RecurrentCodec
from lit_rnncomp.training.counting import forget_values
from rnncomp_kernels import reference
from rnncomp_kernels._launch import kernels_chosen

Shape = tuple[int, int, int, int]
Made = TypeVar("Made", bound=nn.Module)
SEED = 1


class Traffic(NamedTuple):
    """Bytes through memory and kernel launches."""

    bytes: int
    launches: int

    def plus(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes + other.bytes, self.launches + other.launches)


class Op(NamedTuple):
    """An op for the benchmark: its definition, and the channels of its inputs in units of C.

    `floor`, in units of C: what any implementation touches at least, forward and backward, each value needed once, each
    result once.
    """

    name: str
    definition: Callable
    inputs: tuple[int, ...]
    floor: int


def noisy_sign(x: Tensor) -> Tensor:
    """The binarizer as one would write it in eager PyTorch, with the device's own generator instead of Philox by
    hand."""
    y = torch.tanh(x)
    return y + (torch.where(y > torch.rand_like(y) * 2 - 1, 1.0, -1.0) - y).detach()


def dead_zone(x: Tensor) -> Tensor:
    """Ternary codes as one would write them in eager PyTorch."""
    return x + (torch.where(x.abs() >= 1, x.sign(), 0) - x).detach()


OPS = [
    Op("lstm_update", reference.lstm_update, (4, 1, 4), (4 + 4 + 1 + 2) + (4 + 1 + 2 + 4 + 1)),
    Op("associative_lstm_update", reference.associative_lstm_update, (9, 2, 9), (9 + 9 + 2 + 4) + (9 + 2 + 4 + 9 + 2)),
    Op("gru_reset", reference.gru_reset, (3, 2, 1), 4 + 4 + 1 + 1 + 1),
    Op("gru_update", reference.gru_update, (3, 2, 1, 1), 6 + 6 + 2 + 1 + 1 + 1),
    Op("residual_gru_update", reference.residual_gru_update, (4, 3, 1, 1), 9 + 7 + 3 + 2 + 1 + 1),
    Op("binarize", noisy_sign, (1,), 5),
    Op("ternarize", dead_zone, (1,), 2),
]
BY_NAME = {op.name: op for op in OPS}
NO_LAUNCH = (
    "aten.view",
    "aten._unsafe_view",
    "aten.empty",
    "aten.new_empty",
    "aten.detach",
    "aten.lift_fresh",
    "aten._to_copy",
)


class Count(TorchDispatchMode):
    """Adds up what every call reads, writes and multiplies.

    An op of `rnncomp_kernels` counts as what its launcher does: its recorded launches, and its copies.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = Traffic(0, 0)
        self.multiply_adds = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.namespace == "rnncomp":
            return self._launched(function, args)
        result = function(*args, **(kwargs or {}))
        outputs = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        shares = any(o.untyped_storage()._cdata == i.untyped_storage()._cdata for o in outputs for i in inputs)
        writes_in_place = function._schema.is_mutable
        if outputs and (not shares or writes_in_place) and not str(function).startswith(NO_LAUNCH):
            touched = sum(x.numel() * x.element_size() for x in (*inputs, *outputs))
            self.total = self.total.plus(Traffic(touched, 1))
        if function._overloadpacket in flop_registry:
            self.multiply_adds += flop_registry[function._overloadpacket](*args, **(kwargs or {}), out_val=result) // 2
        return result

    def _launched(self, function: Any, args: tuple) -> Any:
        from recorded import multiply_adds, recorders, touched

        stem, backward, into = function._opname.partition("_backward")
        module = importlib.import_module(f"rnncomp_kernels.{stem}")
        op = getattr(module, backward + into or "_forward")
        with recorders() as launches, self:
            result = op._init_fn(*args)
        for launch in launches:
            self.total = self.total.plus(Traffic(touched(launch), 1))
        self.multiply_adds += multiply_adds(launches)
        return result


def kernel_of(op: Op) -> Callable:
    """The op's public function."""
    function = getattr(rnncomp_kernels, op.name)
    return (lambda x: function(x, stochastic=True, seed=SEED)) if op.name == "binarize" else function


def _passes(function: Callable, op: Op, shape: Shape, dtype: torch.dtype) -> tuple[Traffic, Traffic]:
    """Inference, and training: forward and backward; at a state of `shape`, on tensors without data."""
    batch, channels, height, width = shape
    inputs = [
        torch.empty(batch, k * channels, height, width, dtype=dtype, device="meta", requires_grad=True)
        for k in op.inputs
    ]
    with torch.no_grad(), Count() as inference:
        function(*inputs)
    with Count() as forward:
        outputs = function(*inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    weights = [torch.empty_like(o) for o in outputs]
    with Count() as backward:
        torch.autograd.grad(outputs, inputs, weights)
    return inference.total, forward.total.plus(backward.total)


def eager(op: Op, shape: Shape, dtype: torch.dtype = torch.float32) -> Traffic:
    """One forward and backward of the reference."""
    return _passes(op.definition, op, shape, dtype)[1]


def fused(op: Op, shape: Shape, dtype: torch.dtype = torch.float32) -> Traffic:
    """One forward (training) and backward of the kernels."""
    return _fused(op, shape, dtype)[1]


def fused_inference(op: Op, shape: Shape, dtype: torch.dtype = torch.float32) -> Traffic:
    """One forward of the kernels without gradients."""
    return _fused(op, shape, dtype)[0]


def _fused(op: Op, shape: Shape, dtype: torch.dtype) -> tuple[Traffic, Traffic]:
    with kernels_chosen():
        return _passes(kernel_of(op), op, shape, dtype)


def floor(op: Op, shape: Shape, dtype: torch.dtype = torch.float32) -> int:
    return op.floor * _unit(shape, dtype)


def _unit(shape: Shape, dtype: torch.dtype) -> int:
    batch, channels, height, width = shape
    return batch * channels * height * width * dtype.itemsize


class Whole(nn.Module):
    """A network, and pictures of a scene (of `shapes.SCENES`) for it, always the same ones."""

    image: Tensor

    def __init__(self, config: CodecConfig, scene: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        batch, height, width = shapes.SCENES[scene]
        self.codec = RecurrentCodec(config)
        self.register_buffer("image", torch.rand(batch, 3, height, width) * 2 - 1)


def counted(make: Callable[[], Made], run: Callable[[Made], Any], kernels: bool = True) -> Count:
    """What `run(make())` costs, on parameters and buffers without data; with `kernels` ops go the way of a GPU."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # unlike meta tensors, these are on a device
    with torch.device("meta"):
        module = make()
    forget_values(module, mode)
    with mode, kernels_chosen(kernels), Count() as count:
        run(module)
    return count


def iteration(network: str, unit: Unit, kernels: bool) -> Count:
    """What one further training iteration costs, forward and backward, convolutions and all: the fourth less
    the third, of `network` (of `shapes.NETWORKS`) with `unit` at training patches, on tensors without data.

    With `kernels` as on a GPU with deferred weight gradients; without, the gates are the reference's and gradients
    autograd's.
    """

    def step(whole: Whole) -> None:
        whole.codec.defer_gradients = kernels
        torch.stack([r.abs().mean() for r in whole.codec(whole.image).residuals]).mean().backward()

    counts = []
    for iterations in (3, 4):  # two of the hidden convolutions, whose gradients are joined when there is more than one
        config = replace(shapes.NETWORKS[network], unit=unit, iterations=iterations)
        counts.append(counted(partial(Whole, config, "train"), step, kernels))
    less, more = counts
    more.total = Traffic(more.total.bytes - less.total.bytes, more.total.launches - less.total.launches)
    more.multiply_adds -= less.multiply_adds
    return more
