"""`lit-rnncomp sweep run`: draws trials with Optuna, runs some at a time, stops the hopeless, survives being killed.

A study is a folder: `study.db` (SQLite) knows every trial, `trials/0007/` holds the run of one. A trial that was
running when the sweep was killed still is in the study, and is run on from its last checkpoint.
"""

import os
import sqlite3
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..files import check_folder
from ..machine import threads
from .definition import Choice, Sweep, SweepError, finite, grid_values
from .trials import TrialProcess

if TYPE_CHECKING:
    import optuna

POLL = 0.2  # seconds


class Outcome(NamedTuple):
    """A finished trial: `state` is complete, pruned or failed; `value` the last one of the metric, if any; `error` why
    it failed."""

    number: int
    state: str
    value: float | None
    parameters: dict[str, Any]
    folder: str
    error: str | None


def load_optuna() -> Any:
    """Imports Optuna, quiet. Raises `SweepError` that says how to install it."""
    try:
        import optuna
    except ImportError:
        raise SweepError("sweeps without a server need the package optuna: pip install 'lit-rnncomp[sweeps]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def storage_of(folder: Path) -> Any:
    """The database `study.db` in a folder of any name. Raises `SweepError` when Optuna is missing.

    The URL does not name the folder: in one, `?`, `#` and `%` mean something, and `{` does to Optuna.
    """
    path = folder.resolve() / "study.db"
    connection = {"creator": lambda: sqlite3.connect(path, check_same_thread=False)}
    return load_optuna().storages.RDBStorage("sqlite:///study.db", engine_kwargs=connection)


class Study:
    """The trials of a sweep in a folder, new or continued.

    Args:
        sweep: what to try.
        folder: where the study is kept.
        seed: of what is drawn; trial n depends on the seed, n and the results known then.

    Raises:
        SweepError: the folder holds the study of another sweep, or Optuna is missing.
        OutputError: it holds a `study.db` or `trials` of another origin.
    """

    def __init__(self, sweep: Sweep, folder: Path, seed: int = 0) -> None:
        self.sweep, self.folder, self.seed = sweep, folder, seed
        self.optuna = load_optuna()
        check_folder(folder, is_study(folder / "study.db"), ["study.db", "trials"])
        folder.mkdir(parents=True, exist_ok=True)
        self.study = self.optuna.create_study(
            study_name="sweep",
            storage=storage_of(folder),
            direction=sweep.goal,
            pruner=self._pruner(),
            load_if_exists=True,
        )
        definition = repr(sweep)
        begun = None if self.study.get_trials(deepcopy=False) else definition
        if self.study.user_attrs.get("sweep", begun) != definition:
            raise SweepError(
                f"{folder} holds a study of another sweep (or this one has changed); name another folder with --out"
            )
        self.study.set_user_attr("sweep", definition)
        self.study.set_user_attr("metric", sweep.metric)

    def unfinished(self) -> list["optuna.Trial"]:
        """Trials that were running when the sweep was killed."""
        running = self.optuna.trial.TrialState.RUNNING
        return [
            self.optuna.Trial(self.study, trial._trial_id)
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state == running
        ]

    def draw(self) -> "optuna.Trial":
        """Starts a new trial."""
        number = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = self._sampler(number)
        return self.study.ask({key: self._distribution(parameter) for key, parameter in self.sweep.parameters.items()})

    def trial_folder(self, trial: "optuna.Trial") -> Path:
        return self.folder / "trials" / f"{trial.number:04}"

    def report(self, trial: "optuna.Trial", values: list[float]) -> bool:
        """Hands in what was logged so far and is finite; answers whether the trial is hopeless."""
        known = self.study.get_trials(deepcopy=False)[trial.number]
        fresh = finite(values)[len(reported_values(known)) :]
        for step, value in enumerate(fresh, len(known.intermediate_values) + 1):
            trial.report(value, step)
        return bool(self.sweep.hyperband and values and trial.should_prune())

    def finish(self, trial: "optuna.Trial", values: list[float], state: str, error: str | None = None) -> None:
        """Writes the end of a trial down; `state` is complete, pruned or failed."""
        self.report(trial, values)
        trial.set_user_attr("parameters", self.sweep.as_given(trial.params))
        if error:
            trial.set_user_attr("error", error)
        states = self.optuna.trial.TrialState
        if state == "complete":
            self.study.tell(trial, values[-1])
        else:
            self.study.tell(trial, state=states.PRUNED if state == "pruned" else states.FAIL)

    def outcomes(self) -> list[Outcome]:
        """All finished trials, in the order in which they were drawn."""
        return [self._outcome(trial) for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def _outcome(self, trial: "optuna.trial.FrozenTrial") -> Outcome:
        names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        value = next(reversed(reported_values(trial)), None)
        folder = self.folder / "trials" / f"{trial.number:04}"
        return Outcome(
            trial.number,
            names[trial.state.name],
            value,
            parameters_of(trial),
            str(folder),
            trial.user_attrs.get("error"),
        )

    def _pruner(self) -> Any:
        band = self.sweep.hyperband
        if band is None:
            return self.optuna.pruners.NopPruner()
        return self.optuna.pruners.HyperbandPruner(band.min_iter, band.max_iter or "auto", band.eta)

    def _sampler(self, number: int) -> Any:
        samplers, seed = self.optuna.samplers, (self.seed * 1_000_003 + number) % 2**32  # what NumPy takes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
            if self.sweep.method == "grid":  # Optuna's own grid sampler only works inside its own loop
                return samplers.PartialFixedSampler(self.sweep.grid_point(number), samplers.RandomSampler(seed=seed))
            if self.sweep.method == "random":
                return samplers.RandomSampler(seed=seed)
            return samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=5)

    def _distribution(self, parameter: Any) -> Any:
        make = self.optuna.distributions
        if isinstance(parameter, Choice):
            return make.CategoricalDistribution(parameter.values)
        if self.sweep.method == "grid":
            return make.CategoricalDistribution(grid_values(parameter))
        if parameter.integer:
            return make.IntDistribution(int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
        return make.FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def reported_values(trial: "optuna.trial.FrozenTrial") -> list[float]:
    """The finite values of the metric that a study was told of a trial, the last one last."""
    return finite(value for _, value in sorted(trial.intermediate_values.items()))


def parameters_of(trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
    """The parameters of a finished trial as the sweep's file has them."""
    given: dict[str, Any] = trial.user_attrs.get("parameters", trial.params)
    return given


def is_study(path: Path) -> bool:
    """Whether it is a database of Optuna's, or one that was killed before anything was in it."""
    if not path.is_file() or path.stat().st_size == 0:
        return path.is_file()
    try:
        # Not read-only: a database whose writer was killed must be rolled back before it can be read.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
            return database.execute("SELECT name FROM sqlite_master WHERE name = 'studies'").fetchone() is not None
    except sqlite3.Error:
        return False


@contextmanager
def database_of(folder: Path) -> Iterator[None]:
    """Raises `SweepError` for what SQLite says of a study's database, below two libraries: a full disk, no permission.
    The study is as it was before."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__
        if cause is None:
            raise
        raise SweepError(f"cannot write {folder / 'study.db'}: {cause}") from error


@contextmanager
def alone_in(folder: Path, patience: float = 60.0) -> Iterator[int]:
    """Holds the folder's lock, which its trials inherit, so that none of a killed sweep still runs when the next
    begins.

    Raises:
        SweepError: another sweep still works there after `patience` seconds, or this is Windows, which has no such
            locks.
    """
    try:
        import fcntl
    except ImportError:
        raise SweepError(
            "sweep run needs Linux or macOS; on Windows, register the sweep with W&B and run wandb agent"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SweepError(
                        f"another sweep is at work in {folder}; wait for it, or name another folder with --out"
                    ) from None
                time.sleep(POLL)
        yield descriptor
    finally:
        os.close(descriptor)


def run_study(
    study: Study, count: int, workers: int, gpus: int = 0, inherit: tuple[int, ...] = ()
) -> Generator[Outcome, None, None]:
    """Runs trials, `workers` at a time, until the study has `count` of them; yields each as it finishes.

    Closing the iterator stops the running trials and leaves them in the study, to be run on another time.
    """
    waiting = study.unfinished()
    drawn = len(study.outcomes()) + len(waiting)
    share = threads(workers)
    running: dict[int, tuple[optuna.Trial, TrialProcess]] = {}  # by slot
    try:
        while True:
            for slot in sorted(set(range(workers)) - set(running)):
                if waiting:
                    trial = waiting.pop(0)
                elif drawn < count:
                    trial, drawn = study.draw(), drawn + 1
                else:
                    break
                device = str(slot % gpus) if gpus else None
                running[slot] = (
                    trial,
                    TrialProcess(study.sweep, trial.params, study.trial_folder(trial), share, device, inherit),
                )
            if not running:
                return
            time.sleep(POLL)
            for slot, (trial, process) in list(running.items()):
                if process.exit_code() is not None:
                    del running[slot]
                    yield _end(study, trial, process)
                elif process.logged_more() and study.report(trial, process.values()):
                    trial.set_user_attr("hopeless", True)
                    process.stop()
    finally:
        for _, process in running.values():
            process.stop()
        for _, process in running.values():
            process.wait()


def _end(study: Study, trial: "optuna.Trial", process: TrialProcess) -> Outcome:
    code = process.wait()
    values = finite(process.values())
    if trial.user_attrs.get("hopeless") and values:
        study.finish(trial, values, "pruned")
    elif code:
        study.finish(trial, values, "failed", f"exit code {code}: {process.last_words()}")
    elif not values:
        study.finish(trial, [], "failed", f"the run logged no finite {study.sweep.metric}")
    else:
        study.finish(trial, values, "complete")
    return next(outcome for outcome in study.outcomes() if outcome.number == trial.number)
