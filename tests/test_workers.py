"""Processes that `--workers` starts end with the one that started them, also where that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from lit_rnncomp.{module} import {start}

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), initializer={start}, initargs={arguments})
    pids = set()
    while len(pids) < 2:
        pids |= {{future.result() for future in [pool.submit(os.getpid) for _ in range(20)]}}
    print(*pids, flush=True)
    time.sleep(120)
"""


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a process that nobody waits for has ended, but is still listed
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize(
    ("module", "start", "arguments"),
    [
        ("codec.batch", "_begin", "()"),
        ("evaluation.tasks", "_start_worker", "(2,)"),
        ("data.jobs", "end_with_parent", "()"),
    ],
    ids=["encode", "evaluate", "mine"],
)
def test_workers_end_with_who_started_them(tmp_path, module, start, arguments):
    script = tmp_path / "start.py"
    script.write_text(SCRIPT.format(module=module, start=start, arguments=arguments))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2 and all(map(running, pids))
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(map(running, pids)):
        assert time.monotonic() < deadline, "workers stay"
        time.sleep(0.1)
