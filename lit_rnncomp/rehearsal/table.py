"""A rehearsal as a person reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "pict/s": lambda row: f"{row['pictures_per_second']:,.0f}",
    "of peak": lambda row: f"{row['share_of_peak']:.1%}",
    "MB": lambda row: f"{row['peak_bytes'] / 1e6:,.0f}",
    "planned": lambda row: f"{row['planned_bytes'] / 1e6:,.0f}",
}


def print_table(result: dict[str, Any]) -> None:
    """Prints a row for each part that ran (of plans, what they say is beside what was measured), and below why one did
    not, or failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    machine, console = result["machine"], Console(width=max(Console().width, 110))  # a name must not be cut
    place = ", ".join(machine["devices"]) if result["device"] == "cuda" else machine["processor"]
    table = Table(title=escape(f"Rehearsal on {place}"), title_justify="left", caption=_caption(result))
    for name in ("part", "way", ""):
        table.add_column(name, overflow="fold")
    for name in ("s", *COLUMNS):
        table.add_column(name, justify="right")
    reasons: dict[str, list[str]] = {}
    for row in result["parts"]:
        if "why" in row:
            reasons.setdefault(f"{row['state']}: {row['why']}", []).append(f"{row['name']} {row['way']}")
        if row["state"] == "failed" or (row["state"] == "passed" and row["way"] != "plan"):
            state = "passed" if row["state"] == "passed" else "[red]failed[/]"
            cells = [_cell(show, row) for show in COLUMNS.values()]
            table.add_row(escape(row["name"]), row["way"], state, f"{row['seconds']:.0f}", *cells)
    console.print(table)
    for reason, names in reasons.items():
        console.print(f"{reason}: {', '.join(names)}", markup=False, highlight=False, soft_wrap=True)


def _cell(show: Callable[[dict[str, Any]], str], row: dict[str, Any]) -> str:
    try:
        return show(row)
    except KeyError:
        return ""


def _caption(result: dict[str, Any]) -> str:
    memory = "of the whole process" if result["device"] == "cpu" else "of tensors on one device"
    return (
        f"Seconds; pictures a second; counted operations over a matrix product's; peak memory, {memory}, and planned."
    )
