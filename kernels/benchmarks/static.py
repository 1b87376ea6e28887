"""What can be said of the kernels without a GPU, as one JSON object, and what got worse since an older one.

`ops`: bytes and launches of each op, in inference and in training (float32, layer D4 of the paper at batch 32).
`iterations`: device launches, bytes and multiply-adds of one further training iteration of each network and unit.
`kernels`: registers and spilled bytes a thread, of the committed table that `tests/kernels/test_compile_only.py` holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shapes
import traffic

LANDED = Path(__file__).with_name("static.json")
REGISTERS = Path(__file__).resolve().parents[2] / "tests" / "kernels" / "registers.json"
TARGETS = ("sm_80", "sm_90", "sm_120")


def table_shape() -> traffic.Shape:
    """The state of layer D4 of the paper in training, where the README's table is made."""
    layer = shapes.layers("paper", "train")[-1]
    return layer.batch, layer.channels, layer.height, layer.width


def measure() -> dict[str, Any]:
    """All three parts, ready for JSON."""
    shape = table_shape()
    ops = {
        op.name: {
            "inference": traffic.fused_inference(op, shape)._asdict(),
            "training": traffic.fused(op, shape)._asdict(),
        }
        for op in traffic.OPS
    }
    iterations = {}
    for network in shapes.NETWORKS:
        for unit in shapes.UNITS:
            count = traffic.iteration(network, unit, kernels=True)
            iterations[f"{network} {unit}"] = {**count.total._asdict(), "multiply_adds": count.multiply_adds}
    table = json.loads(REGISTERS.read_text())
    kernels = {
        target: {name: {key: found[key] for key in ("registers", "local")} for name, found in table[target].items()}
        for target in TARGETS
    }
    return {"ops": ops, "iterations": iterations, "kernels": kernels}


def worse(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """A line for each number of `old` that is larger in `new`, or gone from it."""
    if isinstance(old, dict):
        for key, value in old.items():
            path = f"{name}, {key}" if name else key
            if key in new:
                yield from worse(value, new[key], path)
            else:
                yield f"{path}: no longer there"
    elif new > old:
        yield f"{name}: {old} before, {new} now"
