"""What of a timed run is worse than an older one: `run.py --against`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import timing

Times = dict[str, Any]
Row = dict[str, Any]


def pairs(old: Times, new: Times) -> Iterator[tuple[Row, Row]]:
    """Rows of the same case in both, timed in both."""
    before = {timing.key(row): row for row in old["rows"] if not row["error"]}
    for row in new["rows"]:
        if not row["error"] and timing.key(row) in before:
            yield before[timing.key(row)], row


def worse(old: Times, new: Times, tolerance: float) -> Iterator[str]:
    """A line for each case that takes longer, or more memory, than the old one by more than `tolerance`, a fraction.

    Times differ where also their intervals, from the 20 % to the 80 % quantile, do not meet.
    """
    for a, b in pairs(old, new):
        name, before, now = timing.name_of(b), a["median_ms"], b["median_ms"]
        if now > (1 + tolerance) * before and b["p20_ms"] > a["p80_ms"]:
            yield f"{name}: {before:g} ms before, {now:g} now"
        if None not in (a["peak_bytes"], b["peak_bytes"]) and b["peak_bytes"] > (1 + tolerance) * a["peak_bytes"]:
            yield f"{name}: a peak of {a['peak_bytes'] / 1e6:.1f} MB before, {b['peak_bytes'] / 1e6:.1f} now"
