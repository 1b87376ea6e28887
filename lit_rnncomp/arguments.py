"""Command lines as a shell user writes them, in the form in which jsonargparse reads them."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin


def shell_style(function: Callable[..., Any], arguments: list[str]) -> list[str]:
    """Rewrites `arguments` for a verb's `function`.

    jsonargparse wants `--flag true`, `--model+ A --model+ B` and `"[A, B]"`. A person writes `--flag`, `--model A --model B`, and
    `A B` for a function whose one positional parameter is a list. Both are understood, and `-f` for the flag `force`;
    everything else passes unchanged.
    """
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    flags = {parameter.name for parameter in parameters if parameter.annotation is bool}
    lists = {parameter.name for parameter in parameters if _is_list(parameter.annotation)}
    gathers = any(parameter.name in lists and parameter.default is parameter.empty for parameter in parameters)
    rewritten: list[str] = []
    gathered: list[str] = []
    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        name, given, value = argument.removeprefix("--").partition("=")
        if argument == "-f" and "force" in flags:
            rewritten.append("--force=true")
        elif not argument.startswith("--"):
            is_word = gathers and not argument.startswith("-") and not argument.startswith("[")
            (gathered if is_word else rewritten).append(argument)
        elif name in flags and not given:
            follows = rest and rest[-1] in ("true", "false")
            rewritten.append(f"--{name}={rest.pop() if follows else 'true'}")
        elif name in lists and (given or rest) and not (value or rest[-1]).startswith("["):
            rewritten.append(f"--{name}+={value if given else rest.pop()}")
        else:
            rewritten.append(argument)
            if not given and rest and argument not in ("--help", "--print_config"):
                rewritten.append(rest.pop())
    return [json.dumps(gathered), *rewritten] if gathered else rewritten


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_list(option) for option in get_args(annotation))
    return get_origin(annotation) is list
