"""What a sweep is: its parameters, the points of its grid, and the command of a trial."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Scalar = str | int | float | bool | None

MOST_VALUES = 10_000
"""Values of one parameter of a grid: a study holds them all in each trial."""


class SweepError(ValueError):
    """A sweep cannot be read or continued; the message names the file and the key on one line."""


class Json(str):
    """A list or dict as JSON text: so a study holds it, and so it reaches the command line."""

    __slots__ = ()


@dataclass(frozen=True)
class Choice:
    """One of some values, lists and dicts as `Json`."""

    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """A number in [low, high]: on a logarithmic scale, in steps from `low`, or as an integer (in steps, if given)."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False


@dataclass(frozen=True)
class Hyperband:
    """Early stopping; `min_iter` and `max_iter` count how often the metric was logged."""

    min_iter: int
    max_iter: int | None
    eta: int


@dataclass(frozen=True)
class Sweep:
    """A sweep: which parameters to try, how, what to maximise or minimise, and the command of a trial."""

    name: str
    method: Literal["grid", "random", "bayes"]
    metric: str
    goal: Literal["maximize", "minimize"]
    parameters: dict[str, Choice | Range]
    hyperband: Hyperband | None
    command: tuple[str, ...]
    program: str | None
    run_cap: int | None

    def grid_size(self) -> int:
        """The number of points of a grid. Raises `SweepError` when a parameter has infinitely or too many values."""
        for key, parameter in self.parameters.items():
            if isinstance(parameter, Range) and not parameter.integer and parameter.step is None:
                raise SweepError(
                    f"sweep {self.name}: parameter {key} is continuous, which a grid cannot cover; list its values"
                )
            if (count := _count(parameter)) > MOST_VALUES:
                raise SweepError(
                    f"sweep {self.name}: parameter {key} has {count:.5g} values, more than the {MOST_VALUES} that a "
                    "grid takes of one; list some, or take method random"
                )
        return math.prod(map(_count, self.parameters.values()))

    def grid_point(self, number: int) -> dict[str, Scalar]:
        """Point `number` of the grid, the last parameter changing fastest; beyond the last point it begins again."""
        point: dict[str, Scalar] = {}
        for key, parameter in reversed(self.parameters.items()):
            values = grid_values(parameter)
            number, which = divmod(number, len(values))
            point[key] = values[which]
        return point

    def command_line(self, values: Mapping[str, Scalar], extra: Sequence[str] = ()) -> list[str]:
        """The command of a trial, its macros replaced as `wandb agent` does it, with `extra` appended.

        Parameters come in the order of the file: a later flag wins, so a configuration goes before what changes it.
        """
        place = {key: place for place, key in enumerate(self.parameters)}
        ordered = sorted(values.items(), key=lambda item: place.get(item[0], len(place)))
        arguments = [f"{key}={as_argument(value)}" for key, value in ordered]
        replaced: dict[str, list[str]] = {
            "${env}": ["/usr/bin/env"] if os.name == "posix" else [],
            "${interpreter}": [sys.executable],
            "${program}": [self.program] if self.program else [],
            "${args}": [f"--{argument}" for argument in arguments],
            "${args_no_hyphens}": arguments,
            "${args_json}": [json.dumps(self.as_given(values))],
        }
        return [word for part in self.command for word in replaced.get(part, [part])] + list(extra)

    def as_given(self, values: Mapping[str, Scalar]) -> dict[str, Any]:
        """The values as the file has them: what is held as `Json` becomes the list or dict that it was."""
        texts = {
            (key, value)
            for key, parameter in self.parameters.items()
            if isinstance(parameter, Choice)
            for value in parameter.values
            if isinstance(value, Json)
        }
        return {
            key: json.loads(value) if isinstance(value, str) and (key, value) in texts else value
            for key, value in values.items()
        }


def grid_values(parameter: Choice | Range) -> list[Scalar]:
    """All values of a parameter that has finitely many."""
    if isinstance(parameter, Choice):
        return list(parameter.values)
    if parameter.integer:
        return list(range(int(parameter.low), int(parameter.high) + 1, int(parameter.step or 1)))
    assert parameter.step is not None
    return [short(parameter.low + number * parameter.step) for number in range(_count(parameter))]


def _count(parameter: Choice | Range) -> int:
    if isinstance(parameter, Choice):
        return len(parameter.values)
    if parameter.integer:
        return (int(parameter.high) - int(parameter.low)) // int(parameter.step or 1) + 1
    assert parameter.step is not None
    return math.floor((parameter.high - parameter.low) / parameter.step + 1e-9) + 1


def finite(values: Iterable[float]) -> list[float]:
    """Those that are neither NaN nor infinite."""
    return [value for value in values if math.isfinite(value)]


def best_of(candidates: Iterable[T], goal: str, value: Callable[[T], float]) -> T | None:
    """The candidate with the best finite `value`; None of none. `goal` is maximize or minimize."""
    sign = 1 if goal == "maximize" else -1
    comparable = [candidate for candidate in candidates if math.isfinite(value(candidate))]  # no order holds NaN
    return max(comparable, key=lambda candidate: sign * value(candidate), default=None)


def short(value: float) -> float:
    """Without what binary fractions leave behind a sum: 0.3, not 0.30000000000000004."""
    return value if isinstance(value, int) else float(f"{value:.12g}")


def as_argument(value: Any) -> str:
    """A value as the command line has it: lists and dicts as JSON, None as null."""
    return json.dumps(value) if value is None or isinstance(value, (list, dict)) else str(value)
