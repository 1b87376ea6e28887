"""Pictures side by side: whole in the upper row, the same enlarged detail in the lower one, each with what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ..files import SOFTWARE, Output
from ..picture_formats import picture_format, write_picture
from .baselines import BASELINES, Baseline, Coded
from .colours import colours
from .equal import TOLERANCE, at_equal_bytes
from .measure import distortion, to_tensor
from .metric_table import compared
from .neural import Neural

PANEL, GAP, ZOOM = 480, 12, 4
TALLEST = 3 * PANEL
"""Pixels of a whole picture's height, so that a strip of a very tall one is no wall."""
PAPER, INK, FAINT, FRAME = "white", "#1a1a1a", "#666666", "#d6452b"


class Panel(NamedTuple):
    """One picture of a strip with its name and a line of numbers; `note` follows the name, a codec has its `colour`."""

    picture: Image.Image
    title: str
    numbers: str
    note: str = ""
    colour: str | None = None


def draw_strip(panels: list[Panel], detail: tuple[int, int] | None = None) -> Image.Image:
    """The panels side by side. Pictures must be of one size.

    Args:
        detail: upper left corner of the enlarged part in pixels of the pictures; by default where the first has most
            texture.
    """
    width, height = panels[0].picture.size
    scale = min(PANEL / width, TALLEST / height)
    side = max(1, min(PANEL // ZOOM, width, height))
    x, y = detail if detail is not None else busiest(panels[0].picture, side)
    x, y = min(max(x, 0), width - side), min(max(y, 0), height - side)
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    top, zoom_top = 2 * GAP + 44, 3 * GAP + 44 + shown[1]
    strip = Image.new("RGB", ((PANEL + GAP) * len(panels) + GAP, zoom_top + PANEL + GAP), PAPER)
    pen = ImageDraw.Draw(strip)
    big, small = ImageFont.load_default(20), ImageFont.load_default(15)
    for k, panel in enumerate(panels):
        left = GAP + k * (PANEL + GAP)
        if panel.colour:
            pen.rectangle([left, GAP + 5, left + 14, GAP + 19], fill=panel.colour)
        pen.text((left + (22 if panel.colour else 0), GAP), panel.title + panel.note, INK, big)
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


def original_panel(image: Image.Image) -> Panel:
    """What the others are compared with."""
    return Panel(image, "original", f"{image.width} x {image.height} pixels")


def coded_panels(
    image: Image.Image, codecs: Sequence[Baseline | Neural], coded: Sequence[Coded], max_bytes: int
) -> list[Panel]:
    """A panel for each codec's file; a note says where it is no equal of the others: too long for `max_bytes`, or
    shorter than the longest by more than `TOLERANCE`."""
    colour = colours(codec.name for codec in codecs)
    longest = max(file.size for file in coded)
    panels = []
    for codec, file in zip(codecs, coded, strict=True):
        fewer = 1 - file.size / longest
        notes = ["longer than asked for"] * (file.size > max_bytes) + [f"{fewer:.1%} fewer bytes"] * (fewer > TOLERANCE)
        note = f" ({', '.join(notes)})" if notes else ""
        title = codec.title.split(",")[0]
        panels.append(
            Panel(file.picture, title, numbers(image, file.picture, file.size), note, colour=colour[codec.name])
        )
    return panels


def draw_at_equal_bytes(image: Image.Image, codecs: Sequence[Baseline | Neural], path: Path, bpp: float = 0.5) -> None:
    """Writes a strip of the codecs that can code the picture, at equal bytes of at most `bpp` bits per pixel."""
    able = []
    for codec in codecs:
        with suppress(ValueError):  # pictures that a classical codec has no room for
            if isinstance(codec, Baseline):
                codec.fit(image, 1)
            able.append(codec)
    max_bytes = max(1, int(bpp * image.width * image.height / 8))
    panels = coded_panels(image, able, at_equal_bytes(image, able, max_bytes), max_bytes)
    save(draw_strip([original_panel(image), *panels]), Output(path, own=True))


def baseline_panel(original: Image.Image, name: str, max_bytes: int) -> Panel:
    """A classical codec's picture at no more than `max_bytes`, or its smallest file, which the title then says."""
    coded = BASELINES[name].fit(original, max_bytes)
    return coded_panels(original, [BASELINES[name]], [coded], max_bytes)[0]
