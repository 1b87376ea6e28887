"""The ops alone: every op at every distinct shape it meets in the networks, in each type."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache, partial

import shapes
import torch
import traffic
from timing import DTYPES, FORWARD, TRAINING, Cost, Function, Run, compiled
from torch import Tensor

PROVIDERS = ("eager", "torch.compile", "triton")


def cases() -> Iterator[tuple[traffic.Op, str, traffic.Shape]]:
    """The op, the layer's name, `(B, C, H, W)` of its state."""
    seen = set()
    for network in shapes.NETWORKS:
        for scene in shapes.SCENES:
            rows = [
                (layer.name, (layer.batch, layer.channels, layer.height, layer.width))
                for layer in shapes.layers(network, scene)
            ]
            for op in traffic.OPS:
                if op.name == "binarize":
                    places = [(f"{network} codes", shapes.code_shape(network, scene))]
                elif op.name == "ternarize":  # a code for each coefficient
                    places = [("ternary codes", shapes.target_shape("dct", scene))]
                elif op.name == "associative_lstm_update":  # K complex units make 2K channels
                    places = [(name, (b, c // 2, h, w)) for name, (b, c, h, w) in rows]
                else:
                    places = rows
                for name, shape in places:
                    if (op.name, shape) not in seen:
                        seen.add((op.name, shape))
                        yield op, f"{name} {scene}", shape


def runs(names: Collection[str]) -> Iterator[Run]:
    """Of the ops of these names."""
    for op, place, shape in cases():
        if op.name in names:
            for dtype in DTYPES:
                yield from of_case(op, place, shape, dtype)


def of_case(op: traffic.Op, place: str, shape: traffic.Shape, dtype: torch.dtype) -> Iterator[Run]:
    """Inference and training by each provider. Bytes are those that the kernels move."""
    sizes = dict(zip(("batch", "channels", "height", "width"), shape, strict=True))
    for passes, count in ((FORWARD, traffic.fused_inference), (TRAINING, traffic.fused)):
        cost = cache(lambda count=count: Cost(count(op, shape, dtype).bytes, 0))
        for provider in PROVIDERS:
            labels = {"kind": "op", "name": op.name, "pass": passes, "place": place, **sizes}
            labels |= {"dtype": str(dtype).removeprefix("torch."), "provider": provider}
            prepare = partial(_prepared, op, shape, dtype, provider, passes)
            yield Run(labels, prepare, cost, graphs=int(provider == "torch.compile"))


def _prepared(
    op: traffic.Op, shape: traffic.Shape, dtype: torch.dtype, provider: str, passes: str, device: str
) -> Function:
    batch, channels, height, width = shape
    torch.manual_seed(0)
    inputs = [
        torch.randn(batch, k * channels, height, width, dtype=dtype, device=device, requires_grad=True)
        for k in op.inputs
    ]
    function = traffic.kernel_of(op) if provider == "triton" else op.definition
    function = compiled(function) if provider == "torch.compile" else function

    def forward() -> list[Tensor]:
        result = function(*inputs)
        return [result] if isinstance(result, Tensor) else list(result)

    if passes == FORWARD:
        return torch.no_grad()(forward)
    weights = [torch.ones_like(x) for x in forward()]
    return lambda: torch.autograd.grad(forward(), inputs, weights)
