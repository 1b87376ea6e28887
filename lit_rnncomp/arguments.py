"""Command lines as a shell user writes them, in the form in which jsonargparse reads them."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Union, get_args, get_origin

from .advice import fail, in_flags, of_parser

SHORT = {"-f": "force", "-o": "out", "-q": "quality"}
"""Options with a short name, in every verb that has them."""
_TEXT = "text of the command line "


class Rewritten(NamedTuple):
    """A command line for the parser of a verb: `arguments`, without the `words` for its one positional parameter where
    that is a list, and with the places of its `texts` in their stead."""

    arguments: list[str]
    words: list[str]
    texts: list[str]


def call(function: Callable[..., Any], arguments: list[str], prog: str) -> Any:
    """Calls a verb's `function` with what a command line says; types, defaults and help are those of its signature and
    docstring.

    Wrong arguments end the process with one line and exit code 2, `--help` as `argparse` does it. A `ValueError` of the
    verb names flags, whatever the Python interface calls them.
    """
    from docstring_parser import parse
    from jsonargparse import ActionYesNo, ArgumentParser

    parameters = list(inspect.signature(function).parameters)

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            fail(of_parser(message, [f"--{name.replace('_', '-')}" for name in parameters]))

    docstring = parse(function.__doc__ or "")
    explained = {parameter.arg_name: parameter.description for parameter in docstring.params}
    parser = Parser(prog=prog, description=docstring.short_description, allow_abbrev=False)
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=set(switches(function)))
    for name, default in switches(function).items():
        action = ActionYesNo(no_prefix="no-") if default else "store_true"
        parser.add_argument(f"--{name}", action=action, default=default, help=explained[name])
    rewritten, words, texts = shell_style(function, arguments)
    # The parser counts the words, and never reads them: names of files need not be text.
    counted = [json.dumps(["word"] * len(words)), *rewritten] if words else rewritten
    given = parser.instantiate(parser.parse_args(counted))
    for name, value in given.items():
        given[name] = _with_texts(value, texts)
    if (gatherer := _gatherer(function)) and words:
        given[gatherer] = words
    try:
        return function(**given)
    except (ValueError, FileNotFoundError) as error:
        if (message := in_flags(str(error), dict(given))) == str(error):
            raise
        raise ValueError(message) from error


def switches(function: Callable[..., Any]) -> dict[str, bool]:
    """The parameters of a function that are switches on a command line, with their defaults."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.annotation is bool}


def shell_style(function: Callable[..., Any], arguments: list[str]) -> Rewritten:
    """Rewrites `arguments` for the parser of a verb's `function`.

    It wants `--per_image`, `--flag`, `--model+ A --model+ B` and `"[A, B]"`. A person also writes `--per-image`,
    `--flag=false`, `--model A --model B`, and after `--` what begins with a dash and is no option. It reads YAML, in
    which `#1.png` is a comment and `null` is None: options that take a text keep theirs from it.
    """
    parameters = inspect.signature(function, eval_str=True).parameters
    flags = switches(function)
    lists = {name for name, parameter in parameters.items() if _is_list(parameter.annotation)}
    gathers = _gatherer(function) is not None
    texts = {name for name, parameter in parameters.items() if _is_text(parameter.annotation)}
    result = Rewritten([], [], [])
    rewritten, gathered, _ = result

    def hidden(name: str, value: str) -> str:
        if name not in texts:
            return value
        if not value:
            fail(f"--{name.replace('_', '-')} is empty")
        result.texts.append(value)
        return f"{_TEXT}{len(result.texts) - 1}"

    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        if argument == "--" and gathers:
            gathered += reversed(rest)
            break
        if (short := parameters.get(SHORT.get(argument, ""))) and short.default is not inspect.Parameter.empty:
            argument = f"--{SHORT[argument]}"
        if not argument.startswith("--"):
            is_word = gathers and (argument == "-" or not argument.startswith("-")) and not _is_json(argument)
            (gathered if is_word else rewritten).append(argument)
            continue
        name, given, value = underscored(argument).removeprefix("--").partition("=")
        if name in flags:
            if not given and rest and rest[-1] in ("true", "false"):
                value = rest.pop()
            if (value != "false") is not flags[name]:
                rewritten.append(f"--no-{name}" if flags[name] else f"--{name}")
        elif name in parameters and (given or rest):
            value = value if given else rest.pop()
            if value.startswith("-") and value != "-" and not given:
                rewritten += [f"--{name}", value]  # another option, or a number
            elif name in lists and not _is_json(value):
                rewritten.append(f"--{name}+={hidden(name, value)}")
            else:
                rewritten.append(f"--{name}={value if name in lists else hidden(name, value)}")
        else:
            rewritten.append(f"--{name}" if name in parameters else argument)
    return result


def _with_texts(value: Any, texts: list[str]) -> Any:
    """A parsed value with each text in its place again."""
    if isinstance(value, list):
        return [_with_texts(entry, texts) for entry in value]
    hidden = isinstance(value, str) and value.startswith(_TEXT)
    return texts[int(value.removeprefix(_TEXT))] if hidden else value


def underscored(argument: str) -> str:
    """`--per-image=3` as `--per_image=3`: the name of an option with underscores, as Python spells it; other words as
    they are."""
    name, given, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{given}{value}" if name.startswith("--") else argument


def _gatherer(function: Callable[..., Any]) -> str | None:
    """The positional parameter that is a list of words, if there is one."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    required = (parameter for parameter in parameters if parameter.default is inspect.Parameter.empty)
    return next((parameter.name for parameter in required if parameter.annotation == list[str]), None)


def _is_json(argument: str) -> bool:
    """Whether it is a list in brackets, and not the name of a file with brackets."""
    return argument.startswith("[") and argument.endswith("]") and not Path(argument).exists()


def _is_text(annotation: Any) -> bool:
    """Whether it is a text or a list of texts, or None."""
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return all(option in (str, list[str], type(None)) for option in options)


def _is_list(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_is_list(option) for option in get_args(annotation))
    return get_origin(annotation) is list
