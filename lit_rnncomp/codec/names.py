"""Which files a command line means: inputs, folders of them, and what is written for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..files import STDOUT, OutputError, is_stream

ENDING = ".rnnc"


class Pair(NamedTuple):
    """A file to read and the one to write for it; `-` is standard input or output."""

    source: str
    target: str


class Plan(NamedTuple):
    """The files of a command. Of `many`, one that fails does not stop the rest."""

    pairs: list[Pair]
    many: bool


def encoding(names: list[str], out: str | None) -> Plan:
    """The files of `encode`: pictures to `.rnnc`; see `_plan`.

    The last of several names is the output when it alone ends in `.rnnc`, or is `-`, a pipe or a device.
    """
    last, coded = names[-1], [name for name in names if _coded(name)]
    if len(coded) > 1:
        raise OutputError(f"encode reads pictures and writes one file that ends in {ENDING}, not {', '.join(coded)}")
    if out is None and len(names) > 1:
        if coded == [last] or last == STDOUT or (len(names) == 2 and is_stream(last)):
            return _plan(names[:-1], last, ENDING, _pictures, folder=False)
        if len(names) == 2 and not Path(last).exists():
            raise OutputError(f"cannot write {last}: the name must end in {ENDING}, or be {STDOUT} for standard output")
    return _plan(names, out, ENDING, _pictures)


def decoding(names: list[str], out: str | None, ending: str) -> Plan:
    """The files of `decode`: `.rnnc` to pictures whose names end in `ending`; see `_plan`.

    The last of two names is the output unless it ends in `.rnnc`, too, or is a folder.
    """
    if out is None and len(names) == 2 and not _coded(names[-1]) and not Path(names[-1]).is_dir():
        return _plan(names[:1], names[-1], ending, _files, folder=False)
    return _plan(names, out, ending, _files)


def _plan(
    names: list[str], out: str | None, ending: str, members: Callable[[Path], list[Path]], folder: bool = True
) -> Plan:
    """What to write for each input: beside it, with another ending; or the file `out`; or in the folder `out`, which
    keeps the folders within a folder (where `out` may be a folder).

    Raises `OutputError` when two inputs would write one file, an output is another input, or `out` is no folder and
    there are several inputs; `ValueError` for a folder without inputs.
    """
    many = len(names) > 1 or Path(names[0]).is_dir()
    folder = folder and out is not None and (Path(out).is_dir() or out.endswith(("/", os.sep)))
    if not many:
        (source,) = names
        if source == STDOUT:
            if folder:
                raise OutputError(f"cannot write {out}: what comes from standard input needs the name of a file")
            return Plan([Pair(source, out or STDOUT)], False)
        if out is None or folder:
            path = Path(source) if out is None else Path(out) / Path(source).name
            return Plan([Pair(source, _renamed(path, ending))], False)
        return Plan([Pair(source, out)], False)
    if STDOUT in names:
        raise ValueError(f"{STDOUT} (standard input) cannot be one of several inputs")
    if out is not None and not folder and (out == STDOUT or Path(out).exists() or Path(out).suffix):
        what = "several inputs" if len(names) > 1 else f"the folder {names[0]}"
        raise OutputError(f"cannot write {out}: the output of {what} is a folder (-o FOLDER)")
    pairs = [
        Pair(str(source), _renamed(source if out is None else Path(out) / relative, ending))
        for name in names
        for source, relative in _inputs(name, members)
    ]
    _check(pairs)
    return Plan(pairs, True)


def _inputs(name: str, members: Callable[[Path], list[Path]]) -> Iterator[tuple[Path, Path]]:
    """A file and its name, or the files of a folder and their places in it."""
    path = Path(name)
    if not path.is_dir():
        yield path, Path(path.name)
        return
    found = members(path)
    if not found:
        raise ValueError(_nothing(path))
    yield from ((file, file.relative_to(path)) for file in found)


def _nothing(folder: Path) -> str:
    """Of a folder without inputs: what is there instead."""
    endings = {path.suffix.lower() or "no ending" for path in folder.rglob("*") if path.is_file()}
    there = f"; its files end in {', '.join(sorted(endings)[:8])}" if endings else ": it is empty"
    return f"the folder {folder} holds nothing to read{there}"


def _check(pairs: list[Pair]) -> None:
    sources = {os.path.realpath(pair.source): pair.source for pair in pairs}
    written: dict[str, str] = {}
    for source, target in pairs:
        real = os.path.normcase(os.path.realpath(target))
        if real in written:
            raise OutputError(
                f"cannot write {target} twice, for {written[real]} and for {source}: give each a name of its own"
            )
        if real in sources:
            raise OutputError(f"cannot write {target}: it is the same file as the input {sources[real]}")
        written[real] = source


def _renamed(path: Path, ending: str) -> str:
    from PIL import Image

    known = path.suffix.lower() in Image.registered_extensions() or _coded(path.name)
    return str(path.with_suffix(ending) if known else path.with_name(path.name + ending))


def _coded(name: str) -> bool:
    return name.lower().endswith(ENDING)


def _pictures(folder: Path) -> list[Path]:
    from ..images import list_images

    return list_images(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _coded(path.name) and path.is_file())
