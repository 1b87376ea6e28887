"""Pictures side by side: whole in the upper row, the same enlarged detail in the lower one, each with what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ..files import SOFTWARE, Output, picture_format, write_picture
from .baselines import BASELINES
from .measure import distortion, to_tensor
from .metric_table import compared
from .results import Results, ResultsError

PANEL, GAP, ZOOM = 480, 12, 4
PAPER, INK, FAINT, FRAME = "white", "#1a1a1a", "#666666", "#d6452b"


class Panel(NamedTuple):
    """One picture of a strip with its name and a line of numbers."""

    picture: Image.Image
    title: str
    numbers: str


def draw_strip(panels: list[Panel], detail: tuple[int, int] | None = None) -> Image.Image:
    """The panels side by side. Pictures must be of one size.

    Args:
        detail: upper left corner of the enlarged part in pixels of the pictures; by default where the first has most
            texture.
    """
    width, height = panels[0].picture.size
    scale = PANEL / width
    side = max(1, min(PANEL // ZOOM, width, height))
    x, y = detail if detail is not None else busiest(panels[0].picture, side)
    x, y = min(max(x, 0), width - side), min(max(y, 0), height - side)
    shown = (PANEL, max(1, round(height * scale)))
    top, zoom_top = 2 * GAP + 44, 3 * GAP + 44 + shown[1]
    strip = Image.new("RGB", ((PANEL + GAP) * len(panels) + GAP, zoom_top + PANEL + GAP), PAPER)
    pen = ImageDraw.Draw(strip)
    big, small = ImageFont.load_default(20), ImageFont.load_default(15)
    for k, panel in enumerate(panels):
        left = GAP + k * (PANEL + GAP)
        pen.text((left, GAP), panel.title, INK, big)
        pen.text((left, GAP + 26), panel.numbers, FAINT, small)
        strip.paste(panel.picture.resize(shown, Image.Resampling.LANCZOS), (left, top))
        box = [left + x * scale, top + y * scale, left + (x + side) * scale, top + (y + side) * scale]
        pen.rectangle(box, outline=FRAME, width=2)
        zoomed = panel.picture.crop((x, y, x + side, y + side)).resize((PANEL, PANEL), Image.Resampling.NEAREST)
        strip.paste(zoomed, (left, zoom_top))
        pen.rectangle([left, zoom_top, left + PANEL - 1, zoom_top + PANEL - 1], outline=FRAME, width=2)
    return strip


def busiest(picture: Image.Image, side: int) -> tuple[int, int]:
    """Upper left corner of the `side` x `side` part with the most local contrast, away from the border where there is
    room."""
    grey = np.asarray(picture.convert("L"), dtype=np.float64)
    energy = np.zeros_like(grey)
    energy[:-1, :-1] = np.abs(np.diff(grey, axis=0)[:, :-1]) + np.abs(np.diff(grey, axis=1)[:-1])
    total = np.pad(energy.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    margin = [min(side // 2, (length - 1) // 2) for length in sums.shape]
    inner = sums[margin[0] : sums.shape[0] - margin[0], margin[1] : sums.shape[1] - margin[1]]
    y, x = np.unravel_index(np.argmax(inner), inner.shape)
    return int(x + margin[1]), int(y + margin[0])


def numbers(original: Image.Image, decoded: Image.Image, size: int) -> str:
    """`24,576 bytes, 0.500 bpp, MS-SSIM 0.9612, PSNR 30.12 dB`; a metric is left out for a picture too small for it."""
    values = distortion(to_tensor(original), to_tensor(decoded))
    known = [(metric, value) for metric, _ in compared() if (value := values[metric.name]) is not None]
    quality = [f"{metric.title} {metric.show(value)} {metric.unit}".strip() for metric, value in known]
    return ", ".join([f"{size:,} bytes, {8 * size / (original.width * original.height):.3f} bpp", *quality])


def save(strip: Image.Image, output: Output) -> None:
    """Writes the strip in the format of the name's ending; a PNG says that this program drew it."""
    note = PngInfo()
    note.add_text("Software", SOFTWARE)
    write_picture(output, strip, picture_format(output.path), pnginfo=note)


def strip_of_results(results: Results, path: Path, bpp: float = 0.5, other: str = "jpeg420") -> None:
    """Original, each model near `bpp`, and `other` at the bytes of the first model, of the first picture with kept
    frames.

    Without a model or without kept frames there is nothing to draw, and an older strip is removed.
    """
    try:
        folder, picture = next(
            (folder, p) for p in results.common() if (folder := frames_folder(results, p.name)) is not None
        )
    except StopIteration:
        path.unlink(missing_ok=True)
        return
    original = open_frame(folder / "original.webp")
    panels = [Panel(original, "original", f"{original.width} x {original.height} pixels")]
    max_bytes = 0
    for model in results.run["models"]:
        point = min(picture.codecs[model].points, key=lambda point: abs(point.bpp - bpp))
        decoded = open_frame(folder / model / f"{int(point.setting):03d}.webp")
        caption = f"{model}, {picture.codecs[model].setting} {int(point.setting)}"
        panels.append(Panel(decoded, caption, numbers(original, decoded, point.bytes)))
        max_bytes = max_bytes or point.bytes
    if BASELINES[other].missing() is None:
        panels.append(baseline_panel(original, other, max_bytes))
    save(draw_strip(panels), Output(path, own=True))


def baseline_panel(original: Image.Image, name: str, max_bytes: int) -> Panel:
    """A classical codec's picture at no more than `max_bytes`, or its smallest file, which the title then says."""
    coded = BASELINES[name].fit(original, max_bytes)
    note = "" if coded.size <= max_bytes else " (its smallest file)"
    return Panel(
        coded.picture, BASELINES[name].title.split(",")[0] + note, numbers(original, coded.picture, coded.size)
    )


def frames_folder(results: Results, picture: str) -> Path | None:
    """Where the decoded pictures of one test picture lie; None when no frames of every model were kept."""
    folder = results.folder / frames_name(picture)
    models = list(results.run["models"])
    return folder if models and all((folder / model / "complete").exists() for model in models) else None


def frames_name(picture: str) -> Path:
    """The folder of one test picture's frames, inside that of the results."""
    return Path("frames") / picture.replace("/", "__")


def open_frame(path: Path) -> Image.Image:
    """A kept picture. Raises `ResultsError` when it is gone."""
    try:
        return Image.open(path).convert("RGB")
    except OSError:
        raise ResultsError(f"the kept picture {path} cannot be read: evaluate again") from None
