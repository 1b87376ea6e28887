"""What the entropy model leaves of each iteration's bits, over all pictures of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .results import Results

if TYPE_CHECKING:
    from rich.table import Table

PAPER = {1: 0.41, 16: 0.09}
"""Section 3.3: savings of the first and the last iteration of the paper's best model."""


def bits_left(results: Results) -> dict[str, list[float]]:
    """Model -> for each iteration, payload bytes over what the same codes need as plain bits; summed over the common
    pictures.

    Headers, lengths and checksums are not counted. Models without an entropy model are left out.
    """
    left = {}
    for model in results.models:
        coded, plain = [], []
        for picture in results.common():
            points = picture.codecs[model].points
            if any(point.nominal_bpp is None for point in points):
                break
            payload = np.array([point.bytes - (point.header_bytes or 0) for point in points])
            bits = np.array([(point.nominal_bpp or 0) * point.bytes * 8 / point.bpp for point in points])
            coded.append(np.diff(payload, prepend=0))
            plain.append(np.diff(bits, prepend=0) / 8)
        if not coded:
            continue
        shares = np.sum(coded, axis=0) / np.sum(plain, axis=0)
        # Plain bits of padded positions and of the last byte count as a little more than 1.
        if (shares < 0.999).any():
            left[model] = shares.round(4).tolist()
    return left


def table(left: dict[str, list[float]]) -> Table:
    """Savings by iteration for a terminal, the paper's beside them."""
    from rich.table import Table

    shown = Table(
        "iteration", *left, "paper", title="Saved by the entropy model", caption="Share of the iteration's bits."
    )
    for t in range(max(map(len, left.values()))):
        cells = (f"{1 - shares[t]:.1%}" if t < len(shares) else "" for shares in left.values())
        shown.add_row(str(t + 1), *cells, f"{PAPER[t + 1]:.0%}" if t + 1 in PAPER else "")
    for column in shown.columns[1:]:
        column.justify = "right"
    return shown
