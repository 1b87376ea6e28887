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
    help of that model; without a model, that of `--ckpt_path` is meant.

    Raises:
        ValueError: there is no such model; the message has the names of those that there are.
    """
    words = [re.sub(r"^(--[\w.+]+)=None$", r"\1=null", word) for word in arguments]
    name = _value(words, _OPTION)
    if name is not None and re.fullmatch(r"[A-Za-z_][\w.]*", name) and not Path(name).exists():
        _check_model(name)
        if words and {"-h", "--help"} & set(words):
            return [words[0], f"--model.help={name}"]
    checkpoint = _value(words, "--ckpt_path")
    if name is None and words[:1] != ["fit"] and not any(word.startswith("--config") for word in words):
        kind = None if checkpoint is None or not Path(checkpoint).is_file() else _model_of(checkpoint)
        words += [] if kind is None else [f"--model={kind}"]
    return words


def model_options(words: Sequence[str]) -> list[str]:
    """Where a parsed command keeps the options of the model that these words give: `--model.lr=1` and
    `--model.init_args.lr=1` are `model.init_args.lr`."""
    named = (re.match(r"--model\.(?:init_args\.)?([\w.]+)", word) for word in words)
    return [f"model.init_args.{match[1]}" for match in named if match and match[1] != "class_path"]


def _value(words: Sequence[str], option: str) -> str | None:
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


def _model_of(checkpoint: str) -> str | None:
    """The class that a checkpoint of `fit` is of, None where it does not say."""
    import torch

    try:
        options = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True).get("hyper_parameters", {})
    except (OSError, RuntimeError, ValueError, EOFError, AttributeError):
        return None  # Lightning says what is wrong with it
    kind = options.get("_class_path")
    return kind if isinstance(kind, str) else None
