"""Recurrent layers, convolutions and all: every distinct layer of the networks with each unit, in each type.

`triton update` is two or three convolutions of the library and the fused updates, `triton layer` the whole layer in one
op of kernels, for inference, and of an LSTM for training too: both wherever both are possible, whatever
`FUSED_CHANNELS` of `conv_lstm_step.py` says, so that the two decide it. Tensors are channels last, which neither the
library nor the kernels have to copy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import shapes
import torch
import traffic
from timing import DTYPES, FORWARD, TRAINING, Cost, Function, Run, compiled
from torch import Tensor, nn

import rnncomp_kernels
from lit_rnncomp.models.cells import State, make_cell
from lit_rnncomp.models.config import CodecConfig, Unit
from rnncomp_kernels._launch import kernels_chosen

EAGER = partial(kernels_chosen, False)


class OneLayer(nn.Module):
    """A layer, its input and its state, always the same; all of it asks for gradients."""

    ones: Tensor

    def __init__(self, layer: shapes.Layer, unit: Unit) -> None:
        super().__init__()
        torch.manual_seed(0)
        sizes = layer.in_channels, layer.channels, layer.kernel, layer.stride, layer.hidden_kernel
        self.unit, self.cell = unit, make_cell(CodecConfig(), unit, *sizes)
        height, width = layer.height * layer.stride, layer.width * layer.stride
        self.x = nn.Parameter(torch.randn(layer.batch, layer.in_channels, height, width))
        size = layer.batch, layer.channels, layer.height, layer.width
        count = 2 if unit in ("lstm", "associative_lstm") else 1
        self.states = nn.ParameterList(torch.randn(size) for _ in range(count))
        self.register_buffer("ones", torch.ones(size))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @property
    def state(self) -> Any:
        return tuple(self.states) if len(self.states) == 2 else self.states[0]

    def outputs(self, step: Callable[[Tensor, State], tuple[Tensor, State]]) -> list[Tensor]:
        """Output and next state, each tensor once; `step` is the cell's, or stands for it."""
        out, state = step(self.x, self.state)
        new: list[Any] = list(state) if isinstance(state, tuple) else [state]
        return [out, *new] if self.unit == "residual_gru" else new  # of the others the output is the state

    def whole(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        """A step of an LSTM by the op that is the whole layer, with gradients too."""
        conv, hidden, (h, c) = self.cell.input_conv, self.cell.hidden_conv.weight, state
        new = rnncomp_kernels.conv_lstm_step(x, conv.weight, conv.bias, hidden, h, c, conv.stride[0])
        return new.h, (new.h, new.c)

    def run(self, step: Callable[[Tensor, State], tuple[Tensor, State]], passes: str) -> Function:
        """Inference, or all gradients of the sum of all outputs."""
        if passes == FORWARD:
            return torch.no_grad()(partial(self.outputs, step))
        wanted = list(self.parameters())

        def train() -> tuple[Tensor, ...]:
            outputs = self.outputs(step)
            return torch.autograd.grad(outputs, wanted, [self.ones] * len(outputs))

        return train


def fused_channels() -> dict[tuple[int, int], int | float]:
    """`conv_lstm_step.FUSED_CHANNELS`; the package has a function of the module's name."""
    return importlib.import_module("rnncomp_kernels.conv_lstm_step").FUSED_CHANNELS


@contextmanager
def fused(most: float) -> Iterator[None]:
    """Layers of up to `most` channels, of all kernels that there are, are one op meanwhile."""
    table = fused_channels()
    before = dict(table)
    table.update(dict.fromkeys(table, most))
    try:
        yield
    finally:
        table.update(before)


CONTEXTS = {
    "eager": EAGER,
    "torch.compile": EAGER,
    "triton update": partial(fused, 0),
    "triton layer": partial(fused, float("inf")),
}


def cases() -> Iterator[tuple[shapes.Layer, Unit, str]]:
    """The layer, its unit and the scene. The encoder of the associative LSTM is an LSTM."""
    seen = set()
    for network in shapes.NETWORKS:
        for scene in shapes.SCENES:
            for unit in shapes.UNITS:
                for layer in shapes.layers(network, scene):
                    encoder = layer.name.startswith(f"{network} E")
                    if (unit, layer[1:]) not in seen and not (unit == "associative_lstm" and encoder):
                        seen.add((unit, layer[1:]))
                        yield layer, unit, scene


def runs() -> Iterator[Run]:
    for layer, unit, scene in cases():
        for dtype in DTYPES:
            yield from of_case(layer, unit, scene, dtype)


def providers(layer: shapes.Layer, unit: Unit, passes: str) -> list[str]:
    """Those that there are for a layer: what one op takes, `Cell.is_one_op` says, and of training the LSTM's alone."""
    possible = (layer.kernel, layer.hidden_kernel) in fused_channels()
    possible = possible and (unit != "associative_lstm" if passes == FORWARD else unit == "lstm")
    return list(CONTEXTS) if possible else list(CONTEXTS)[:-1]


def of_case(layer: shapes.Layer, unit: Unit, scene: str, dtype: torch.dtype) -> Iterator[Run]:
    """Inference and training by each provider."""
    sizes = {name: value for name, value in layer._asdict().items() if name != "name"}
    for passes in (FORWARD, TRAINING):
        cost = cache(partial(counted, layer, unit, dtype, passes))
        for provider in providers(layer, unit, passes):
            labels = {"kind": "layer", "name": unit, "pass": passes, "place": f"{layer.name} {scene}", **sizes}
            labels |= {"dtype": str(dtype).removeprefix("torch."), "provider": provider}
            prepare = partial(_prepared, layer, unit, dtype, provider, passes)
            yield Run(labels, prepare, cost, CONTEXTS[provider], graphs=int(provider == "torch.compile"))


def counted(layer: shapes.Layer, unit: Unit, dtype: torch.dtype, passes: str) -> Cost:
    """Of the provider that moves least: in inference the whole layer where one op is."""
    provider = providers(layer, unit, passes)[-1] if passes == FORWARD else "triton update"

    def run(made: OneLayer) -> None:
        made.run(made.cell.step, passes)()

    with CONTEXTS[provider]():
        count = traffic.counted(lambda: OneLayer(layer, unit).to(dtype), run)
    return Cost(count.total.bytes, count.multiply_adds)


def _prepared(layer: shapes.Layer, unit: Unit, dtype: torch.dtype, provider: str, passes: str, device: str) -> Function:
    made = OneLayer(layer, unit).to(device, dtype)
    return made.run(_step(made, provider, passes), passes)


def _step(made: OneLayer, provider: str, passes: str) -> Callable[[Tensor, State], tuple[Tensor, State]]:
    if provider == "triton layer" and passes == TRAINING:
        return made.whole
    return compiled(made.cell.step) if provider == "torch.compile" else made.cell.step
