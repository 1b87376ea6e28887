"""`python leash.py COMMAND ...`: runs a command that ends when whoever started it is gone, even if that was killed.

Standard input is the leash: a pipe that nobody writes to and that closes with its owner. SIGTERM is passed on, and the
exit status is the command's.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE = 30.0  # seconds between SIGTERM and SIGKILL, for a checkpoint to be written


def main(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
            killer = threading.Timer(GRACE, _kill, [child.pid])
            killer.daemon = True
            killer.start()

    def watch() -> None:
        os.read(0, 1)
        end()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
