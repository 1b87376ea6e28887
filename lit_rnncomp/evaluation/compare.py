"""`lit-rnncomp compare`: codecs on one picture at equal bytes, side by side."""

from __future__ import annotations


def compare(
    codecs: list[str],
    picture: str | None = None,
    bpp: float = 0.5,
    out: str = "strip.png",
    detail: str | None = None,
    device: str = "cpu",
    force: bool = False,
) -> None:
    """Draw the original and codecs at equal bytes side by side, with an enlarged detail.

    Files are within 2 % of each other where the codecs' settings allow, and of at most --bpp where every codec has a
    file that short. Each one's true size is printed over its picture.

    Args:
        codecs: two or more, separated by blanks: models (checkpoint, weights file, shipped name) and classical codecs
            (jpeg420, webp, ...; see `evaluate --help`).
        picture: the picture to code.
        bpp: bits per pixel of the whole files.
        out: the strip to write; its ending says the format.
        detail: X,Y of the enlarged part's upper left corner; by default the part with most texture.
        device: where models run.
        force: (-f) replace OUT if it exists.
    """

    from ..data import read_image
    from ..files import Output
    from ..picture_formats import picture_format
    from .baselines import BASELINES
    from .equal import TOLERANCE, at_equal_bytes, spread
    from .neural import named_models
    from .strip import coded_panels, draw_strip, original_panel, save

    if len(codecs) < 2:
        raise ValueError(f"compare needs two codecs or more: lit-rnncomp compare {' '.join(codecs)} jpeg420")
    if picture is None:
        raise ValueError("compare needs a picture: --picture P")
    if not bpp > 0:
        raise ValueError(f"--bpp is {bpp:g}; it must be positive")
    corner = _corner(detail)
    picture_format(out)
    output = Output(out, picture, *codecs, force=force)
    image = read_image(picture)
    models = iter(named_models([name for name in codecs if name not in BASELINES], device))
    chosen = [BASELINES.get(name) or next(models) for name in codecs]
    for codec in chosen:
        if reason := codec.missing():
            raise ValueError(reason)
    budget = max(1, int(bpp * image.width * image.height / 8))
    coded = at_equal_bytes(image, chosen, budget)
    panels = coded_panels(image, chosen, coded, budget)
    for codec, panel in zip(chosen, panels, strict=True):
        print(f"{codec.name}: {panel.numbers}{panel.note}")
    if spread(coded) > TOLERANCE:
        print(f"these files differ by {spread(coded):.1%}: no settings of these codecs are closer")
    save(draw_strip([original_panel(image), *panels], corner), output)
    print(f"strip in {out}")


def _corner(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        x, y = map(int, text.split(","))
    except ValueError:
        raise ValueError(f"--detail is {text!r}; it must be X,Y in pixels, such as 120,80") from None
    return x, y
