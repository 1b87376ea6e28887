"""How many cores there are for this process, and for how long its workers live."""

import multiprocessing
import os
import threading


def cores() -> int:
    """Cores that this process may use, at least 1: those of its affinity (`taskset`, a cluster's job), not all of the
    machine's."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers(processes: int = 1) -> int:
    """How many others may prepare data for each of `processes` at work on this machine: the cores of its share but one,
    at most 8; none on one or two cores, which the work itself can use."""
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")  # of each process, where `cores` may be those of all
    share = int(given) if given.isdecimal() else cores() // processes
    return min(8, share - 1) if share > 2 else 0


def threads(processes: int) -> int:
    """Threads for each of `processes` at work at a time: `OMP_NUM_THREADS` where that is given, else an equal share of
    the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]  # a list is for nested teams
    return int(given) if given.isdecimal() and int(given) else max(1, cores() // processes)


def end_with_parent() -> None:
    """Ends this worker when the process that started it is gone, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
