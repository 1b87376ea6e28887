"""The verbs of a person who only compresses pictures. Heavy imports wait until a verb runs."""

import json as _json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .api import Codec
    from .container import Header


def encode(
    photo: str,
    file: str,
    model: str | None = None,
    bpp: float | None = None,
    bytes: int | None = None,
    psnr: float | None = None,
    iterations: int | None = None,
    coder: Literal["auto", "raw", "rnn"] = "auto",
    device: str = "cpu",
    force: bool = False,
    json: bool = False,
) -> None:
    """Compress a picture to an .rnnc file. At most one of --bpp, --bytes, --psnr and --iterations; without one, all
    iterations.

    Args:
        photo: the picture: PNG, JPEG, WebP, TIFF or anything else that Pillow reads.
        file: the .rnnc file to write, or - for standard output.
        model: a checkpoint (.ckpt), a weights file (.safetensors) or the name of a shipped model.
        bpp: at most this many bits per pixel, headers included.
        bytes: at most this many bytes.
        psnr: stop when the decoded picture reaches this many dB.
        iterations: stop after this many iterations.
        coder: rnn is the learned entropy coder, raw writes plain bits, auto takes the better one that the model has.
        device: where the network runs: cpu, cuda, cuda:1, ...
        force: (-f) replace FILE if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, write_bytes
    from ..images import read_image
    from .container import parse

    output = Output(file, photo, model, force=force, ending=".rnnc")
    codec = _load(model, device)
    image = read_image(photo)
    data = codec.encode(image, bpp, bytes, psnr, iterations, coder)
    write_bytes(output, data)
    source, pixels = Path(photo).stat().st_size, image.width * image.height
    _report(
        json,
        output.messages,
        f"{photo}: {image.width}x{image.height}, {source:,} bytes -> {file}: {len(data):,} bytes, "
        f"{8 * len(data) / pixels:.3f} bpp, "
        f"{source / len(data):.1f} times smaller, {3 * pixels / len(data):.0f}:1 against raw RGB",
        photo=photo,
        file=file,
        width=image.width,
        height=image.height,
        source_bytes=source,
        bytes=len(data),
        bpp=8 * len(data) / pixels,
        iterations=len(parse(data)[2]),
        model=codec.name,
    )


def decode(
    file: str,
    picture: str,
    model: str | None = None,
    iterations: int | None = None,
    partial: bool = False,
    exact: bool = False,
    device: str = "cpu",
    force: bool = False,
    json: bool = False,
) -> None:
    """Turn an .rnnc file back into a picture.

    Args:
        file: the .rnnc file.
        picture: the picture to write; its ending says the format, one that Pillow writes (.png, .jpg, .webp, .tif).
        model: the model that the file was made with; not needed when that is a shipped one.
        iterations: use only the first of the file's iterations.
        partial: decode the intact beginning of a damaged or cut file.
        exact: compute in float64, several times slower: the same picture on every processor, to the last pixel.
        device: where the network runs: cpu, cuda, cuda:1, ...
        force: (-f) replace PICTURE if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, picture_format, replacing

    data = _read(file)
    kind, output = picture_format(picture), Output(picture, file, model, force=force)
    try:
        image = _load(model, device, data).decode(data, iterations, partial, exact)
    except ValueError as error:
        raise ValueError(f"cannot decode {file}: {error}") from error
    with replacing(output) as temporary:
        image.save(temporary, kind)
        size = temporary.stat().st_size
    _report(
        json,
        output.messages,
        f"{file}: {len(data):,} bytes -> {picture}: {image.width}x{image.height}, {size:,} bytes",
        file=file,
        picture=picture,
        width=image.width,
        height=image.height,
        bytes=len(data),
        bpp=8 * len(data) / (image.width * image.height),
    )


def info(file: str, json: bool = False) -> None:
    """Say what an .rnnc file holds: picture, model, and each iteration's bytes.

    Args:
        file: the .rnnc file.
        json: print the result as JSON.
    """
    from .container import CODERS, BitstreamError, chunk_size, parse

    data = _read(file)
    try:
        header, head, chunks = parse(data, partial=True)
    except BitstreamError as error:
        raise ValueError(f"cannot read {file}: {error}") from error
    pixels = header.width * header.height
    sizes = [chunk_size(len(chunk.payload)) for chunk in chunks]
    damaged = len(data) - len(head) - sum(sizes)
    raw_chunk = -(-header.grid[0] * header.grid[1] * header.bits // 8)
    values: dict[str, Any] = {
        "file": file,
        "width": header.width,
        "height": header.height,
        "bytes": len(data),
        "bpp": 8 * len(data) / pixels,
        "coder": CODERS[header.coder],
        "unit": _name(header),
        "network_width": header.width_thousandths / 1000,
        "model": header.model_digest.hex(),
        "entropy_model": header.entropy_digest.hex() or None,
        "header_bytes": len(head),
        "damaged_bytes": damaged,
        "chunks": [
            {
                "iteration": t,
                "bytes": size,
                "raw": chunk.raw or not header.coder,
                "of_raw_bits": len(chunk.payload) / raw_chunk,
            }
            for t, (chunk, size) in enumerate(zip(chunks, sizes, strict=True), 1)
        ],
    }
    if json:
        print(_json.dumps(values))
        return
    _print_info(values)
    if damaged:
        print(f"warning: the last {damaged} bytes are damaged or cut; the iterations above are intact", file=sys.stderr)


def truncate(
    file: str,
    out: str,
    bpp: float | None = None,
    bytes: int | None = None,
    iterations: int | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Cut an .rnnc file to a lower rate. Nothing is decoded or encoded; give one of --bpp, --bytes and --iterations.

    Args:
        file: the .rnnc file.
        out: the smaller .rnnc file to write, or - for standard output; with --force it may be FILE itself.
        bpp: at most this many bits per pixel, headers included.
        bytes: at most this many bytes.
        iterations: keep this many iterations.
        force: (-f) replace OUT if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, write_bytes
    from .container import BitstreamError, cut

    data = _read(file)
    output = Output(out, force=force)
    try:
        header, shorter, kept = cut(data, bpp=bpp, max_bytes=bytes, iterations=iterations)
    except BitstreamError as error:
        raise ValueError(f"cannot truncate {file}: {error}") from error
    write_bytes(output, shorter)
    rate = 8 * len(shorter) / (header.width * header.height)
    _report(
        json,
        output.messages,
        f"{file}: {len(data):,} bytes -> {out}: {len(shorter):,} bytes, {rate:.3f} bpp, {kept} iterations",
        file=file,
        out=out,
        bytes=len(shorter),
        bpp=rate,
        iterations=kept,
    )


def export(checkpoint: str, file: str, entropy: str | None = None, half: bool = False, force: bool = False) -> None:
    """Write a checkpoint's codec as safetensors: weights and configuration only, safe to share.

    Args:
        checkpoint: a Lightning checkpoint (.ckpt) or weights file.
        file: the .safetensors file to write.
        entropy: the entropy model trained on this codec's codes (.safetensors).
        half: store the weights in 16 bits.
        force: (-f) replace FILE if it exists.
    """
    from ..files import Output
    from . import weights
    from .api import load

    if Path(file).suffix != ".safetensors":
        raise ValueError(f"cannot write {file}: the name must end in .safetensors")
    output = Output(file, checkpoint, entropy, force=force)
    coder = weights.load_entropy(checkpoint) if entropy is None else weights.load_entropy_model(entropy)
    weights.save(output, weights.load(checkpoint), coder, half)
    codec = load(file)
    print(
        f"{checkpoint} -> {file}: {Path(file).stat().st_size:,} bytes, model {codec.digest.hex()}, "
        f"entropy model {codec.entropy.digest.hex() if codec.entropy else 'none'}"
    )


def _load(model: str | None, device: str, data: bytes | None = None) -> "Codec":
    from .api import load, load_for

    if model is None and data is not None:
        return load_for(data, device)
    return load(model, device)


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error


def _name(header: "Header") -> str:
    from ..models.config import RECONSTRUCTIONS, UNITS

    unit = UNITS[header.unit] if header.unit < len(UNITS) else f"unit {header.unit}"
    known = header.reconstruction < len(RECONSTRUCTIONS)
    return f"{unit} {RECONSTRUCTIONS[header.reconstruction] if known else f'framework {header.reconstruction}'}"


def _print_info(values: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{values['file']}: {values['width']}x{values['height']} pixels, {values['bytes']:,} bytes, "
        f"{values['bpp']:.3f} bpp\n"
        f"model {values['model']} ({values['unit']}, width {values['network_width']:g}), coder {values['coder']}"
        + (f", entropy model {values['entropy_model']}" if values["entropy_model"] else ""),
        highlight=False,
        soft_wrap=True,
    )
    table = Table("iteration", "bytes", "of raw bits", "bytes so far", "bpp so far")
    total = values["header_bytes"]
    for chunk in values["chunks"]:
        total += chunk["bytes"]
        rate = 8 * total / (values["width"] * values["height"])
        table.add_row(
            str(chunk["iteration"]), f"{chunk['bytes']:,}", f"{chunk['of_raw_bits']:.1%}", f"{total:,}", f"{rate:.3f}"
        )
    console.print(table)


def _report(as_json: bool, stream: IO[str], text: str, **values: Any) -> None:
    print(_json.dumps(values) if as_json else text, file=stream)
