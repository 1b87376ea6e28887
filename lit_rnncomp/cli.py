"""`lit-rnncomp VERB ...`: finds the verb's function and imports nothing else, so that `--help` answers at once."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from . import extras
from .advice import fail, meant
from .arguments import call, underscored
from .files import NO_ROOM

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
    "compare": ("lit_rnncomp.evaluation.compare:compare", "codecs side by side at equal bytes"),
    "report": ("lit_rnncomp.evaluation.report:report", "write a page with curves and a progressive viewer"),
    "demo": ("lit_rnncomp.demo.serve:demo", "show a page that codes a photograph, beside JPEG and WebP"),
    "data mine": ("lit_rnncomp.data.mine:mine", "cut photographs into shards of hard tiles"),
    "sweep run": ("lit_rnncomp.sweep.run:run", "run a W&B sweep file on this machine, without a server"),
    "sweep best": ("lit_rnncomp.sweep.best:best", "name and export the best run of a sweep"),
    "rehearse": (
        "lit_rnncomp.rehearsal.rehearse:rehearse",
        "try the kernels and every recipe on this machine's GPUs, in ten minutes",
    ),
    "fit": ("lit_rnncomp.training.cli:main", "train a codec"),
    "validate": ("lit_rnncomp.training.cli:main", "measure a checkpoint on the validation pictures"),
    "test": ("lit_rnncomp.training.cli:main", "measure a checkpoint on the test pictures"),
    "predict": ("lit_rnncomp.training.cli:main", "run a checkpoint over pictures"),
}


def main(args: list[str] | None = None) -> None:
    """Runs one verb. Bad input of any kind ends with one line on standard error and exit code 2."""
    if sys.stdout is None:  # closed, as some that start programs in the background leave it
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name need not be text: in UTF-8 its bytes come out as they came in.
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "backslashreplace")
    try:
        try:
            _main(sys.argv[1:] if args is None else args)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who read it has had enough, as `head` has
        _discard_output()
        sys.exit(1)
    except OSError as error:
        _discard_output()
        fail(f"cannot write standard output: {error.strerror or error}")


def _discard_output() -> None:
    """Python's own flush at the end must not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _main(arguments: list[str]) -> None:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"lit-rnncomp {version('lit-rnncomp')}")
        return
    words = 2 if " ".join(arguments[:2]) in VERBS else 1
    verb, rest = " ".join(arguments[:words]), arguments[words:]
    if verb not in VERBS:
        fail(_no_verb(arguments))
    _guard(verb, lambda: _run(verb, rest))


def _run(verb: str, arguments: list[str]) -> None:
    module, name = VERBS[verb][0].split(":")
    function = getattr(importlib.import_module(module), name)
    if module == "lit_rnncomp.training.cli":
        sys.argv[1:] = [verb, *map(underscored, arguments)]
        function()
    else:
        call(function, arguments, f"lit-rnncomp {verb}")


def _guard(verb: str, run: Callable[[], None]) -> None:
    warnings.showwarning = lambda message, *rest: print(f"warning: {message}", file=sys.stderr)
    try:
        run()
    except BrokenPipeError:
        raise
    except ModuleNotFoundError as error:
        if (advice := extras.advice(verb, error)) is None:
            raise
        fail(advice)
    except OSError as error:
        if error.errno in NO_ROOM and not error.filename:
            raise  # what has no name is standard output
        fail(" ".join(str(error).split()))
    except (ValueError, FloatingPointError) as error:
        fail(" ".join(str(error).split()))
    except (MemoryError, RuntimeError) as error:
        if not _of_memory(error):
            raise
        fail("out of memory: a smaller picture, fewer pictures at a time, or a machine with more memory will do")
    except KeyboardInterrupt:
        sys.exit(130)


def _of_memory(error: Exception) -> bool:
    """Whether NumPy, Python or torch found no memory; of the last, the CPU's allocator says it in words alone."""
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or "OutOfMemoryError" in text or "can't allocate memory" in text


def _no_verb(arguments: list[str]) -> str:
    """What to say of a command line whose first words are no verb."""
    if group := [verb for verb in VERBS if verb.startswith(f"{arguments[0]} ")]:
        said = " ".join(arguments[:2]) if arguments[1:] and not arguments[1].startswith("-") else arguments[0]
        return f"{said} is no verb; its verbs are {', '.join(group)}"
    guess = meant(arguments[0], VERBS) or f"; the verbs are {', '.join(VERBS)}"
    return f"there is no verb {arguments[0]!r}{guess}"


def _usage() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
    return "usage: lit-rnncomp VERB [options]      (lit-rnncomp VERB --help says more)\n\nverbs:\n" + "\n".join(lines)
