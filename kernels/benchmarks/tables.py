"""The static part as tables: what ops and iterations move, and the registers of kernels."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import shapes
import static
import traffic
from rich.table import Table


def traffic_table(op_names: Collection[str]) -> Table:
    """Forward and backward of each op, per layer's largest shape, in units of its state."""
    table = Table(
        title="One training pass of an op: megabytes and launches (float32, layer D4 of the paper at batch 32)"
    )
    for heading in (
        "op",
        "eager MB",
        "eager launches",
        "fused MB",
        "fused launches",
        "floor MB",
        "fused / eager",
        "fused / floor",
    ):
        table.add_column(heading, justify="left" if heading == "op" else "right", no_wrap=heading == "op")
    shape = static.table_shape()
    for op in traffic.OPS:
        if op.name in op_names:
            plain, ours, least = traffic.eager(op, shape), traffic.fused(op, shape), traffic.floor(op, shape)
            megabytes = (f"{n / 1e6:.1f}" for n in (plain.bytes, ours.bytes, least))
            a, b, c = megabytes
            ratios = f"{ours.bytes / plain.bytes:.2f}", f"{ours.bytes / least:.2f}"
            table.add_row(op.name, a, str(plain.launches), b, str(ours.launches), c, *ratios)
    return table


def iteration_table() -> Table:
    """One further training iteration of each network and unit, convolutions and all."""
    table = Table(title="One further training iteration, forward and backward, batch 32 of 32x32 (float32)")
    for heading in ("network", "unit", "eager MB", "launches", "fused MB", "launches", "multiply-adds (10^9)"):
        table.add_column(heading, justify="left" if heading in ("network", "unit") else "right")
    for network in shapes.NETWORKS:
        for unit in shapes.UNITS:
            plain, ours = (traffic.iteration(network, unit, kernels) for kernels in (False, True))
            cells = [(f"{t.bytes / 1e6:.1f}", str(t.launches)) for t in (plain.total, ours.total)]
            table.add_row(network, unit, *cells[0], *cells[1], f"{ours.multiply_adds / 1e9:.2f}")
    return table


def kernel_table(kernels: dict[str, Any]) -> Table:
    """Registers, and spilled bytes where there are any, of every kernel on each target."""
    table = Table(title="Registers (+ bytes spilled) a thread")
    table.add_column("kernel")
    for target in static.TARGETS:
        table.add_column(target, justify="right")
    for name in kernels[static.TARGETS[0]]:
        found = [kernels[target][name] for target in static.TARGETS]
        table.add_row(name, *(f"{f['registers']}" + (f" + {f['local']}" if f["local"] else "") for f in found))
    return table
