"""`lit-rnncomp models`: the models that ship."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import Any

from ..codec import zoo
from .metric_table import shown


def models(json: bool = False) -> None:
    """List the models that ship: architecture, size, and the area under their rate-distortion curves on Kodak.

    Areas are of files, headers included, from 1/8 to 2 bits per pixel: see README.md. Each model has a card beside its
    weights.

    Args:
        json: print the list as JSON.
    """
    rows = [describe(name, path) for name, path in zoo.shipped().items()]
    if json:
        print(dumps(rows))
    elif not rows:
        print("no model ships with this version")
    else:
        _print(rows)


def describe(name: str, path: Path) -> dict[str, Any]:
    """What is known of the shipped model `name`; `kodak` is metric -> area, empty where no result ships with it."""
    from ..codec import weights

    codec, entropy = weights.load(path), weights.load_entropy(path)
    results = path.parent / "results" / f"{name}.json"
    areas = loads(results.read_text())["areas"].get(name, {}) if results.is_file() else {}
    return {
        "name": name,
        "default": name == zoo.DEFAULT,
        "unit": codec.config.unit,
        "reconstruction": codec.config.reconstruction,
        "parameters": sum(parameter.numel() for parameter in codec.parameters()),
        "bytes": path.stat().st_size,
        "digest": weights.digest(codec).hex(),
        "entropy_digest": entropy.digest.hex() if entropy else None,
        "kodak": {metric: area["auc_file"] for metric, area in areas.items()},
        "card": str(path.with_suffix(".md")),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "weights", "MB", *(metric.head for metric in shown()))
    for row in rows:
        table.add_row(
            f"{row['name']}{' *' if row['default'] else ''}",
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['bytes'] / 1e6:.2f}",
            *(m.show(m.summarise(row["kodak"][m.name]) if m.name in row["kodak"] else None) for m in shown()),
        )
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    table.columns[0].justify = "left"
    table.caption = "* is the default. On Kodak, files with headers: areas and means from 1/8 to 2 bits per pixel."
    console = Console()
    console.print(table)
    for row in rows:
        console.print(f"card: {row['card']}", highlight=False, soft_wrap=True)
