"""The verbs of a person who only compresses pictures. Heavy imports wait until a verb runs."""

import json as _json
import re
from pathlib import Path
from typing import Any, Literal


def encode(
    photos: list[str],
    out: str | None = None,
    workers: int = 1,
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
    """Compress pictures to .rnnc files: `encode photo.jpg photo.rnnc`, `encode *.jpg`, `encode FOLDER -o OUT`.

    At most one of --quality, --bpp, --bytes, --psnr, --ms-ssim and --iterations; --quality 75 without one.

    Args:
        photos: pictures (PNG, JPEG, WebP, TIFF or anything else that Pillow reads; transparency is laid over white),
            folders of them, or - for standard input; the last one is the file to write if it alone ends in .rnnc, or
            is - for standard output.
        out: (-o) the .rnnc file to write, or the folder for those of several pictures; beside the pictures without it.
        workers: processes for several pictures; 0 for one a core.
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
        exact: the same pixels give the same bytes on every processor; of binary codes, and with --psnr and --ms-ssim,
            several times slower, else at next to no cost.
        device: where the network runs: cpu, cuda, cuda:1, ... (binary codes only).
        force: (-f) replace what exists.
        json: print the result as JSON; of several pictures a line each.
    """
    from . import batch, names
    from .jobs import Encoding

    budget = _size(bytes)
    _check_targets(quality=quality, bpp=bpp, bytes=bytes, psnr=psnr, ms_ssim=ms_ssim, iterations=iterations)
    options: dict[str, Any] = {"quality": quality, "bpp": bpp, "max_bytes": budget, "psnr": psnr, "ms_ssim": ms_ssim}
    options |= {"iterations": iterations, "tune": tune, "coder": coder, "exact": exact or None}
    given = {name: value for name, value in options.items() if value is not None}
    work = Encoding(model, device, given, focus, _kept(keep), force)
    batch.run(work, names.encoding(photos, out), workers, json)


def decode(
    files: list[str],
    out: str | None = None,
    suffix: str = ".png",
    workers: int = 1,
    model: str | None = None,
    iterations: int | None = None,
    partial: bool = False,
    exact: bool = False,
    device: str = "cpu",
    force: bool = False,
    json: bool = False,
) -> None:
    """Turn .rnnc files back into pictures: `decode photo.rnnc photo.png`, `decode *.rnnc`, `decode FOLDER -o OUT`.

    Args:
        files: .rnnc files, folders of them, or - for standard input; after one file the picture to write, whose ending
            says the format, one that Pillow writes (.png, .jpg, .webp, .tif), or - for a PNG to standard output. A note
            says so when the format is lossy; JPEG is written at quality 95 without chroma subsampling.
        out: (-o) the picture to write, or the folder for those of several files; beside the files without it.
        suffix: what names that are not given end in.
        workers: processes for several files; 0 for one a core.
        model: the model that the files were made with; not needed when that is a shipped one.
        iterations: use only the first of a file's iterations.
        partial: decode the intact beginning of a damaged or cut file.
        exact: compute in float64, several times slower: the same picture on every processor, to the last pixel.
        device: where the network runs: cpu, cuda, cuda:1, ...
        force: (-f) replace what exists.
        json: print the result as JSON; of several files a line each.
    """
    from . import batch, names
    from .jobs import Decoding

    work = Decoding(model, device, force, {"iterations": iterations, "partial": partial, "exact": exact})
    batch.run(work, names.decoding(files, out, f".{suffix.removeprefix('.')}"), workers, json)


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
        file: the .rnnc file, or - for standard input.
        out: the smaller .rnnc file to write, or - for standard output; with --force it may be FILE itself.
        model: the model that the file was made with; without it, a file of another model is cut after an iteration.
        bpp: at most this many bits per pixel, headers included.
        bytes: at most this many bytes: 20000, 20KB, 1.5MB (of 1000 and 1000 KB), 20KiB (of 1024).
        iterations: keep this many iterations.
        force: (-f) replace OUT if it exists.
        json: print the result as JSON.
    """
    from ..files import Output, write_bytes
    from .api import truncate as shorten
    from .container import BitstreamError, parse
    from .jobs import read

    budget = _size(bytes)
    if sum(limit is not None for limit in (bpp, bytes, iterations)) != 1:
        raise ValueError("give exactly one of --bpp, --bytes and --iterations")
    data = read(file)
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
    text = (
        f"{file}: {len(data):,} bytes -> {out}: {len(shorter):,} bytes, {rate:.3f} bpp, {len(kept.iterations)} "
        "iterations"
    )
    values = {"file": file, "out": out, "bytes": len(shorter), "bpp": rate, "iterations": len(kept.iterations)}
    print(_json.dumps(values) if json else text, file=output.messages)


def export(
    checkpoint: str,
    file: str,
    entropy: str | None = None,
    half: bool = False,
    mean: str | None = None,
    visual_ac: float | None = None,
    visual_chroma: float | None = None,
    force: bool = False,
) -> None:
    """Write a checkpoint's codec as safetensors: weights and configuration only, safe to share.

    Args:
        checkpoint: a Lightning checkpoint (.ckpt) or weights file; of ternary codes the decoder's checkpoint.
        file: the .safetensors file to write.
        entropy: the entropy model trained on this codec's codes (.safetensors, .ckpt); of ternary codes the entropy
            model's checkpoint.
        half: store the weights in 16 bits.
        mean: of ternary codes, another checkpoint of the decoder: the weights are the mean of both, of two runs that
            went on from the same one.
        visual_ac: of ternary codes, what all but DC coefficients weigh with tune visual, where not what the networks
            were trained with; see `lapped.coefficient_weights`, as the next one.
        visual_chroma: see above.
        force: (-f) replace FILE if it exists.
    """
    from ..files import Output
    from . import entropy_weights, ternary_weights, weights
    from .api import load

    if Path(file).suffix != ".safetensors":
        raise ValueError(f"cannot write {file}: the name must end in .safetensors")
    output = Output(file, checkpoint, entropy, mean, force=force)
    weighting = {"visual_ac": visual_ac, "visual_chroma": visual_chroma}
    if ternary_weights.holds_refiner(Path(checkpoint)):
        if entropy is None:
            raise ValueError(
                f"{checkpoint} decodes ternary codes: name the checkpoint of their entropy model, --entropy"
            )
        context = ternary_weights.load_context_model(Path(entropy))
        refiner = ternary_weights.load_refiner(Path(checkpoint))
        if mean is not None:
            ternary_weights.average(refiner, ternary_weights.load_refiner(Path(mean)))
        own = {name: value for name, value in weighting.items() if value is not None}
        ternary_weights.save(output, ternary_weights.TernaryWeights.of(context, refiner, half, own))
        print(f"{checkpoint} -> {file}: {Path(file).stat().st_size:,} bytes, model {load(file).digest.hex()}")
        return
    for name, given in {"mean": mean, **weighting}.items():
        if given is not None:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} {given}: {checkpoint} is no decoder of ternary codes, which it is for")
    network = weights.load_binary(checkpoint)
    coder = weights.load_entropy(checkpoint) if entropy is None else entropy_weights.load(entropy)
    weights.save(output, network, coder, half)
    print(
        f"{checkpoint} -> {file}: {Path(file).stat().st_size:,} bytes, model {load(file).digest.hex()}, "
        f"entropy model {coder.digest.hex() if coder else 'none'}"
    )


def _kept(keep: str) -> list[str]:
    """Kinds of metadata by Pillow's names. Raises `ValueError`."""
    from .metadata import NAMES, kinds

    words = [word for word in keep.replace(" ", "").split(",") if word not in ("", "none")]
    if unknown := [word for word in words if word not in NAMES]:
        raise ValueError(f"--keep {keep}: {unknown[0]!r} is not one of {', '.join(NAMES)}, none")
    return kinds(words)


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
