"""The picture of a CSV: of each op its share of the roofline, of layers what one op for all gains, of whole networks
their times beside eager PyTorch's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import ops
import timing
import whole

WHOLE = ("step", "encode")
Row = dict[str, str]


def plot(path: Path, suffix: str = ".svg") -> Path:
    """Draw the CSV at `path` beside it; returns the picture's path. Raises `ValueError` where it has no times."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with path.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r.get("kind") and r["median_ms"]]
    of_ops = [r for r in rows if r["kind"] == "op" and r["pass"] == timing.TRAINING]
    names = sorted({r["name"] for r in of_ops})
    fused = _pairs([r for r in rows if r["kind"] == "layer" and r["pass"] == timing.FORWARD])
    kinds = [kind for kind in WHOLE if any(r["kind"] == kind for r in rows)]
    bands = bool(names) + bool(fused) + len(kinds)
    if not bands:
        raise ValueError(f"{path} has no times that a picture shows, as --csv writes them")
    figure = plt.figure(figsize=(max(4 * len(names), 12), 3.5 * bands), layout="constrained")
    parts = list(figure.subfigures(bands, 1, squeeze=False)[:, 0])
    if names:
        axes = parts.pop(0).subplots(1, len(names), squeeze=False, sharey=True)[0]
        for axis, name in zip(axes, names, strict=True):
            _roofline(axis, name, [r for r in of_ops if r["name"] == name])
        axes[0].set_ylabel("share of the roofline")
        axes[-1].legend(fontsize="x-small")
    if fused:
        _whole_layers(parts.pop(0).subplots(), fused)
    for part, kind in zip(parts, kinds, strict=True):
        _beside_eager(part.subplots(), kind, [r for r in rows if r["kind"] == kind])
    target = path.with_suffix(suffix)
    figure.savefig(target)
    plt.close(figure)
    return target


def _roofline(axis: Any, name: str, rows: list[Row]) -> None:
    for provider in ops.PROVIDERS:
        for dtype, style in (("float32", "-o"), ("bfloat16", "--s")):
            points = sorted(
                (int(r["bytes"]), float(r["share_of_roofline"]))
                for r in rows
                if (r["provider"], r["dtype"]) == (provider, dtype)
            )
            if points:
                axis.plot(*zip(*points, strict=True), style, label=f"{provider} {dtype}")
    axis.set(title=name, xscale="log", xlabel="bytes the kernels move")


def _pairs(rows: list[Row]) -> list[tuple[Row, float]]:
    """Layers timed both as one op and as convolutions and an update, and the first time over the second."""
    times = {timing.key(r): float(r["median_ms"]) for r in rows}
    return [
        (r, times[timing.key(r)] / times[key])
        for r in rows
        if r["provider"] == "triton layer" and (key := timing.key(r | {"provider": "triton update"})) in times
    ]


def _whole_layers(axis: Any, fused: list[tuple[Row, float]]) -> None:
    """What `FUSED_CHANNELS` should be: below 1 a layer gains by being one op."""
    for i, kernels in enumerate(sorted({(r["kernel"], r["hidden_kernel"]) for r, _ in fused})):
        for dtype, marker in (("float32", "o"), ("bfloat16", "x")):
            points = [
                (int(r["channels"]), ratio)
                for r, ratio in fused
                if (r["kernel"], r["hidden_kernel"], r["dtype"]) == (*kernels, dtype)
            ]
            if points:
                label = "{0}x{0} with {1}x{1} on the state, ".format(*kernels) + dtype
                axis.plot(*zip(*points, strict=True), marker, color=f"C{i}", label=label)
    axis.axhline(1, color="grey", linewidth=0.5)
    axis.set(title="layers in inference", xscale="log", xlabel="channels", ylabel="one op over convolutions and update")
    channels = sorted({int(r["channels"]) for r, _ in fused})
    axis.set_xticks(channels, [str(n) for n in channels])
    axis.minorticks_off()
    axis.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))


def _beside_eager(axis: Any, kind: str, rows: list[Row]) -> None:
    """A group of bars a case: a provider's time over eager's, of those cases that eager has."""
    times: dict[tuple[str, ...], dict[str, float]] = {}
    for r in rows:
        times.setdefault((r["place"].split()[0], r["name"], r["dtype"]), {})[r["provider"]] = float(r["median_ms"])
    times = {case: found for case, found in times.items() if "eager" in found}
    providers = list(whole.STEPS if kind == "step" else whole.ENCODES)
    width = 0.8 / len(providers)
    for i, provider in enumerate(providers):
        bars = [(n, found[provider] / found["eager"]) for n, found in enumerate(times.values()) if provider in found]
        places = [n + (i - (len(providers) - 1) / 2) * width for n, _ in bars]
        axis.bar(places, [ratio for _, ratio in bars], width, label=provider)
    axis.axhline(1, color="grey", linewidth=0.5)
    axis.set_xticks(range(len(times)), ["\n".join(case) for case in times], fontsize="x-small")
    title = {"step": "one training step", "encode": "encoding one picture"}[kind]
    axis.set(title=title, ylabel="time over eager's")
    axis.margins(x=0.01)
    axis.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
