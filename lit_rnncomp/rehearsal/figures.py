"""What follows from several parts together."""

from __future__ import annotations

from typing import Any


def compare(rows: list[dict[str, Any]]) -> None:
    """Gives each timed row what is known by now: `share_of_peak`, counted operations over measured seconds and the
    device's best in the same type; of float32 also `planned_bytes`, beside the measured `peak_bytes`."""
    plans = {row["name"]: row for row in rows if "multiply_adds" in row}
    best = next((row["operations_per_second"] for row in rows if "operations_per_second" in row), None)
    for row in rows:
        plan = plans.get(row["name"])
        if "seconds_a_batch" not in row or plan is None:
            continue
        if row["way"] == "fp32":
            row["planned_bytes"] = plan["planned_bytes"]
        if best is not None:
            reached = 2 * plan["multiply_adds"] / row["seconds_a_batch"]
            row["share_of_peak"] = reached / best["bfloat16" if row["way"] == "bf16" else "float32"]
