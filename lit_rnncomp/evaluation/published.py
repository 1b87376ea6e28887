"""Published rate-distortion curves: a few that ship, on Kodak, or a folder as in tensorflow/compression."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import rd
from .points import read_points

FOLDERS = {"ms_ssim": "MS-SSIM_sRGB_RGB", "psnr": "PSNR_sRGB_RGB"}


class Published(NamedTuple):
    """A curve that somebody else measured, as a mean over a data set: `data` is its name, None where a file does not
    say it."""

    title: str
    curve: rd.Curve
    data: str | None = None

    def is_over(self, data: str, pictures: Collection[str]) -> bool:
        """Whether the curve is of these pictures: names in the folder `data`. Kodak's are known by their names."""
        if self.data == "kodak":
            return sorted(Path(picture).stem for picture in pictures) == KODAK
        return self.data is None or self.data == data.lower()


KODAK = [f"kodim{k:02d}" for k in range(1, 25)]


def shipped() -> dict[str, Any]:
    """The content of `published.json`: `curves`, `table1` of the paper, `source` and `licence`."""
    return json.loads((resources.files(__package__) / "published.json").read_text())


def curves(source: str, metric: str) -> list[Published]:
    """The curves of one metric (`ms_ssim` or `psnr`; none for others).

    Args:
        source: `kodak` for the shipped ones, or a folder with MS-SSIM_sRGB_RGB/*.txt and PSNR_sRGB_RGB/*.txt.

    Raises:
        ValueError: the folder has no such files, or one is not a table of points.
    """
    if source == "kodak":
        return [
            Published(entry["title"], rd.Curve(np.array(entry["bpp"]), np.array(entry[metric])), "kodak")
            for entry in shipped()["curves"]
            if metric in entry
        ]
    folder = Path(source)
    if not any((folder / name).is_dir() for name in FOLDERS.values()):
        folders = " nor ".join(FOLDERS.values())
        raise ValueError(f"{source} has neither {folders}: give such a folder, or kodak for the shipped curves")
    if metric not in FOLDERS:
        return []
    paths = sorted((folder / FOLDERS[metric]).glob("*.txt"))
    return [Published(title(path), read_points(path), data_set(path)) for path in paths]


def curves_over(
    source: str | None, metric: str, data: str, pictures: Collection[str]
) -> tuple[list[Published], list[str]]:
    """The `curves` of these pictures, and the titles of those of others, which must not be drawn beside them."""
    found = curves(source, metric) if source else []
    mine = [entry for entry in found if entry.is_over(data, pictures)]
    return mine, [entry.title for entry in found if not entry.is_over(data, pictures)]


def warn_of_others(source: str | None, data: str, pictures: Collection[str]) -> None:
    """Says which published curves are left out."""
    others = {title for metric in FOLDERS for title in curves_over(source, metric, data, pictures)[1]}
    if others:
        warnings.warn(
            f"{len(others)} published curves are left out: they are means over other pictures than these "
            f"{len(pictures)} of {data}",
            stacklevel=2,
        )


def title(path: Path) -> str:
    """`JPEG (4:2:0)` from the first line of such a file, or the file's name."""
    first = path.read_text(encoding="utf-8-sig").split("\n", 1)[0]
    return first.split('"')[1] if first.count('"') == 2 else path.stem


def data_set(path: Path) -> str | None:
    """`kodak` from the first line of such a file, `... on kodak.`; None where it names none."""
    found = re.search(r'" on ([\w-]+)\.?\s*$', path.read_text(encoding="utf-8-sig").split("\n", 1)[0])
    return found.group(1).lower() if found else None
