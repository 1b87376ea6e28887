"""What the drawings of `lit-rnncomp plot` share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import SOFTWARE, Output, write_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_MADE_BY: dict[str, dict[str, str | None]] = {
    ".png": {"Software": SOFTWARE},
    ".svg": {"Date": None, "Creator": SOFTWARE},
    ".pdf": {"CreationDate": None, "Creator": SOFTWARE},
}


@contextmanager
def figure(width: float, height: float, outputs: list[Output], title: str, spines: bool = False) -> Iterator[Figure]:
    """A figure of so many inches to draw on, which is written to every one of `outputs` afterwards.

    Text is text: a dollar begins no formula. The files say that this program drew them, as a PNG's software or an SVG's
    creator. `spines`: frames all around.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as New

    style = {"font.size": 9, "svg.fonttype": "none", "axes.spines.top": spines, "axes.spines.right": spines}
    style |= {"text.parse_math": False, "text.usetex": False}
    with matplotlib.style.context(style):
        drawn = New(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn
        drawn.suptitle(title)
        for output in outputs:
            write_figure(output, drawn, dpi=160, metadata=_MADE_BY[Path(output.path).suffix.lower()])


def legend(drawn: Figure, named: Mapping[str, Artist], columns: int) -> None:
    """What each of `named` is, below the drawing."""
    # matplotlib leaves out what begins with `_`, but only where the legend is made.
    made = drawn.legend(
        list(named.values()), [" "] * len(named), loc="outside lower center", ncols=columns, frameon=False
    )
    for text, name in zip(made.get_texts(), named, strict=True):
        text.set_text(name)
