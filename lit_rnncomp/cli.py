"""`lit-rnncomp VERB ...`: finds the verb's function and imports nothing else, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterable

from . import extras
from .arguments import call, did_you_mean, underscored

VERBS: dict[str, tuple[str, str]] = {
    "encode": ("lit_rnncomp.codec.cli:encode", "compress a picture to an .rnnc file"),
    "decode": ("lit_rnncomp.codec.cli:decode", "turn an .rnnc file back into a picture"),
    "info": ("lit_rnncomp.codec.info:info", "say what an .rnnc file holds"),
    "truncate": ("lit_rnncomp.codec.cli:truncate", "cut an .rnnc file to a lower rate, without encoding again"),
    "export": ("lit_rnncomp.codec.cli:export", "write a checkpoint's codec as safetensors"),
    "models": ("lit_rnncomp.evaluation.catalog:models", "list the models that ship"),
    "bench": ("lit_rnncomp.codec.bench:bench", "say where the seconds of encoding and decoding a picture go"),
    "evaluate": (
        "lit_rnncomp.evaluation.evaluate:evaluate",
        "measure models and classical codecs on a folder of pictures",
    ),
    "plot": ("lit_rnncomp.evaluation.plot:plot", "draw rate-distortion curves of results"),
    "bdrate": ("lit_rnncomp.evaluation.bdrate:bdrate", "the average rate difference between two codecs"),
    "compare": ("lit_rnncomp.evaluation.compare:compare", "two codecs side by side at equal bytes"),
    "report": ("lit_rnncomp.evaluation.report:report", "write a page with curves and a progressive viewer"),
    "data mine": ("lit_rnncomp.data.mine:mine", "cut photographs into shards of hard tiles"),
    "sweep run": ("lit_rnncomp.sweep.run:run", "run a W&B sweep file on this machine, without a server"),
    "sweep best": ("lit_rnncomp.sweep.best:best", "name and export the best run of a sweep"),
    "fit": ("lit_rnncomp.training.cli:main", "train a codec"),
    "validate": ("lit_rnncomp.training.cli:main", "measure a checkpoint on the validation pictures"),
    "test": ("lit_rnncomp.training.cli:main", "measure a checkpoint on the test pictures"),
    "predict": ("lit_rnncomp.training.cli:main", "run a checkpoint over pictures"),
}


def main(args: list[str] | None = None) -> None:
    """Runs one verb. Bad input of any kind ends with one line on standard error and exit code 2."""
    arguments = sys.argv[1:] if args is None else args
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be text
            stream.reconfigure(errors="backslashreplace")
    _guard(lambda: _main(arguments))


def _main(arguments: list[str]) -> None:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(VERBS))
        return
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"lit-rnncomp {version('lit-rnncomp')}")
        return
    words = 2 if " ".join(arguments[:2]) in VERBS else 1
    verb, rest = " ".join(arguments[:words]), arguments[words:]
    if verb in VERBS:
        _run(verb, rest)
        return
    if group := [name for name in VERBS if name.startswith(f"{verb} ")]:
        if rest in ([], ["-h"], ["--help"]):
            print(_usage(group))
            return
        verb = " ".join([verb, rest[0]])
    known = group or VERBS
    suggestion = did_you_mean(verb, {name: name for name in known}) or f"; the verbs are {', '.join(known)}"
    _fail(f"there is no verb {verb!r}{suggestion}")


def _run(verb: str, arguments: list[str]) -> None:
    try:
        _call(verb, arguments)
    except ModuleNotFoundError as error:
        if (advice := extras.advice(verb, error)) is None:
            raise
        _fail(advice)


def _call(verb: str, arguments: list[str]) -> None:
    module, name = VERBS[verb][0].split(":")
    function = getattr(importlib.import_module(module), name)
    if module == "lit_rnncomp.training.cli":
        sys.argv[1:] = [verb, *map(underscored, arguments)]
        function()
    else:
        call(function, arguments, f"lit-rnncomp {verb}")


def _guard(run: Callable[[], None]) -> None:
    warnings.showwarning = lambda message, *rest: print(f"warning: {message}", file=sys.stderr)
    try:
        run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough, as `| head` has; what Python would still write at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)  # as a shell says of a process that SIGPIPE ended
    except (ValueError, OSError, FloatingPointError) as error:
        _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"lit-rnncomp: error: {message}", file=sys.stderr)
    sys.exit(2)


def _usage(verbs: Iterable[str]) -> str:
    width = max(map(len, verbs))
    lines = [f"  {verb:<{width}}  {VERBS[verb][1]}" for verb in verbs]
    return "usage: lit-rnncomp VERB [options]      (lit-rnncomp VERB --help says more)\n\nverbs:\n" + "\n".join(lines)
