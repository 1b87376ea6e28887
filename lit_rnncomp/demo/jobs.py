"""One computation at a time, of which the newest takes the place of all others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")

SECONDS = 120.0
"""After so many a computation is given up."""

_PATIENCE = 0.2
"""Seconds between two reports of how far a computation is."""


class Superseded(Exception):
    """Something newer was asked for, or nobody waits any longer."""


class TooLong(ValueError):
    """A computation took longer than `SECONDS`."""


class Job:
    """A computation: it calls `check` or `progress` often, which raise where it is to end."""

    def __init__(self) -> None:
        self.wanted = True
        self.done = 0.0
        self._until = time.monotonic() + SECONDS

    def check(self) -> None:
        """Raises `Superseded`, `TooLong`."""
        if not self.wanted:
            raise Superseded
        if time.monotonic() > self._until:
            raise TooLong(f"it took longer than {SECONDS:.0f} seconds: a smaller photograph will do")

    def progress(self, done: int, total: int) -> None:
        """Of the step that is being computed, `done` of `total`. Raises as `check` does."""
        self.check()
        self.done = done / total


class Jobs:
    """A thread for computations, since NumPy and Pillow let the server answer meanwhile."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "computation")
        self._newest: Job | None = None

    def stop(self) -> None:
        """Ends the running computation at its next check."""
        if self._newest is not None:
            self._newest.wanted = False

    async def result(self, work: Callable[[], T]) -> T:
        """What `work` returns. Raises what it raises, and `Superseded`."""

        def steps(job: Job) -> Iterator[T]:
            job.check()
            yield work()

        async with aclosing(self.steps(steps)) as found:
            async for step in found:
                if not isinstance(step, float):
                    return step
        raise Superseded

    async def steps(self, work: Callable[[Job], Iterator[T]]) -> AsyncGenerator[T | float, None]:
        """What `work` yields, and in between, from 0 to 1, how much of the next step is done. Raises as `result`."""
        self.stop()
        job = self._newest = Job()
        iterator, end = work(job), object()
        try:
            while True:
                step = asyncio.get_running_loop().run_in_executor(self._thread, next, iterator, end)
                step.add_done_callback(_seen)
                while not (await asyncio.wait({step}, timeout=_PATIENCE))[0]:
                    yield job.done
                value = await step
                if value is end:
                    return
                yield value  # type: ignore[misc]  # not the end
                job.done = 0.0
        finally:
            job.wanted = False


def _seen(step: asyncio.Future[object]) -> None:
    """Looks at the error of a step that nobody waits for any longer, or asyncio would speak of it."""
    if not step.cancelled():
        step.exception()
