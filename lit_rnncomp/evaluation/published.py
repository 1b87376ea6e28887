"""Published rate-distortion curves: a few that ship, on Kodak, or a folder as in tensorflow/compression."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import rd

FOLDERS = {"ms_ssim": "MS-SSIM_sRGB_RGB", "psnr": "PSNR_sRGB_RGB"}


class Published(NamedTuple):
    """A curve that somebody else measured, as a mean over a data set."""

    title: str
    curve: rd.Curve


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
            Published(entry["title"], rd.Curve(np.array(entry["bpp"]), np.array(entry[metric])))
            for entry in shipped()["curves"]
            if metric in entry
        ]
    folder = Path(source)
    if not any((folder / name).is_dir() for name in FOLDERS.values()):
        folders = " nor ".join(FOLDERS.values())
        raise ValueError(f"{source} has neither {folders}: give such a folder, or kodak for the shipped curves")
    if metric not in FOLDERS:
        return []
    return [Published(title(path), read_points(path)) for path in sorted((folder / FOLDERS[metric]).glob("*.txt"))]


def read_points(path: str | Path) -> rd.Curve:
    """Two columns, bits per pixel and quality, separated by commas or blanks; `#` begins a comment.

    Raises:
        ValueError: the file is missing or is no such table; the message names it.
    """
    try:
        rows = [
            line.replace(",", " ").split()
            for line in Path(path).read_text().splitlines()
            if line.strip() and line[0] != "#"
        ]
        points = np.array([[float(row[0]), float(row[1])] for row in rows])
        order = np.argsort(points[:, 0], kind="stable")
        return rd.Curve(points[order, 0], points[order, 1])
    except OSError:
        raise ValueError(
            f"{path} cannot be read: give a file of points, or --results and the names of codecs in it"
        ) from None
    except (ValueError, IndexError, UnicodeDecodeError):
        raise ValueError(f"{path} is not a table of two columns, bits per pixel and quality") from None


def title(path: Path) -> str:
    """`JPEG (4:2:0)` from the first line of such a file, or the file's name."""
    first = path.read_text().split("\n", 1)[0]
    return first.split('"')[1] if first.count('"') == 2 else path.stem
