"""The parts of a rehearsal, in the order in which they are done: what is worth most comes first."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .processes import Work
from .recipes import Recipe

CHECKOUT = Path(__file__).resolve().parents[2]
NO_GPU = "no CUDA device"
# Batches of a run: the first warm up.
_STEPS, _SMALL_STEPS = 12, 3
_QUIET = [
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.max_epochs=-1"),
    "--trainer.num_sanity_val_steps=0",
]
_PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
# Of the kernels' tests, what proves without a GPU what a GPU then shows, and takes minutes of a CPU.
_WITHOUT_GPU = ("test_interpreter.py", "test_compile_only.py", "test_benchmark.py")
# Of the kernels' tests, what a CPU does in seconds.
_SMALL_TESTS = ("test_reference.py", "test_ternarize.py")


class Part(NamedTuple):
    """`name` and `way` are its row; `work`, or why it is not to be done."""

    name: str
    way: str
    work: Work | None
    not_run: str | None = None


def parts(found: list[Recipe], gpus: int, small: bool) -> list[Part]:
    """All of them, done or not, on so many GPUs; `small` is on the CPU, whatever there is."""
    return [*_kernels(small), *_ways(found, gpus, small)]


def _kernels(small: bool) -> Iterator[Part]:
    check = [sys.executable, "-m", "lit_rnncomp.rehearsal.accuracy"]
    tests = CHECKOUT / "tests"
    if not tests.is_dir() or importlib.util.find_spec("pytest") is None:
        yield Part("kernels", "tests", None, "no tests beside the package, or no pytest: see the accuracy")
    elif small:
        some = [str(tests / "kernels" / name) for name in _SMALL_TESTS]
        yield Part("kernels", "tests, definitions", _command([*_PYTEST, "-o", "addopts=", *some], 120))
        yield Part("kernels", "tests", None, NO_GPU)
    else:
        left_out = [f"--ignore={tests / 'kernels' / name}" for name in _WITHOUT_GPU]
        yield Part("kernels", "tests", _command([*_PYTEST, str(tests / "kernels"), *left_out], 300))
        yield Part("training", "tests", _command([*_PYTEST, "-m", "gpu", str(tests / "training")], 120))
    if small and importlib.util.find_spec("triton") is None:
        yield Part("kernels", "accuracy, interpreted", None, "no triton")
    elif small:
        interpreted = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
        yield Part("kernels", "accuracy, interpreted", _command([*check, "cpu"], 120, interpreted))
    yield _on_gpu("kernels", "accuracy", _command([*check, "cuda"], 120), small)
    device = "cpu" if small else "cuda"
    yield Part("device", "peak", Work("lit_rnncomp.rehearsal.peak:peak", {"device": device}, 60))


def _ways(found: list[Recipe], gpus: int, small: bool) -> Iterator[Part]:
    device = ["--trainer.accelerator=cpu" if small else "--trainer.accelerator=gpu"]
    steps = [f"--trainer.max_steps={_SMALL_STEPS if small else _STEPS}"]
    one, whole = ["--trainer.devices=1"], [recipe for recipe in found if not recipe.option]

    def fit(recipe: Recipe, *more: str, limit: float = 120, processes: int = 1) -> Work:
        words = [*recipe.words, *_QUIET, *device, *steps, "--trainer.limit_val_batches=0", *more]
        return Work("lit_rnncomp.rehearsal.steps:fit", {"words": words}, limit, processes)

    for recipe in found:
        yield Part(recipe.name, "fp32", fit(recipe, *one, "--trainer.limit_val_batches=1"))
    for recipe in whole:
        yield Part(recipe.name, "bf16", fit(recipe, *one, "--trainer.precision=bf16-mixed"))
    for recipe in whole:
        graph = fit(recipe, *one, "--model.init_args.accelerate=cuda_graph")
        yield _on_gpu(recipe.name, "cuda_graph", graph, small, recipe.no_graph)
    for recipe in found:
        words = [*recipe.words, *device, *steps, "--trainer.max_epochs=-1", *one]
        yield Part(recipe.name, "plan", Work("lit_rnncomp.rehearsal.steps:plan", {"words": words}, 120))
    processes = 2 if small else gpus
    for recipe in whole:
        several = [f"--trainer.devices={processes}", "--trainer.strategy=ddp"]
        way = f"DDP, {processes} process{'es' if processes > 1 else ''}"
        yield Part(recipe.name, way, fit(recipe, *several, processes=processes))
    for recipe in whole:
        compiled = fit(recipe, *one, "--model.init_args.accelerate=compile", limit=240)
        yield _on_gpu(recipe.name, "compile", compiled, small, recipe.no_compile)


def _on_gpu(name: str, way: str, work: Work, small: bool, not_run: str | None = None) -> Part:
    why = not_run or (NO_GPU if small else None)
    return Part(name, way, None if why else work, why)


def _command(words: list[str], limit: float, environment: dict[str, str] | None = None) -> Work:
    arguments: dict[str, Any] = {"words": words, "environment": environment}
    return Work("lit_rnncomp.rehearsal.processes:command", arguments, limit)
