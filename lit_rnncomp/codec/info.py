"""`lit-rnncomp info`: what an .rnnc file holds, and where its bits went."""

import json as _json
import sys
from typing import Any


def info(file: str, map: str | None = None, model: str | None = None, force: bool = False, json: bool = False) -> None:
    """Say what an .rnnc file holds: picture, model, and each iteration's bytes.

    Args:
        file: the .rnnc file.
        map: write a picture of where its bits went (ternary codes only); dark blocks cost little.
        model: for --map: the model that the file was made with; not needed when that is a shipped one.
        force: (-f) replace MAP if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, read_input
    from ..picture_formats import picture_format, write_picture
    from .container import BitstreamError, parse

    output = None if map is None else (picture_format(map), Output(map, file, model, force=force))
    data = read_input(file)
    try:
        values = _describe(file, data, parse(data, partial=True))
    except BitstreamError as error:
        raise ValueError(f"cannot read {file}: {error}") from error
    if output is not None:
        write_picture(output[1], _map(data, model), output[0])
    if json:
        print(_json.dumps(values))
        return
    _print(values)
    if values["damaged_bytes"]:
        text = f"the last {values['damaged_bytes']} bytes are damaged or cut; the iterations above are intact"
        print(f"warning: {text}", file=sys.stderr)


def _describe(file: str, data: bytes, parsed: Any) -> dict[str, Any]:
    from ..models.lapped import TUNES
    from .container import CODERS, CUT, PLAIN, Ternary

    header, layout = parsed.header, parsed.header.layout
    values: dict[str, Any] = {
        "file": file,
        "width": header.width,
        "height": header.height,
        "grey": header.grey,
        "bytes": len(data),
        "bpp": 8 * len(data) / header.pixels,
        "coder": CODERS[header.coder],
        "model": header.model_digest.hex(),
    }
    if isinstance(layout, Ternary):
        values["tune"] = TUNES[layout.tune] if layout.tune < len(TUNES) else layout.tune
        values["scale"] = layout.scale
        first = layout.first + 1
    else:
        values |= {"unit": _unit(layout), "network_width": layout.width_thousandths / 1000}
        values["entropy_model"] = layout.entropy_digest.hex() or None
        first = 1
    iterations = parsed.iterations
    other = sum(chunk.size for chunk in parsed.chunks if not chunk.codes)
    values["header_bytes"] = len(parsed.head) + other
    values["damaged_bytes"] = len(data) - len(parsed.head) - sum(chunk.size for chunk in parsed.chunks)
    values["chunks"] = [
        {"iteration": t, "bytes": chunk.size, "raw": chunk.kind == PLAIN or not header.coder, "cut": chunk.kind == CUT}
        for t, chunk in enumerate(iterations, first)
    ]
    return values


def _unit(layout: Any) -> str:
    from ..models.config import RECONSTRUCTIONS, UNITS

    unit = UNITS[layout.unit] if layout.unit < len(UNITS) else f"unit {layout.unit}"
    known = layout.reconstruction < len(RECONSTRUCTIONS)
    return f"{unit} {RECONSTRUCTIONS[layout.reconstruction] if known else f'framework {layout.reconstruction}'}"


def _map(data: bytes, model: str | None) -> Any:
    """Bits of each block as a picture of the file's size, brighter for more."""
    from PIL import Image

    from .api import load, load_for
    from .container import parse_header
    from .heat import heat
    from .ternary_codec import TernaryCodec

    codec = load_for(data) if model is None else load(model)
    if not isinstance(codec, TernaryCodec):
        raise ValueError(f"the model {codec.name} spends the same bits everywhere: there is no map to draw")
    header, _ = parse_header(data)
    return Image.fromarray(heat(codec.spent(data, partial=True), header.width, header.height))


def _print(values: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    kind = f"tune {values['tune']}" if "tune" in values else f"{values['unit']}, width {values['network_width']:g}"
    entropy = f", entropy model {values['entropy_model']}" if values.get("entropy_model") else ""
    console = Console(markup=False, emoji=False)
    console.print(
        f"{values['file']}: {values['width']}x{values['height']} {'grey ' if values['grey'] else ''}pixels, "
        f"{values['bytes']:,} bytes, {values['bpp']:.3f} bpp\n"
        f"model {values['model']} ({kind}), coder {values['coder']}{entropy}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("iteration", "bytes", "bytes so far", "bpp so far")
    total = values["header_bytes"]
    for chunk in values["chunks"]:
        total += chunk["bytes"]
        rate = 8 * total / (values["width"] * values["height"])
        name = f"{chunk['iteration']}{' (a part)' if chunk['cut'] else ''}{' (plain)' if chunk['raw'] else ''}"
        table.add_row(name, f"{chunk['bytes']:,}", f"{total:,}", f"{rate:.3f}")
    console.print(table)
