"""The verbs of a person who only compresses pictures. Heavy imports wait until a verb runs."""

import inspect
import json as _json
import re
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .api import Codec


def encode(
    photo: str,
    file: str,
    model: str | None = None,
    quality: int | None = None,
    bpp: float | None = None,
    bytes: int | str | None = None,
    psnr: float | None = None,
    ms_ssim: float | None = None,
    iterations: int | None = None,
    tune: Literal["visual", "psnr"] | None = None,
    focus: str | None = None,
    keep: str = "icc",
    coder: Literal["auto", "raw", "rnn"] | None = None,
    exact: bool = False,
    device: str = "cpu",
    force: bool = False,
    json: bool = False,
) -> None:
    """Compress a picture to an .rnnc file.

    At most one of --quality, --bpp, --bytes, --psnr, --ms-ssim and --iterations; --quality 75 without one.

    Args:
        photo: the picture: PNG, JPEG, WebP, TIFF or anything else that Pillow reads; transparency is laid over white.
        file: the .rnnc file to write, or - for standard output.
        model: a checkpoint (.ckpt), a weights file (.safetensors) or the name of a shipped model.
        quality: (-q) 1 to 100, as in JPEG: the PSNR-HVS that libjpeg has at this quality, on average.
        bpp: at most this many bits per pixel, headers included, and nearly always at least 98 % of them.
        bytes: at most this many bytes: 20000, 20KB, 1.5MB (of 1000 and 1000 KB), 20KiB (of 1024).
        psnr: the decoded picture reaches this many dB.
        ms_ssim: the decoded picture reaches this MS-SSIM; from 1 on in dB, -10 log10(1 - MS-SSIM).
        iterations: stop after this many iterations.
        tune: visual (the default) weighs coefficients by how well an eye sees them, psnr for the least error.
        focus: a mask of the picture's size: white regions are coded finer than black ones.
        keep: what else of the picture's file goes into the new one, separated by commas: icc (a colour profile other
            than sRGB), exif, xmp, alpha (how opaque pixels are, without loss; else transparency is laid over white);
            or none.
        coder: of binary codes: rnn is the learned entropy coder, raw writes plain bits, auto takes the better one.
        exact: of binary codes: compute in float64, several times slower: the same bytes on every processor.
        device: where the network runs: cpu, cuda, cuda:1, ... (binary codes only).
        force: (-f) replace FILE if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, write_bytes
    from ..images import read_image, read_photograph
    from .container import parse
    from .metadata import alpha_entry

    kept, budget = _kept(keep), _size(bytes)
    _check_targets(quality=quality, bpp=bpp, bytes=bytes, psnr=psnr, ms_ssim=ms_ssim, iterations=iterations)
    output = Output(file, photo, model, focus, force=force, ending=".rnnc")
    codec = _load(model, device)
    photograph = read_photograph(photo)
    holds_metadata = "metadata" in inspect.signature(codec.encode).parameters
    entries = {name: photograph.metadata[name] for name in kept if name in photograph.metadata}
    if "alpha" in kept and photograph.alpha is not None and holds_metadata:
        image, entries["alpha"] = photograph.beside_alpha(), alpha_entry(photograph.alpha)
    else:
        image = photograph.over_white()
    if "laid_over" in image.info:
        print(f"note: {photo}: transparency is laid over {image.info['laid_over']}", file=sys.stderr)
    mask = None if focus is None else read_image(focus)
    options: dict[str, Any] = {"quality": quality, "bpp": bpp, "max_bytes": budget, "psnr": psnr, "ms_ssim": ms_ssim}
    options |= {"iterations": iterations, "tune": tune, "focus": mask, "coder": coder, "exact": exact or None}
    given = {name: value for name, value in options.items() if value is not None}
    _check_options(codec, given)
    if holds_metadata:
        given["metadata"] = entries
    elif entries:
        lost = " and ".join(name.removesuffix("_profile") for name in entries)
        print(f"note: {photo}: files of the model {codec.name} hold no metadata: {lost} left out", file=sys.stderr)
    data = codec.encode(image, **given)
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
        iterations=len(parse(data).iterations),
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
        picture: the picture to write; its ending says the format, one that Pillow writes (.png, .jpg, .webp, .tif). A
            note says so when the format is lossy; JPEG is written at quality 95 without chroma subsampling.
        model: the model that the file was made with; not needed when that is a shipped one.
        iterations: use only the first of the file's iterations.
        partial: decode the intact beginning of a damaged or cut file.
        exact: compute in float64, several times slower: the same picture on every processor, to the last pixel.
        device: where the network runs: cpu, cuda, cuda:1, ...
        force: (-f) replace PICTURE if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, picture_format, read_input
    from .saving import save

    data = read_input(file)
    kind, output = picture_format(picture), Output(picture, file, model, force=force)
    try:
        image = _load(model, device, data).decode(data, iterations, partial, exact)
    except ValueError as error:
        raise ValueError(f"cannot decode {file}: {error}") from error
    size, notes = save(image, output, kind)
    for note in notes:
        print(f"note: {picture}: {note}", file=sys.stderr)
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


def truncate(
    file: str,
    out: str,
    model: str | None = None,
    bpp: float | None = None,
    bytes: int | str | None = None,
    iterations: int | None = None,
    force: bool = False,
    json: bool = False,
) -> None:
    """Cut an .rnnc file to a lower rate, without the picture; give one of --bpp, --bytes and --iterations.

    Args:
        file: the .rnnc file.
        out: the smaller .rnnc file to write, or - for standard output; with --force it may be FILE itself.
        model: the model that the file was made with; without it, a file of another model is cut after an iteration.
        bpp: at most this many bits per pixel, headers included.
        bytes: at most this many bytes: 20000, 20KB, 1.5MB (of 1000 and 1000 KB), 20KiB (of 1024).
        iterations: keep this many iterations.
        force: (-f) replace OUT if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, read_input, write_bytes
    from .api import truncate as shorten
    from .container import BitstreamError, parse

    budget = _size(bytes)
    if sum(limit is not None for limit in (bpp, bytes, iterations)) != 1:
        raise ValueError("give exactly one of --bpp, --bytes and --iterations")
    data = read_input(file)
    output = Output(out, force=force)
    try:
        shorter = shorten(data, model, bpp=bpp, max_bytes=budget, iterations=iterations)
        kept = parse(shorter)
    except BitstreamError as error:
        # What is intact can be kept by its number alone.
        advice = re.sub(
            r"the first (\d+) iterations are intact \(.*\)", r"--iterations \1 keeps what is intact", str(error)
        )
        raise ValueError(f"cannot truncate {file}: {advice}") from error
    write_bytes(output, shorter)
    rate = 8 * len(shorter) / kept.header.pixels
    _report(
        json,
        output.messages,
        f"{file}: {len(data):,} bytes -> {out}: {len(shorter):,} bytes, {rate:.3f} bpp, {len(kept.iterations)} "
        "iterations",
        file=file,
        out=out,
        bytes=len(shorter),
        bpp=rate,
        iterations=len(kept.iterations),
    )


def export(checkpoint: str, file: str, entropy: str | None = None, half: bool = False, force: bool = False) -> None:
    """Write a checkpoint's codec as safetensors: weights and configuration only, safe to share.

    Args:
        checkpoint: a Lightning checkpoint (.ckpt) or weights file; of ternary codes the decoder's checkpoint.
        file: the .safetensors file to write.
        entropy: the entropy model trained on this codec's codes (.safetensors, .ckpt); of ternary codes the entropy
            model's checkpoint.
        half: store the weights in 16 bits.
        force: (-f) replace FILE if it exists.
    """
    from ..files import Output
    from . import weights
    from .api import load

    if Path(file).suffix != ".safetensors":
        raise ValueError(f"cannot write {file}: the name must end in .safetensors")
    output = Output(file, checkpoint, entropy, force=force)
    if weights.holds_refiner(Path(checkpoint)):
        if entropy is None:
            raise ValueError(
                f"{checkpoint} decodes ternary codes: name the checkpoint of their entropy model, --entropy"
            )
        context, refiner = weights.load_context_model(Path(entropy)), weights.load_refiner(Path(checkpoint))
        weights.save_ternary(output, weights.TernaryWeights.of(context, refiner, half))
        print(f"{checkpoint} -> {file}: {Path(file).stat().st_size:,} bytes, model {load(file).digest.hex()}")
        return
    coder = weights.load_entropy(checkpoint) if entropy is None else weights.load_entropy_model(entropy)
    weights.save(output, weights.load(checkpoint), coder, half)
    print(
        f"{checkpoint} -> {file}: {Path(file).stat().st_size:,} bytes, model {load(file).digest.hex()}, "
        f"entropy model {coder.digest.hex() if coder else 'none'}"
    )


def _load(model: str | None, device: str, data: bytes | None = None) -> "Codec":
    from .api import load, load_for

    if model is None and data is not None:
        return load_for(data, device)
    return load(model, device)


def _kept(keep: str) -> list[str]:
    """Kinds of metadata by Pillow's names. Raises `ValueError`."""
    names = {"icc": "icc_profile", "exif": "exif", "xmp": "xmp", "alpha": "alpha"}
    words = [word for word in keep.replace(" ", "").split(",") if word not in ("", "none")]
    if unknown := [word for word in words if word not in names]:
        raise ValueError(f"--keep {keep}: {unknown[0]!r} is not one of {', '.join(names)}, none")
    return [names[word] for word in words]


def _size(text: int | str | None) -> int | None:
    """Bytes, of a number with a unit or without. Raises `ValueError`."""
    if text is None or isinstance(text, int):
        return text
    units = {"": 1, "b": 1, "k": 10**3, "kb": 10**3, "kib": 2**10, "m": 10**6, "mb": 10**6, "mib": 2**20}
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z]*)", text.strip().lower())
    if found is None or found[2] not in units:
        raise ValueError(f"--bytes {text}: not a size; write 20000, 20KB, 20KiB or 1.5MB")
    return int(float(found[1]) * units[found[2]])


def _check_targets(**targets: object) -> None:
    """Raises `ValueError` for more than one."""
    flags = [f"--{name.replace('_', '-')}" for name in targets]
    given = [flag for flag, value in zip(flags, targets.values(), strict=True) if value is not None]
    if len(given) > 1:
        raise ValueError(f"give one of {', '.join(flags)}, not {' and '.join(given)}")


def _check_options(codec: "Codec", given: dict[str, Any]) -> None:
    """Raises `ValueError` for an option that the model's kind of codes does not have."""
    known = inspect.signature(codec.encode).parameters
    for name in given:
        if name not in known:
            flag = "bytes" if name == "max_bytes" else name.replace("_", "-")
            raise ValueError(f"the model {codec.name} has no --{flag}: its options are {', '.join(list(known)[1:])}")


def _report(as_json: bool, stream: IO[str], text: str, **values: Any) -> None:
    print(_json.dumps(values) if as_json else text, file=stream)
