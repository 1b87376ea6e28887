"""Many starts of `lit-rnncomp fit` for the price of one import: each is a process of its own, forked from one that has
only imported.

Run as a script this is the process that forks; it reads requests from standard input and writes answers, a JSON line
each.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


class Start:
    """One `lit-rnncomp fit`, in a session of its own."""

    def __init__(self, server: "Starts", pid: int, log: Path) -> None:
        self._server, self.pid, self._log = server, pid, log
        self._code: int | None = None

    def exit_code(self) -> int | None:
        """The exit status (minus the signal, where one ended it), or None while it runs."""
        if self._code is None:
            self._code = self._server.ask(poll=self.pid)
        return self._code

    def wait(self, seconds: float = 600) -> int:
        end = time.monotonic() + seconds
        while (code := self.exit_code()) is None:
            assert time.monotonic() < end, f"still running after {seconds} s:\n{self.output()}"
            time.sleep(0.02)
        return code

    def send(self, signum: int, group: bool = False) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, signum)

    def output(self) -> str:
        return self._log.read_text()


class Starts:
    """Starts processes of `lit-rnncomp` with arguments, in a folder; all of them end with this."""

    def __init__(self) -> None:
        # Not the W&B service of this process, which a test may have started: it outlives a start and holds its run.
        environment = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **request: object):
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __call__(self, folder: Path, *arguments: object, **environment: object) -> Start:
        log = folder / f"output-{len(list(folder.glob('output-*')))}.txt"
        log.touch()
        values = {"WANDB_MODE": "offline", **{name: str(value) for name, value in environment.items()}}
        pid = self.ask(
            folder=str(folder), log=str(log), arguments=[str(argument) for argument in arguments], environment=values
        )
        return Start(self, pid, log)

    def close(self) -> None:
        self._process.communicate(timeout=60)


def together(starts: Starts, processes: int, folder: Path, *arguments: object, **environment: object) -> list[Start]:
    """One start of several processes that know of each other, as torchrun starts them, the first of them first; of one
    process alone, as a person does."""
    if processes == 1:
        return [starts(folder, *arguments, **environment)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes, "NODE_RANK": 0, **environment}
    return [starts(folder, *arguments, **world, LOCAL_RANK=rank, RANK=rank) for rank in range(processes)]


def serve() -> list[str]:
    """Answers requests; returns the arguments of the command in the process that is to run it."""
    answers, running = os.dup(1), set()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            done, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if done else None
            running -= {done}
        else:
            answer = os.fork()
            if not answer:
                os.setsid()
                os.chdir(request["folder"])
                os.environ.update(request["environment"])
                for number, name, mode in ((0, os.devnull, os.O_RDONLY), (1, request["log"], os.O_WRONLY | os.O_CREAT)):
                    os.dup2(os.open(name, mode), number)
                os.dup2(1, 2)
                os.close(answers)
                return request["arguments"]
            running.add(answer)
        os.write(answers, (json.dumps(answer) + "\n").encode())
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    sys.exit()


if __name__ == "__main__":
    import lit_rnncomp.training.cli  # noqa: F401  # what takes seconds
    from lit_rnncomp.cli import main

    sys.argv = ["lit-rnncomp", *serve()]
    main()
