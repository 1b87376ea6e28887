"""One trial: a training run in a process of its own, watched through the files of its folder."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import leash
from .definition import Scalar, Sweep

METRICS = "metrics.csv"
TRIAL = "LIT_RNNCOMP_TRIAL"  # set in the environment of a trial: its number
_LOG = "output.txt"


def logger_arguments(folder: Path) -> list[str]:
    """Arguments of `lit-rnncomp fit` that make it log to `folder`/metrics.csv and keep its checkpoints there."""
    return [
        "--trainer.logger=CSVLogger",
        f"--trainer.logger.init_args.save_dir={folder}",
        "--trainer.logger.init_args.name=",
        "--trainer.logger.init_args.version=",
        "--trainer.logger.init_args.flush_logs_every_n_steps=1",
    ]


@contextmanager
def metrics_kept(folder: Path, verb: str = "fit") -> Iterator[None]:
    """While a verb runs in `folder`, what earlier starts logged is `metrics-001.csv` and so on: a new CSVLogger would
    delete it. Where this start logs nothing, it has its name again; and where it only measures: what that logs becomes
    `validate-001.csv` and so on."""
    metrics = folder / METRICS
    if not metrics.exists():
        yield
        return
    kept = metrics.rename(_free(folder, "metrics"))
    try:
        yield
    finally:
        if verb != "fit" and metrics.exists():
            metrics.rename(_free(folder, verb))
        if not metrics.exists():
            kept.rename(metrics)


def _free(folder: Path, stem: str) -> Path:
    """The next `STEM-NNN.csv` in `folder`."""
    numbers = (path.stem.removeprefix(f"{stem}-") for path in folder.glob(f"{stem}-*.csv"))
    return folder / f"{stem}-{max((int(number) for number in numbers if number.isdecimal()), default=0) + 1:03}.csv"


def read_metric(folder: Path, metric: str) -> list[float]:
    """The values of a metric logged so far, by training step; none while there is no file or no such column.

    A run that was interrupted left `metrics-001.csv`, ... behind; of a step logged twice the later value counts.
    """
    values: dict[int, float] = {}
    for path in (*sorted(folder.glob("metrics-*.csv")), folder / METRICS):
        try:
            with path.open(newline="") as file:
                values.update({int(row["step"]): float(row[metric]) for row in csv.DictReader(file) if row.get(metric)})
        except (FileNotFoundError, KeyError, ValueError):
            continue  # not begun, or being rewritten right now
    return [values[step] for step in sorted(values)]


def best_checkpoint(folder: Path, name: str = "best") -> Path | None:
    """The checkpoint of a run that its training kept as best: `best.ckpt`, or another `name`."""
    found = folder / "checkpoints" / f"{name}.ckpt"
    return found if found.is_file() else None


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, if the run has been here before."""
    found = sorted(folder.glob("checkpoints/last*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else None


class TrialProcess:
    """The process of a trial; it ends with this object's process, however that ends.

    Args:
        sweep: gives the command.
        values: the parameters of the trial.
        folder: of the trial. A checkpoint there is resumed from.
        threads: cores the trial may use.
        device: what `CUDA_VISIBLE_DEVICES` is set to; None leaves it.
        inherit: open file descriptors that the trial keeps open as long as it lives.
    """

    def __init__(
        self,
        sweep: Sweep,
        values: Mapping[str, Scalar],
        folder: Path,
        threads: int,
        device: str | None = None,
        inherit: tuple[int, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.metric, self._seen = folder, sweep.metric, 0
        self._kept = ExitStack()
        self._kept.enter_context(metrics_kept(folder))
        extra = logger_arguments(folder)
        if (checkpoint := last_checkpoint(folder)) is not None:
            extra.append(f"--ckpt_path={checkpoint}")
        self.command = sweep.command_line(values, extra)
        environment = dict(
            os.environ, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        )
        environment.update({TRIAL: folder.name, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)})
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        with (folder / _LOG).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, leash.__file__, *self.command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=inherit,
            )

    def exit_code(self) -> int | None:
        """The exit status, or None while it runs."""
        return self.process.poll()

    def values(self) -> list[float]:
        """The values of the sweep's metric that were logged so far."""
        return read_metric(self.folder, self.metric)

    def logged_more(self) -> bool:
        """Whether the metrics file was written since the last call."""
        try:
            now = (self.folder / METRICS).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        before, self._seen = self._seen, now
        return now != before

    def stop(self) -> None:
        """Asks the trial to save and end; kills it when it has not after half a minute."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Waits for the end; returns the exit status."""
        code = self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._kept.close()
        return code

    def last_words(self) -> str:
        """The last line of the output: why a trial failed."""
        lines = (self.folder / _LOG).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"
