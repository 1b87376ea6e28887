"""`lit-rnncomp models`: the models that ship."""

from __future__ import annotations

import json as _json
from pathlib import Path
from typing import Any


def models(json: bool = False) -> None:
    """List the models that ship: architecture, size, and the area under their rate-distortion curves on Kodak.

    Areas are of files, headers included, from 1/8 to 2 bits per pixel: see README.md. Each model has a card beside its weights.

    Args:
        json: print the list as JSON.
    """
    from . import zoo

    rows = [describe(name, path) for name, path in zoo.shipped().items()]
    if json:
        print(_json.dumps(rows))
    elif not rows:
        print("no model ships with this version")
    else:
        _print(rows)


def describe(name: str, path: Path) -> dict[str, Any]:
    """What is known of the shipped model `name`; `kodak` is metric -> area, empty where no result ships with it."""
    from . import weights, zoo

    codec, entropy = weights.load(path), weights.load_entropy(path)
    results = path.parent / "results" / f"{name}.json"
    areas = _json.loads(results.read_text())["areas"].get(name, {}) if results.is_file() else {}
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

    table = Table(*("model", "parameters", "MB", "coder", "MS-SSIM", "PSNR", "HVS"))
    for row in rows:
        kodak = row["kodak"]
        # An area over its range, 1.875 bits per pixel, is the mean quality.
        means = (f"{kodak[metric] / 1.875:.2f}" if metric in kodak else "-" for metric in ("psnr", "psnr_hvs"))
        table.add_row(
            f"{row['name']}{' *' if row['default'] else ''}",
            f"{row['parameters']:,}",
            f"{row['bytes'] / 1e6:.2f}",
            "learned" if row["entropy_digest"] else "raw",
            f"{kodak['ms_ssim']:.4f}" if "ms_ssim" in kodak else "-",
            *means,
        )
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    table.caption = (
        "* is the default. On Kodak, files with headers, from 1/8 to 2 bits per pixel: area under MS-SSIM, mean PSNR and PSNR-HVS in dB."
    )
    console = Console()
    console.print(table)
    for row in rows:
        console.print(f"card: {row['card']}", highlight=False, soft_wrap=True)
