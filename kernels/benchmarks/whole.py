"""Whole networks with each unit: a training step on a batch of patches, and the encoding of one picture.

A step is the loss of all iterations and its gradients, without the optimizer's part, in float32 and under autocast to
bfloat16. The graphs are of `GraphedLoss`, on CUDA alone. Noise of eager codes comes from the device's own generator, as
one would write it: the definition's, drawn by hand, would weigh more than the network's launches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import shapes
import torch
import traffic
from layers import EAGER
from timing import DTYPES, FORWARD, TRAINING, Cost, Function, Run
from torch import Tensor

from lit_rnncomp.models.config import Unit
from lit_rnncomp.training.loss import GraphedLoss, segment_losses


class Way(NamedTuple):
    """How a step or an encoding is run: by kernels or by eager PyTorch, that compiled; in training with deferred weight
    gradients, in one CUDA graph."""

    kernels: bool = True
    compiled: bool = False
    deferred: bool = False
    graph: bool = False


STEPS = {
    "eager": Way(kernels=False),
    "torch.compile": Way(kernels=False, compiled=True),
    "triton": Way(),
    "triton deferred": Way(deferred=True),
    "triton graph": Way(graph=True),
    "triton deferred graph": Way(deferred=True, graph=True),
}
ENCODES = {name: STEPS[name] for name in ("eager", "torch.compile", "triton")}


def steps(device: str) -> Iterator[Run]:
    """Training steps of every network and unit, in each type."""
    for network in shapes.NETWORKS:
        for unit in shapes.UNITS:
            for dtype in DTYPES:
                yield from _runs("step", network, unit, dtype, device)


def encodes(device: str) -> Iterator[Run]:
    """Encodings of one picture without gradients, by every network and unit, in float32 as the codec does."""
    for network in shapes.NETWORKS:
        for unit in shapes.UNITS:
            yield from _runs("encode", network, unit, torch.float32, device)


def _runs(kind: str, network: str, unit: Unit, dtype: torch.dtype, device: str) -> Iterator[Run]:
    scene, passes, ways = ("train", TRAINING, STEPS) if kind == "step" else ("picture", FORWARD, ENCODES)
    sizes = dict(zip(("batch", "height", "width"), shapes.SCENES[scene], strict=True))
    config = replace(shapes.NETWORKS[network], unit=unit)
    make, run = partial(traffic.Whole, config, scene), training_step if kind == "step" else encoding
    cost = cache(partial(counted, make, run, dtype))
    for provider, way in ways.items():
        if way.graph and device != "cuda":
            continue
        labels = {"kind": kind, "name": unit, "pass": passes, "place": f"{network} {scene}", **sizes}
        labels |= {"iterations": config.iterations, "dtype": str(dtype).removeprefix("torch."), "provider": provider}
        # encoder and decoder, without a state and with one
        graphs = (4 if config.iterations > 1 else 2) if way.compiled else 0
        context = {} if way.kernels else {"context": EAGER}
        yield Run(labels, partial(_prepared, make, run, way, dtype), cost, **context, graphs=graphs, captures=way.graph)


def counted(make: Any, run: Any, dtype: torch.dtype) -> Cost:
    """Of the kernels, in training with deferred gradients."""
    count = traffic.counted(make, lambda made: run(made, STEPS["triton deferred"], dtype)())
    return Cost(count.total.bytes, count.multiply_adds)


def _prepared(make: Any, run: Any, way: Way, dtype: torch.dtype, device: str) -> Function:
    return run(make().to(device), way, dtype)


def training_step(whole: traffic.Whole, way: Way, dtype: torch.dtype) -> Function:
    """Returns the loss; gradients are left where an optimizer finds them."""
    codec, image = whole.codec.train(), whole.image
    iterations, kind = codec.config.iterations, image.device.type
    codec.defer_gradients = way.deferred
    if not way.kernels and codec.binarizer.stochastic:
        codec.binarizer.forward = traffic.noisy_sign  # type: ignore[method-assign]
    if way.compiled:
        codec.compile_networks(fullgraph=True)
    graphed = GraphedLoss(codec, 0.0) if way.graph else None

    def step() -> Tensor:
        codec.zero_grad(set_to_none=True)
        with torch.autocast(kind, torch.bfloat16, enabled=dtype == torch.bfloat16):
            if graphed:
                part = graphed(image, iterations)
            else:
                (part,) = segment_losses(codec, image, iterations, None, 0.0)
        part.loss.backward()
        return part.loss.detach()

    return step


def encoding(whole: traffic.Whole, way: Way, dtype: torch.dtype) -> Function:
    """Returns the codes of all iterations; nothing else of one is kept when the next begins."""
    codec = whole.codec.eval()
    if way.compiled:
        for network in (codec.encoder, codec.decoder):
            network.compile(fullgraph=True, dynamic=False)
    return torch.no_grad()(lambda: [step.codes for step in codec.encode(whole.image)])
