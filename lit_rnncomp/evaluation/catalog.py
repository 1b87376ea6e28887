"""`lit-rnncomp models`: the models that ship."""

from __future__ import annotations

from json import dumps, loads
from pathlib import Path
from typing import Any

from ..codec import zoo
from ..models.lapped import TUNES
from .metric_table import shown

DEFAULT_TUNE = "visual"


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
    """What is known of the shipped model `name`.

    `kodak` is metric -> area, empty where no result ships with it; of a model of ternary codes also by tune, under
    `tunes`.
    """
    from ..codec import ternary_weights, weights
    from ..models.numpy_codec import NumpyCodec

    results = path.parent / "results" / f"{name}.json"
    areas = loads(results.read_text())["areas"] if results.is_file() else {}
    measured = {model: {metric: area["auc_file"] for metric, area in found.items()} for model, found in areas.items()}
    known = {
        "name": name,
        "default": name == zoo.DEFAULT,
        "bytes": path.stat().st_size,
        "card": str(path.with_suffix(".md")),
    }
    if (ternary := ternary_weights.load(path)) is not None:
        tunes = {tune: measured.get(f"{name}-{tune}", {}) for tune in TUNES}
        return {
            **known,
            "codes": "ternary",
            "parameters": sum(tensor.size for tensor in ternary.tensors.values()),
            "digest": ternary_weights.digest(ternary.tensors).hex(),
            "kodak": tunes[DEFAULT_TUNE],
            "tunes": tunes,
        }
    codec, entropy = weights.load_numpy(path) or weights.load(path), weights.load_entropy(path)
    return {
        **known,
        "codes": "binary",
        "unit": codec.config.unit,
        "reconstruction": codec.config.reconstruction,
        "parameters": codec.parameters
        if isinstance(codec, NumpyCodec)
        else sum(parameter.numel() for parameter in codec.parameters()),
        "digest": weights.digest(codec).hex(),
        "entropy_digest": entropy.digest.hex() if entropy else None,
        "kodak": measured.get(name, {}),
    }


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "weights", "MB", *(metric.head for metric in shown()))
    for row in rows:
        for tune, kodak in row.get("tunes", {"": row["kodak"]}).items():
            table.add_row(
                f"{row['name']}{tune and '@'}{tune}{' *' if row['default'] and kodak is row['kodak'] else ''}",
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['bytes'] / 1e6:.2f}",
                *(m.show(m.summarise(kodak[m.name]) if m.name in kodak else None) for m in shown()),
            )
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    table.columns[0].justify = "left"
    table.caption = "* is the default. On Kodak, files with headers: areas and means from 1/8 to 2 bits per pixel."
    console = Console(markup=False, emoji=False)
    console.print(table)
    for row in rows:
        console.print(f"card: {row['card']}", highlight=False, soft_wrap=True)
