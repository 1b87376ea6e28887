"""SIGTERM, as a cluster sends it before it takes a machine back."""

from __future__ import annotations

import signal
import threading
from typing import Any, NoReturn

import lightning as L

EXIT_CODE = 128 + signal.SIGTERM


class Termination:
    """Remembers that SIGTERM came, for the run to end between two steps.

    (Lightning's own handler broadcasts inside the signal handler, amid whatever the other processes are exchanging, and ends with exit
    code 0, as if the run were done.)
    """

    def __init__(self) -> None:
        self._came = False

    def listen(self) -> None:
        """From here on the signal is only remembered. Lightning puts the former handler back when the run ends."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, *_: Any) -> None:
        self._came = True

    def asked(self, trainer: L.Trainer) -> bool:
        """Whether any process was asked to end. All processes must ask this at the same place."""
        return trainer.strategy.reduce_boolean_decision(self._came, all=False)

    def end(self, trainer: L.Trainer) -> NoReturn:
        """Ends the process: the first with exit code 143, for whoever started it; the others without a complaint."""
        raise SystemExit(EXIT_CODE if trainer.is_global_zero else 0)
