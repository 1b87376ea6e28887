"""What is installed beyond the codec: which verb needs which extra of the package, in one place."""

from __future__ import annotations

VERBS: dict[str, str | None] = {
    "encode": None,
    "decode": None,
    "info": None,
    "truncate": None,
    "models": None,
    "bench": None,
    "bdrate": None,
    "data mine": None,
    "export": "train",
    "evaluate": "evaluate",
    "plot": "evaluate",
    "compare": "evaluate",
    "report": "evaluate",
    "demo": "demo",
    "sweep run": "sweeps",
    "sweep best": "sweeps",
    "rehearse": "train",
    "fit": "train",
    "validate": "train",
    "test": "train",
    "predict": "train",
}
"""The extra without which a verb does not run; None where the base is enough, but for an option that needs more (a
checkpoint of torch, a device other than the CPU, a scheduler)."""

PACKAGES = {
    "torch": "train",
    "lightning": "train",
    "omegaconf": "train",
    "torchmetrics": "train",
    "wandb": "train",
    "pytorch_optimizer": "train",
    "skimage": "train",
    "matplotlib": "evaluate",
    "starlette": "demo",
    "uvicorn": "demo",
    "optuna": "sweeps",
    "dask": "cluster",
    "distributed": "cluster",
    "triton": "triton",
    "pillow_jxl": "codecs",
}
"""What is imported, and the extra that brings it."""


def advice(verb: str, error: ModuleNotFoundError) -> str | None:
    """One line for a verb that found a package missing; None where no extra brings it."""
    package = (error.name or "").partition(".")[0]
    extra = PACKAGES.get(package)
    if extra is None:
        return None
    return f"{verb} needs the package {package} for this: pip install 'lit-rnncomp[{VERBS.get(verb) or extra}]'"
