"""What a person writes after `lit-rnncomp fit`, in the words of Lightning's parser."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path

from .compressors import Compressor
from .entropy import EntropyModel
from .ternary_decoder import TernaryDecoder
from .ternary_entropy import TernaryEntropyModel

_OPTION = r"--model(?:\.class_path)?"


def prepared(arguments: Sequence[str]) -> list[str]:
    """The arguments of `fit`, `validate`, `test` and `predict` as the parser reads them.

    `--x=None`, which an agent of Weights & Biases writes for a null, becomes `--x=null`; `--model NAME --help` is the
    help of that model.

    Raises:
        ValueError: there is no such model; the message has the names of those that there are.
    """
    words = [re.sub(r"^(--[\w.+]+)=None$", r"\1=null", word) for word in arguments]
    name = last_value(words, _OPTION)
    if name is not None and re.fullmatch(r"[A-Za-z_][\w.]*", name) and not Path(name).exists():
        _check_model(name)
        if words and {"-h", "--help"} & set(words):
            return [words[0], f"--model.help={name}"]
    return words


def last_value(words: Sequence[str], option: str) -> str | None:
    """The last value of an option, given as `--option VALUE` or `--option=VALUE`."""
    found = None
    for word, following in zip(words, [*words[1:], None], strict=True):
        if match := re.fullmatch(rf"{option}(?:=(.*))?", word, re.DOTALL):
            found = following if match[1] is None else match[1]
    return found


def _check_model(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    names = [
        kind.__name__ for kind in (*Compressor.__subclasses__(), EntropyModel, TernaryEntropyModel, TernaryDecoder)
    ]
    known = f"there are {', '.join(names)}, and any LightningModule of your own as module.Class"
    if not module:
        if name not in names:
            raise ValueError(f"there is no model {name!r}: {known}")
        return
    try:
        found = hasattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise ValueError(f"cannot import the model {name}: {error}; {known}") from error
    if not found:
        raise ValueError(f"there is no model {name}: the module {module} has no {attribute}; {known}")
