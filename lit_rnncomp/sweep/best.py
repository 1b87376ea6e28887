"""`lit-rnncomp sweep best`: the best run of a sweep, from a local study or from Weights & Biases."""

from __future__ import annotations

import tempfile
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .definition import SweepError, as_argument, best_of, finite
from .engine import is_study, load_optuna, parameters_of, reported_values, storage_of
from .trials import best_checkpoint, read_metric

if TYPE_CHECKING:
    from ..files import Output


class Best(NamedTuple):
    """The best run of a sweep; `checkpoint` is the file that its training kept as best."""

    run: str
    metric: str
    value: float
    checkpoint: Path
    parameters: dict[str, Any]


class Chosen(NamedTuple):
    """By what the best is chosen: the logged `metric`, its `direction` (of None: as the sweep says), and the
    `checkpoint` that a run keeps for it."""

    metric: str | None = None
    direction: str | None = None
    checkpoint: str = "best"


AS_THE_SWEEP = Chosen()
BY = {
    "ms_ssim": Chosen("val/auc_ms_ssim_best", "maximize"),
    "psnr_hvs": Chosen("val/mean_psnr_hvs_best", "maximize", "best_psnr_hvs"),
}


def best(
    source: str,
    metric: Literal["ms_ssim", "psnr_hvs"] | None = None,
    export: str | None = None,
    runs: str = "runs",
    force: bool = False,
    json: bool = False,
) -> None:
    """Name the run and the checkpoint with the best metric of a sweep, and export it.

    Args:
        source: folder of a local study, or ENTITY/PROJECT/SWEEP of Weights & Biases.
        metric: choose by this one, and take the checkpoint that was kept for it (psnr_hvs needs
            configs/trainer/best_psnr_hvs.yaml in the sweep's command); not given, the metric of the sweep.
        export: copy the checkpoint to this file; a name that ends in .safetensors gets weights and configuration only.
        runs: folder in which to look for the checkpoints of runs that Weights & Biases only knows the numbers of.
        force: (-f) replace the file to export to if it exists.
        json: print the answer as JSON.
    """
    from lit_rnncomp.files import Output

    if export is not None:
        check_ending(export)
        Output(export, force=force)  # before the search, which may ask a server
    by = AS_THE_SWEEP if metric is None else BY[metric]
    local = (Path(source) / "study.db").is_file()
    found = best_of_study(Path(source), by) if local else best_of_server(source, Path(runs), by)
    if export is not None:
        export_checkpoint(found.checkpoint, Output(export, found.checkpoint, force=force))
    if json:
        print(dumps({**found._asdict(), "checkpoint": str(found.checkpoint), "export": export}))
        return
    print(f"best run: {found.run}, {found.metric} {found.value:.5g}")
    print("\n".join(f"  {key} = {as_argument(value)}" for key, value in found.parameters.items()))
    print(f"checkpoint: {found.checkpoint}")
    if export is not None:
        print(f"exported to {export}: lit-rnncomp encode PHOTO FILE.rnnc --model {export}")


def best_of_study(folder: Path, by: Chosen = AS_THE_SWEEP) -> Best:
    """The best finished or pruned trial of a local study that kept a checkpoint.

    Raises:
        SweepError: there is none.
    """
    optuna = load_optuna()
    if not is_study(folder / "study.db"):
        raise SweepError(f"{folder / 'study.db'} is not the database of a study")
    try:
        study = optuna.load_study(study_name="sweep", storage=storage_of(folder))
    except KeyError:
        raise SweepError(f"{folder / 'study.db'} holds no sweep; it may have been killed before it began") from None
    states = optuna.trial.TrialState
    candidates = []
    for trial in study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)):
        path = folder / "trials" / f"{trial.number:04}"
        checkpoint = best_checkpoint(path, by.checkpoint)
        values = reported_values(trial) if by.metric is None else finite(read_metric(path, by.metric))
        if values and checkpoint is not None:
            metric = by.metric or study.user_attrs["metric"]
            candidates.append(Best(str(path), metric, values[-1], checkpoint, parameters_of(trial)))
    found = best_of(candidates, by.direction or study.direction.name.lower(), lambda one: one.value)
    if found is None:
        logged = f" that logged {by.metric} and kept {by.checkpoint}.ckpt" if by.metric else " with a checkpoint"
        raise SweepError(f"the study in {folder} has no finished trial{logged}")
    return found


def best_of_server(path: str, runs: Path, by: Chosen = AS_THE_SWEEP) -> Best:
    """The best run of a Weights & Biases sweep, its checkpoint from this machine, else from the run's artifacts.

    Raises:
        SweepError: `path` is not ENTITY/PROJECT/SWEEP, the server does not answer, or no checkpoint is found.
    """
    if path.count("/") != 2 or Path(path).exists():
        raise SweepError(f"{path} is neither the folder of a study (no study.db in it) nor ENTITY/PROJECT/SWEEP")
    import wandb

    try:
        sweep = wandb.Api().sweep(path)
        given = sweep.config.get("metric") or {}
        metric = by.metric or given.get("name")
        goal = by.direction or given.get("goal", "minimize")  # what Weights & Biases takes it to be
        scored = [run for run in sweep.runs if isinstance(run.summary.get(metric), (int, float))]
    except (wandb.Error, ValueError) as error:
        raise SweepError(f"cannot read the sweep {path}: {' '.join(str(error).split())}") from None
    if metric is None:
        raise SweepError(f"the sweep {path} names no metric; choose one with --metric")
    run = best_of(scored, goal, lambda one: one.summary[metric])
    if run is None:
        raise SweepError(f"no run of the sweep {path} has logged {metric}")
    local = [folder for folder in runs.rglob(run.id) if (folder / "checkpoints").is_dir()]
    checkpoint = next((found for folder in local if (found := best_checkpoint(folder, by.checkpoint))), None)
    checkpoint = checkpoint or _from_artifacts(run, by.checkpoint)
    if checkpoint is None:
        raise SweepError(
            f"the best run of {path} is {run.id}, whose checkpoint is neither under {runs} (--runs) nor among "
            "its artifacts"
        )
    swept = {key: run.config.get(key) for key in sweep.config["parameters"]}
    return Best(run.id, metric, float(run.summary[metric]), checkpoint, swept)


def _from_artifacts(run: Any, alias: str) -> Path | None:
    found = [each for each in run.logged_artifacts() if each.type == "model" and alias in each.aliases]
    if not found:
        return None
    folder = Path(found[-1].download(root=tempfile.mkdtemp(prefix="lit-rnncomp-")))
    return next(iter(sorted(folder.rglob("*.ckpt"))), None)


def check_ending(target: str) -> None:
    """Raises `SweepError` when the name of an export ends in neither .ckpt nor .safetensors."""
    if not target.endswith((".ckpt", ".safetensors")):
        raise SweepError(f"cannot export to {target}: the name must end in .ckpt or .safetensors")


def export_checkpoint(checkpoint: Path, target: Output) -> None:
    """Copies a checkpoint, or writes its codec as safetensors when the target's name says so."""
    from ..files import write_bytes

    if str(target.path).endswith(".ckpt"):
        write_bytes(target, checkpoint.read_bytes())
        return
    from ..codec import weights

    weights.save(target, weights.load_binary(checkpoint), weights.load_entropy(checkpoint))
