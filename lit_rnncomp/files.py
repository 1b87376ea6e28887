"""Files that appear whole or not at all, and never in the place of a photograph.

A verb that writes a file whose name a person gave makes an `Output` of it before any work, and writes to that. A verb
that fills a folder asks `check_folder` first; what is in the folder, it may then write by path.

How a verb knows its own files: pictures and pages say in their first bytes that this program drew them (`wrote`).
Tables and checkpoints say nothing; they are its own where the folder is, which it knows by the file that it writes
there first.
"""

from __future__ import annotations

import errno
import io
import json
import os
import secrets
import select
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOFTWARE = "lit-rnncomp"
STDOUT = "-"
_STDOUT = frozenset({STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
TEMPORARY = ".lit-rnncomp-"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What the system says of a write that finds no room. It does not say of which file: no more does its `OSError`."""
PATIENCE = 30
"""Seconds to wait for whoever writes into a named pipe."""

# As a PNG's `Software` text, as the creator that matplotlib names in an SVG or a PDF, as a page's generator.
_MARKS = (
    f"Software\0{SOFTWARE}".encode(),
    f"<dc:title>{SOFTWARE}</dc:title>".encode(),
    f"/Creator ({SOFTWARE})".encode(),
    f'<meta name="generator" content="{SOFTWARE}">'.encode(),
)
_MARKED = (".png", ".svg", ".pdf", ".html")


class OutputError(ValueError):
    """A file that must not be written; the message is one line, names it and says the way out."""


class Output:
    """A file that a person asked for by name, checked at once, so that no work is done for a file that is then refused.

    `replacing` and `write_bytes` write it. Devices and pipes are written to, symbolic links are followed.

    Args:
        path: where to write; `-` and `/dev/stdout` are standard output.
        inputs: files that are read: none of them can be the output, not even by `force`. What is None or no file is
            passed over.
        force: replace what exists.
        own: replace what exists if this program wrote it.
        ending: what the name of a regular file must end in.

    Raises:
        OutputError: `path` has another ending, is a folder, is an input, exists, or is in a folder that is missing or
            not writable.
    """

    def __init__(
        self,
        path: str | Path,
        *inputs: str | Path | None,
        force: bool = False,
        own: bool = False,
        ending: str | None = None,
    ) -> None:
        self.path, self._inputs, self._force, self._own = path, inputs, force, own
        self.to_stdout = is_stdout(path)
        if ending and not self.to_stdout and not str(path).lower().endswith(ending) and not is_stream(path):
            raise OutputError(f"cannot write {path}: the name must end in {ending}, or be {STDOUT} for standard output")
        self.check()

    @property
    def messages(self) -> IO[str]:
        """Where a verb speaks of what it wrote: not in the middle of it."""
        return sys.stderr if self.to_stdout else sys.stdout

    def check(self) -> None:
        """Refuses what must not be written. Raises `OutputError`."""
        if self.to_stdout:
            return
        status = _status(self.path)
        if is_stream(self.path):
            return
        folder = _folder(self.path)
        if not os.access(folder, os.W_OK):
            raise OutputError(f"cannot write {self.path}: no permission to write in the folder {folder}")
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            raise OutputError(f"cannot write {self.path}: it is a folder")
        for source in self._inputs:
            if source is not None and Path(source).exists() and Path(source).samefile(self.path):
                raise OutputError(
                    f"cannot write {self.path}: it is the same file as the input {source}; choose another name"
                )
        if self._own and not wrote(self.path):
            raise OutputError(
                f"{self.path} already exists and {SOFTWARE} did not write it; remove it or choose another name"
            )
        if not self._own and not self._force:
            raise OutputError(f"{self.path} already exists; -f replaces it")


def check_folder(folder: Path, own: bool, names: Iterable[str]) -> None:
    """Refuse to fill a folder in which somebody else's file has one of the names to be written.

    Args:
        folder: may be missing.
        own: whether the folder is the verb's own: then only pictures and pages that it did not write are in the way.
        names: of files, relative to the folder.

    Raises:
        OutputError: a file is in the way.
    """
    for path in (folder / name for name in names):
        if os.path.lexists(path) and not wrote(path) and (not own or path.suffix in _MARKED):
            raise OutputError(
                f"{path} already exists and {SOFTWARE} did not write it; remove it or choose another folder"
            )


def wrote(path: str | Path) -> bool:
    """Whether this program drew the picture or wrote the page `path`."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        text = file.read(4096)
        if text.startswith(b"%PDF"):  # says at its end what made it
            text = file.read()
    return any(mark in text for mark in _MARKS)


@contextmanager
def replacing(target: str | Path | Output) -> Iterator[Path]:
    """A temporary name beside `target`; renamed to it when the block ends well, removed when it does not.

    A path is replaced whatever is there. An `Output` is checked again at the end: work takes time, and a file may have
    come into being. A symbolic link stays and what it points to is replaced; owner and mode stay those of the file that
    is replaced. What is written for a device, a pipe or standard output goes through it at the end.

    Raises:
        OSError: `target` cannot be written; the message names it, not the temporary file.
        OutputError: there is no such folder, or the `Output` exists by now.
    """
    path, to_stdout = (target.path, target.to_stdout) if isinstance(target, Output) else (target, False)
    before = None if to_stdout else _status(path)
    through = to_stdout or (before is not None and not stat.S_ISREG(before.st_mode))
    real = Path(os.path.realpath(path))
    folder = Path(tempfile.gettempdir()) if through else _folder(path)
    # Of the name only a short ending is kept, which says the format: a name may be as long as the file system allows.
    suffix = Path(path).suffix
    temporary = folder / f"{TEMPORARY}{secrets.token_hex(6)}{suffix if len(suffix) <= 16 else ''}"
    try:
        # What replaces a file, which may be private, is private until it is whole.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if before or through else 0o666))
        mode = stat.S_IMODE((before or temporary.stat()).st_mode)
        yield temporary
        if isinstance(target, Output):
            target.check()
        if through:
            _pour(temporary, 1 if to_stdout else path)
            return
        if before is not None and hasattr(os, "chown"):
            with suppress(OSError):  # only root gives files away
                os.chown(temporary, before.st_uid, before.st_gid)
        temporary.chmod(mode)
        temporary.replace(real)
    except BrokenPipeError:
        raise  # nobody reads it to the end: no reason to speak
    except OSError as error:
        if error.filename is not None and str(error.filename) not in (str(temporary), str(path)):
            raise  # it is about another file
        raise OSError(f"cannot write {'standard output' if to_stdout else path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_input(path: str | Path) -> bytes:
    """The bytes of a file that a person named, or all that comes through a pipe.

    Raises:
        ValueError: it cannot be read; or nothing comes through the pipe for `PATIENCE` seconds.
    """
    try:
        if not stat.S_ISFIFO(Path(path).stat().st_mode):
            return Path(path).read_bytes()
        # An open that blocks would wait for a writer for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:  # noqa: PTH123  # of a descriptor
            if not select.select([pipe], [], [], PATIENCE)[0]:
                raise ValueError(f"cannot read {path}: nothing came through this pipe for {PATIENCE} seconds")
            os.set_blocking(pipe.fileno(), True)
            return pipe.read()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def write_bytes(target: str | Path | Output, data: bytes) -> None:
    """Write `data` to `target` as `replacing` does, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_bytes(data)


def write_figure(target: str | Path | Output, figure: Figure, **options: Any) -> None:
    """Write a drawing of matplotlib in the format that the ending of `target` names, by way of memory too: on a full
    disk one of its formats is cut in silence, another fails in words of its own."""
    path = target.path if isinstance(target, Output) else target
    drawn = io.BytesIO()
    figure.savefig(drawn, format=Path(path).suffix.lower().removeprefix("."), **options)
    write_bytes(target, drawn.getvalue())


def write_json(path: str | Path, content: Any) -> None:
    """Writes indented JSON to `path`, whole or not at all; makes the folder if need be."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder where nobody writes now."""
    for path in folder.glob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def _pour(temporary: Path, sink: str | Path | int) -> None:
    with temporary.open("rb") as whole, open(sink, "wb", closefd=not isinstance(sink, int)) as stream:
        shutil.copyfileobj(whole, stream)


def _folder(path: str | Path) -> Path:
    """In which the file that `path` leads to is or will be. Raises `OutputError` when it is missing."""
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        raise OutputError(
            f"cannot write {path}: there is no folder {(real if Path(path).is_symlink() else Path(path)).parent}"
        )
    return real.parent


def _status(path: str | Path) -> os.stat_result | None:
    """Of the file that `path` leads to; None when there is none yet."""
    try:
        return Path(path).stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def is_stdout(path: str | Path) -> bool:
    """Whether this is a name of standard output."""
    return str(path) in _STDOUT


def is_stream(path: str | Path) -> bool:
    """Whether it is a character device, a pipe or a socket, which hold nothing that could be destroyed; a disk does."""
    status = _status(path)
    return status is not None and any(kind(status.st_mode) for kind in (stat.S_ISCHR, stat.S_ISFIFO, stat.S_ISSOCK))


def printable(name: str) -> str:
    """A name that can be printed and written as UTF-8: bytes of a file's name that are none are spelt `\\udcXX`."""
    return name.encode(errors="backslashreplace").decode()
