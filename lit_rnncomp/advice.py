"""What a mistyped command line meant, and messages of the Python interface in the words of the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def fail(message: str) -> NoReturn:
    """Ends the process with one line on standard error and exit code 2."""
    print(f"lit-rnncomp: error: {message}", file=sys.stderr)
    sys.exit(2)


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean encode?` where a known word is like `word`, and nothing where none is."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def in_flags(message: str, given: Mapping[str, Any]) -> str:
    """A message that names Python's arguments, `max_bytes=0 is ...`, with a verb's flags: `--bytes 0 is ...`.

    `given`: the verb's options and their values, of which texts stay as they are: a file may be called `bpp=1.png`.
    """
    values = [value for entry in given.values() for value in (entry if isinstance(entry, list) else [entry])]
    texts = [re.escape(str(value)) for value in values if isinstance(value, str | Path) and "=" in str(value)]
    parts = re.split(f"({'|'.join(sorted(texts, key=len, reverse=True))})", message) if texts else [message]
    for at in range(0, len(parts), 2):
        part = re.sub(r"\bmax_bytes=", "bytes=", parts[at])
        for name in given:
            flag = f"--{name.replace('_', '-')}"
            part = re.sub(rf"(?<![\w-]){name}=True\b", flag, part)
            part = re.sub(rf"(?<![\w-]){name}=(?=\S)", f"{flag} ", part)
        parts[at] = part
    return "".join(parts)


def of_parser(message: str, flags: Iterable[str]) -> str:
    """One line for what jsonargparse says of a wrong command line in many.

    `flags`: what the verb knows, for words that are like one.
    """
    lines = message.splitlines()
    if lines[0].startswith("unrecognized arguments: --"):
        word = lines[0].split()[2].partition("=")[0]
        return f"{lines[0]}{meant(word, flags)}"
    option = re.match(r'Parser key "(\w+)":', message)
    given = re.search(r"(?:^\s*Given|Got) value: (.*)$", message, re.MULTILINE)
    if option is None or given is None:
        return " ".join(message.split())
    wanted = dict.fromkeys(re.findall(r"Expected an? (.+?)(?:\. Got value: .*)?$", message, re.MULTILINE))
    kinds = [kind for kind in map(_kind, wanted) if kind]
    return f"--{option[1].replace('_', '-')} {given[1]}: not {' or '.join(kinds) or 'a value that it takes'}"


def _kind(expected: str) -> str:
    """`a number` for `<class 'float'>`, `one of a, b` for a literal, nothing for None."""
    if options := re.search(r"Literal\[(.*)\]", expected):
        return f"one of {options[1].replace(chr(39), '')}"
    name = re.search(r"class '(\w+)'", expected)
    return _KINDS.get(name[1], "") if name else ""
