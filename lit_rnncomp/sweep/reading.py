"""Reads a sweep from YAML: the part of the Weights & Biases sweep format that also runs without a server."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, cast

from .definition import Choice, Hyperband, Json, Range, Scalar, Sweep, SweepError, short

_KEYS = {
    "name",
    "description",
    "project",
    "entity",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "command",
    "program",
    "run_cap",
}
_DEFAULT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]
_DISTRIBUTIONS = ("int_uniform", "uniform", "q_uniform", "log_uniform", "log_uniform_values")
_MACROS = ("${env}", "${interpreter}", "${program}", "${args}", "${args_no_hyphens}", "${args_json}")


def read_sweep(path: str | Path) -> Sweep:
    """Reads and checks the YAML of a sweep.

    Raises:
        SweepError: the file is missing, no YAML, or holds a key or value outside the supported part of the format.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise SweepError(f"no such sweep: {path}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or a date that is none
        raise SweepError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    try:
        return _sweep(data, Path(path).stem)
    except SweepError as error:
        raise SweepError(f"{path}: {error}") from None


def _sweep(data: Any, name: str) -> Sweep:
    if not isinstance(data, dict):
        raise SweepError("not a mapping of keys to values")
    if unknown := sorted(set(data) - _KEYS, key=str):
        raise SweepError(f"unknown key {unknown[0]!r}; the keys are {', '.join(sorted(_KEYS))}")
    if data.get("method") not in ("grid", "random", "bayes"):
        raise SweepError(f"method is {data.get('method')!r}, must be grid, random or bayes")
    metric = data.get("metric")
    if (
        not isinstance(metric, dict)
        or not isinstance(metric.get("name"), str)
        or metric.get("goal") not in ("maximize", "minimize")
    ):
        raise SweepError(f"metric is {metric!r}, must be like {{name: val/auc_ms_ssim_best, goal: maximize}}")
    if unknown := sorted(set(metric) - {"name", "goal"}, key=str):
        raise SweepError(f"metric has {unknown[0]!r}, which does not run without a server")
    if not isinstance(data.get("parameters"), dict) or not data["parameters"]:
        raise SweepError("parameters must be a mapping from argument names to their values")
    if strange := [key for key in data["parameters"] if not isinstance(key, str)]:
        raise SweepError(f"parameters has the key {strange[0]!r}, which is no text; put it in quotes")
    program = data.get("program")
    if not isinstance(program, str | None):
        raise SweepError(f"program is {program!r}, must be the name of a file")
    command = _command(data.get("command"))
    if "${program}" in command and not program:
        raise SweepError("command holds ${program}, and no program is given")
    return Sweep(
        name=name if data.get("name") is None else str(data["name"]),
        method=data["method"],
        metric=metric["name"],
        goal=metric["goal"],
        parameters={key: _parameter(key, value) for key, value in data["parameters"].items()},
        hyperband=_hyperband(data.get("early_terminate")),
        command=command,
        program=program,
        run_cap=_whole("run_cap", data.get("run_cap")),
    )


def _command(given: Any) -> tuple[str, ...]:
    words = _DEFAULT_COMMAND if given is None else given
    if not isinstance(words, list) or not words:
        raise SweepError(f"command is {given!r}, must be a list of words, like ['lit-rnncomp', 'fit', '${{args}}']")
    for word in words:
        if not isinstance(word, (str, int, float)):
            raise SweepError(f"command holds {word!r}, which is no word; put it in quotes")
        if (str(word).startswith("${") and word not in _MACROS) or "${envvar:" in str(word):
            raise SweepError(f"command holds {word}; supported are {', '.join(_MACROS)}")
    return tuple(map(str, words))


def _parameter(key: str, given: Any) -> Choice | Range:
    if not isinstance(given, dict):
        raise SweepError(
            f"parameter {key} is {given!r}, must be like {{value: 1}}, {{values: [1, 2]}} or {{min: 0.1, max: 1.0}}"
        )
    if unknown := sorted(set(given) - {"value", "values", "min", "max", "q", "distribution"}, key=str):
        raise SweepError(f"parameter {key} has {unknown[0]!r}, which does not run without a server")
    return _choice(key, given) if "value" in given or "values" in given else _range(key, given)


def _choice(key: str, given: Mapping[str, Any]) -> Choice:
    one, kind = ("value", "constant") if "value" in given else ("values", "categorical")
    if stray := sorted(set(given) - {one, "distribution"}):
        raise SweepError(f"parameter {key} has {stray[0]!r} beside its {one}; leave one of them out")
    if given.get("distribution", kind) != kind:
        raise SweepError(
            f"parameter {key}: distribution is {given['distribution']!r} beside its {one}; leave one of them out"
        )
    values = [given["value"]] if one == "value" else given["values"]
    if not isinstance(values, list) or not values:
        raise SweepError(f"parameter {key}: values is {values!r}, must be a list of at least one")
    held = tuple(_held(key, value) for value in values)
    for value in held:
        if type(first := held[held.index(value)]) is not type(value):
            raise SweepError(f"parameter {key}: a study cannot tell {first!r} from {value!r}; leave one of them out")
    return Choice(held)


def _held(key: str, value: Any) -> Scalar:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise SweepError(f"parameter {key}: {value} is no value of JSON; put it in quotes") from None
    return Json(text) if isinstance(value, (list, dict)) else cast(Scalar, value)


def _range(key: str, given: Mapping[str, Any]) -> Range:
    low, high = given.get("min"), given.get("max")
    if not _is_number(low) or not _is_number(high):
        raise SweepError(
            f"parameter {key} needs value, values, or min and max as finite numbers, not {low!r} and {high!r} "
            "(write 1.0e-4: YAML reads 1e-4 as text)"
        )
    integers = isinstance(low, int) and isinstance(high, int)
    kind = given.get("distribution", "int_uniform" if integers else "uniform")
    if kind not in _DISTRIBUTIONS:
        raise SweepError(
            f"parameter {key}: distribution {kind} does not run without a server; those that do are "
            f"{', '.join(_DISTRIBUTIONS)}"
        )
    if "q" in given and kind != "q_uniform":
        raise SweepError(f"parameter {key}: q goes with distribution q_uniform, not with {kind}")
    if kind == "log_uniform":  # here Weights & Biases gives the bounds as exponents of e
        low, high = _exponential(key, low), _exponential(key, high)
    fractional = kind == "int_uniform" and (low % 1 or high % 1)
    if low > high or not _is_number(high - low) or ("log" in kind and low <= 0) or fractional:
        raise SweepError(f"parameter {key}: {low} to {high} is no range for {kind}")
    if kind == "q_uniform":
        return _multiples(key, low, high, given.get("q", 1))
    return Range(low, high, log="log" in kind, integer=kind == "int_uniform")


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number that fits a float; bools are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _exponential(key: str, power: float) -> float:
    try:
        return math.exp(power)
    except OverflowError:
        raise SweepError(
            f"parameter {key}: log_uniform takes exponents of e, and {power} is too large for one; "
            "log_uniform_values takes the values"
        ) from None


def _multiples(key: str, low: float, high: float, q: Any) -> Range:
    """The multiples of `q` in [low, high]: integers when `q` is one, as Weights & Biases has them."""
    if not _is_number(q) or q <= 0:
        raise SweepError(f"parameter {key}: q is {q!r}, must be a number above 0")
    try:
        first, last = math.ceil(low / q - 1e-9), math.floor(high / q + 1e-9)
    except OverflowError:
        raise SweepError(f"parameter {key}: q is {q!r}, too small for {low} to {high}") from None
    if first > last:
        raise SweepError(f"parameter {key}: no multiple of q={q} is between {low} and {high}")
    return Range(short(first * q), short(last * q), step=q, integer=isinstance(q, int))


def _hyperband(given: Any) -> Hyperband | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") != "hyperband":
        raise SweepError(f"early_terminate is {given!r}, must be like {{type: hyperband, min_iter: 3}}")
    if unknown := sorted(set(given) - {"type", "min_iter", "max_iter", "s", "eta"}, key=str):
        raise SweepError(f"early_terminate has {unknown[0]!r}, which does not run without a server")
    min_iter, max_iter, s = (_whole(f"early_terminate: {key}", given.get(key)) for key in ("min_iter", "max_iter", "s"))
    eta = _whole("early_terminate: eta", given.get("eta"), least=2) or 3
    if min_iter is None and max_iter is not None and s is not None:
        min_iter = max(1, max_iter // eta ** min(s, max_iter.bit_length()))
    elif min_iter is None or s is not None:
        raise SweepError(f"early_terminate is {given!r}; it needs min_iter, or max_iter and s")
    if max_iter is not None and max_iter < min_iter:
        raise SweepError(f"early_terminate: max_iter is {max_iter}, less than min_iter, {min_iter}")
    return Hyperband(min_iter, max_iter, eta)


def _whole(key: str, value: Any, least: int = 1) -> int | None:
    """The number; None when none is given. Raises `SweepError` when it is not whole or less than `least`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SweepError(f"{key} is {value!r}, must be a whole number of at least {least}")
    return value
