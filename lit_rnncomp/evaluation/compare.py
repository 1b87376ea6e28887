"""`lit-rnncomp compare`: two codecs on one picture at equal bytes, side by side."""

from __future__ import annotations


def compare(
    a: str,
    b: str,
    picture: str | None = None,
    bpp: float = 0.5,
    out: str = "strip.png",
    detail: str | None = None,
    device: str = "cpu",
    force: bool = False,
) -> None:
    """Draw the original and two codecs at equal bytes side by side, with an enlarged detail.

    The first codec makes its largest file of at most --bpp; the second its largest file of at most as many bytes. Each
    picture's true size is printed over it.

    Args:
        a: a model (checkpoint, weights file, shipped name) or a classical codec (jpeg420, webp, ...; see `evaluate
            --help`).
        b: another one.
        picture: the picture to code.
        bpp: bits per pixel of the whole file.
        out: the strip to write; its ending says the format.
        detail: X,Y of the enlarged part's upper left corner; by default the part with most texture.
        device: where models run.
        force: (-f) replace OUT if it exists.
    """

    from ..data import read_image
    from ..files import Output, picture_format
    from .baselines import BASELINES
    from .neural import named_models
    from .strip import Panel, draw_strip, numbers, save

    if picture is None:
        raise ValueError("compare needs a picture: --picture P")
    if not bpp > 0:
        raise ValueError(f"--bpp is {bpp:g}; it must be positive")
    corner = _corner(detail)
    picture_format(out)
    output = Output(out, picture, a, b, force=force)
    image = read_image(picture)
    budget = max(1, int(bpp * image.width * image.height / 8))
    panels = [Panel(image, "original", f"{image.width} x {image.height} pixels")]
    models = [name for name in (a, b) if name not in BASELINES]
    neural = dict(zip(models, named_models(models, device), strict=True))
    for name in (a, b):
        codec = BASELINES.get(name) or neural[name]
        if reason := codec.missing():
            raise ValueError(reason)
        coded = codec.fit(image, budget)
        note = "" if coded.size <= budget else " (its smallest file)"
        panels.append(Panel(coded.picture, codec.title.split(",")[0] + note, numbers(image, coded.picture, coded.size)))
        print(f"{codec.name}: {panels[-1].numbers}{note}")
        budget = coded.size
    save(draw_strip(panels, corner), output)
    print(f"strip in {out}")


def _corner(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        x, y = map(int, text.split(","))
    except ValueError:
        raise ValueError(f"--detail is {text!r}; it must be X,Y in pixels, such as 120,80") from None
    return x, y
