"""Optimizers by name, the learning rate over a run, and how long a run is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

OptimizerName = Literal["adam", "adamw", "sgd", "muon"]
Schedule = Literal["constant", "linear", "cosine", "wsd"]


def configure(trainer: L.Trainer, module: nn.Module, options: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` answers for the options `optimizer`, `lr`, `eps`, `weight_decay`,
    `schedule`, `warmup`, `final_lr` and `decay` of a run that trains `module`."""
    optimizer = make_optimizer(options["optimizer"], module, options["lr"], options["eps"], options["weight_decay"])
    total = total_steps(trainer)
    shape = {"warmup": options["warmup"], "total": total, "final": options["final_lr"], "decay": options["decay"]}
    schedule = make_schedule(optimizer, options["schedule"], **shape)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_optimizer(
    name: OptimizerName, module: nn.Module, lr: float, eps: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer `name` over all parameters that want a gradient.

    `muon` orthogonalises the momentum of every convolution kernel (flattened to a matrix, which those of grouped
    convolutions are not); the other parameters are Adam's at a tenth of `lr`, learned gains and shortcuts (which must
    travel far) at `lr`, both without weight decay. `eps` is Adam's, `weight_decay` is decoupled except for `sgd`.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if name == "adam":
        return torch.optim.Adam(parameters, lr, eps=eps)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr, eps=eps, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    travels = ("log_gain", "shortcut.weight")
    gains = [p for n, p in named if n.endswith(travels)]
    grouped = {id(m.weight) for m in module.modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    kernels = [p for p in parameters if p.ndim == 4 and id(p) not in grouped]
    matrices = {id(p) for p in kernels}
    others = [p for n, p in named if id(p) not in matrices and not n.endswith(travels)]
    groups = [
        {"params": kernels, "use_muon": True},
        {"params": others, "use_muon": False, "lr": lr / 10, "weight_decay": 0.0},
        {"params": gains, "use_muon": False, "lr": lr, "weight_decay": 0.0},
    ]
    return _muon()(
        [g for g in groups if g["params"]], lr=lr, weight_decay=weight_decay, adamw_lr=lr / 10, adamw_eps=eps
    )


def _muon() -> Callable[..., torch.optim.Optimizer]:
    """Muon as in pytorch_optimizer, whose import takes a second, with its Newton-Schulz steps in float32 on a CPU.

    (The package runs them in bfloat16, which most CPUs emulate: six sevenths of a training step went there. On other
    devices it stays.)
    """
    from pytorch_optimizer import Muon
    from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5

    class Float32Muon(Muon):
        @staticmethod
        def _orthogonalize(group: dict[str, Any], updates: list[Tensor]) -> list[Tensor]:
            if updates[0].device.type != "cpu":
                orthogonal: list[Tensor] = Muon._orthogonalize(group, updates)
                return orthogonal
            steps, weights = group["ns_steps"], group["ns_coeffs"]
            matrices = (update.reshape(len(update), -1) for update in updates)
            return [
                zero_power_via_newton_schulz_5(m, num_steps=steps, weights=weights, dtype=torch.float32)
                for m in matrices
            ]

    return Float32Muon


def make_schedule(
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    warmup: int,
    total: float,
    final: float,
    decay: float = 0.2,
) -> LambdaLR:
    """Linear warm-up over `warmup` steps, then constant, linear or cosine to `final` of the rate at step `total`.

    `wsd` (warm-up, stable, decay) is constant until the last `decay` of the steps, over which it falls linearly: until
    then a run does not depend on its length, so it can be stopped, continued with another, and branched.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay={decay} is outside (0, 1]")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if schedule == "constant" or not math.isfinite(total):
            return 1.0
        if schedule == "wsd":
            return final + (1 - final) * min(1.0, max(0.0, total - step) / (decay * total))
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        shape = 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return final + (1 - final) * shape

    return LambdaLR(optimizer, factor)


def total_steps(trainer: L.Trainer) -> float:
    """Optimizer steps of the whole run; infinite when neither epochs nor steps are limited.

    `trainer.estimated_stepping_batches` says the same, but builds the training loader to find out. Asked for while the
    optimizers are configured, that is before Lightning restores a checkpoint's loops, and the loader's place in the
    data is then never restored (Lightning 2.6). So it is asked only when the data module does not have
    `steps_per_epoch`.
    """
    if getattr(trainer.datamodule, "steps_per_epoch", None) is None:  # type: ignore[attr-defined]
        return trainer.estimated_stepping_batches
    epochs = trainer.max_epochs
    by_epochs = math.inf if epochs is None or epochs < 0 else epochs * steps_of_epoch(trainer)
    return by_epochs if trainer.max_steps < 0 else min(by_epochs, trainer.max_steps)


def steps_of_epoch(trainer: L.Trainer) -> int:
    """Optimizer steps of an epoch, of a data module that has `steps_per_epoch`, its batches."""
    return math.ceil(batches_of_epoch(trainer) / trainer.accumulate_grad_batches)


def batches_of_epoch(trainer: L.Trainer) -> int:
    """Batches of an epoch that are trained on, likewise."""
    batches, limit = trainer.datamodule.steps_per_epoch, trainer.limit_train_batches  # type: ignore[attr-defined]
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
