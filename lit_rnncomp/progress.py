"""A bar for what takes long, and silence for what does not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

Progress = Callable[[int, int], None]
"""Called with how much is done, and of how much."""

PATIENCE = 2.0
"""Seconds that pass without a bar."""


def silent(done: int, total: int) -> None:
    """The progress that nobody watches."""


class Bar:
    """A progress bar on standard error, where that is a terminal; it shows from two seconds on and leaves no trace."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bar: Any = None
        self._start = time.monotonic() if sys.stderr.isatty() else float("inf")

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            if time.monotonic() - self._start < PATIENCE:
                return
            self._bar = self._shown()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _shown(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        # What a verb prints goes above the bar, but never from a file or a pipe to the terminal.
        console = Console(stderr=True, emoji=False)
        bar = Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty())
        bar.add_task(self._text, total=None)
        bar.start()
        return bar
