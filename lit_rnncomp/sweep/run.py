"""`lit-rnncomp sweep run`: a sweep on this machine, without a server."""

import math
import signal
from dataclasses import replace
from json import dumps
from pathlib import Path

from .definition import Sweep, SweepError, as_argument, best_of
from .engine import Outcome, Study, alone_in, database_of, run_study
from .reading import read_sweep


def run(
    sweep: str,
    count: int | None = None,
    workers: int = 1,
    out: str | None = None,
    seed: int = 0,
    gpus: int = 0,
    data: str | None = None,
    json: bool = False,
) -> None:
    """Run the trials of a Weights & Biases sweep on this machine, with Optuna and no server.

    Started again, it goes on where it was: trials that were interrupted continue from their last checkpoint. A trial
    that fails is recorded and does not stop the others.

    Args:
        sweep: the YAML of the sweep.
        count: trials that the study is to have in the end; not given, the sweep's run_cap, or all points of a grid.
        workers: trials at a time; each gets an equal share of the cores.
        out: folder of the study; not given, runs/sweeps/ and the name of the sweep.
        seed: of the values drawn.
        gpus: number of GPUs to deal out to the trials; 0 leaves them alone.
        data: folder of pictures or tiles that every trial trains on (its data.train).
        json: print the outcomes as JSON.
    """
    definition = read_sweep(sweep)
    if data is not None:
        definition = replace(definition, command=(*definition.command, f"--data.train={data}"))
    if workers < 1 or gpus < 0:
        raise ValueError(f"workers is {workers} and gpus {gpus}; there must be at least 1 worker, and 0 or more GPUs")
    wanted = _wanted(definition, count)
    folder = Path(out) if out else _folder_of(definition)
    with alone_in(folder) as lock, database_of(folder):
        study = Study(definition, folder.resolve(), seed)
        outcomes = _watched(study, wanted, workers, gpus, lock, quiet=json)
    scored = [outcome for outcome in outcomes if outcome.value is not None and outcome.state != "failed"]
    best = best_of(scored, definition.goal, lambda outcome: outcome.value or 0.0)
    if json:
        print(
            dumps(
                {
                    "metric": definition.metric,
                    "best": best and best.number,
                    "trials": [outcome._asdict() for outcome in outcomes],
                }
            )
        )
    else:
        _print_table(outcomes, definition.metric, best)
    if best is None:
        raise SweepError(
            f"none of {len(outcomes)} trials gave a value of {definition.metric}; the first: {outcomes[0].error}"
        )


def _wanted(sweep: Sweep, count: int | None) -> int:
    """How many trials the study is to have. Raises `SweepError` when that is less than one, or nothing says it."""
    if count is not None and count < 1:
        raise SweepError(f"--count is {count}, must be at least 1")
    wanted = sweep.run_cap if count is None else count
    if sweep.method == "grid":
        return sweep.grid_size() if wanted is None else min(sweep.grid_size(), wanted)
    if wanted is None:
        raise SweepError(f"a {sweep.method} sweep has no end of its own: say how many trials with --count")
    return wanted


def _folder_of(sweep: Sweep) -> Path:
    """Where the study of a sweep is kept by itself. Raises `SweepError` when a name leads elsewhere."""
    if sweep.name in ("", "..") or Path(sweep.name).name != sweep.name:
        raise SweepError(f"name is {sweep.name!r}, which cannot name a folder; give one with --out")
    return Path("runs") / "sweeps" / sweep.name


def _watched(study: Study, count: int, workers: int, gpus: int, lock: int, quiet: bool) -> list[Outcome]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)  # as Ctrl-C: the trials save, and go on another time
    columns = (
        TextColumn("sweep"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("trials"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    outcomes = run_study(study, count, workers, gpus, (lock,))
    try:
        # The time left is that of the mean trial so far: the last ones alone, which often end together, say little.
        with Progress(*columns, console=Console(stderr=True), disable=quiet, speed_estimate_period=math.inf) as bar:
            task = bar.add_task("", total=count, completed=len(study.outcomes()))
            bar.advance(task, 0)
            for outcome in outcomes:
                bar.advance(task)
                if not quiet:
                    bar.console.print(_line(outcome, study.sweep.metric), highlight=False, markup=False)
    finally:
        outcomes.close()
        signal.signal(signal.SIGTERM, before)
    return study.outcomes()


def _line(outcome: Outcome, metric: str) -> str:
    value = "" if outcome.value is None else f" {metric} {outcome.value:.5g}"
    error = f"  {outcome.error}" if outcome.error else ""
    return f"trial {outcome.number} {outcome.state}{value}  {_parameters(outcome)}{error}"


def _parameters(outcome: Outcome) -> str:
    return " ".join(
        f"{key.split('.')[-1]}={f'{value:.4g}' if isinstance(value, float) else as_argument(value)}"
        for key, value in outcome.parameters.items()
    )


def _print_table(outcomes: list[Outcome], metric: str, best: Outcome | None) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table("trial", "state", Column(Text(metric)), "parameters")
    for outcome in outcomes:
        value = "-" if outcome.value is None else f"{outcome.value:.5g}"
        table.add_row(
            str(outcome.number),
            outcome.state,
            value,
            Text(_parameters(outcome)),
            style="bold" if outcome is best else None,
        )
    Console().print(table)
    if best is not None:
        print(f"best: trial {best.number}, {metric} {best.value:.5g}, in {best.folder}")
