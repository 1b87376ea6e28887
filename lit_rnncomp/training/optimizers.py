"""Optimizers by name, and the learning rate over a run."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

OptimizerName = Literal["adam", "adamw", "sgd", "muon"]
Schedule = Literal["constant", "linear", "cosine"]


def make_optimizer(name: OptimizerName, module: nn.Module, lr: float, eps: float, weight_decay: float) -> torch.optim.Optimizer:
    """The optimizer `name` over all parameters that want a gradient.

    `muon` orthogonalises the momentum of every convolution kernel (flattened to a matrix); the other parameters are Adam's, biases at
    a tenth of `lr`, learned gains and shortcuts (which must travel far) at `lr`, both without weight decay. `eps` is Adam's,
    `weight_decay` is decoupled except for `sgd`.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if name == "adam":
        return torch.optim.Adam(parameters, lr, eps=eps)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr, eps=eps, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    from .muon import Float32Muon

    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    travels = ("log_gain", "shortcut.weight")
    gains = [p for n, p in named if n.endswith(travels)]
    biases = [p for n, p in named if p.ndim != 4 and not n.endswith(travels)]
    groups = [
        {"params": [p for p in parameters if p.ndim == 4], "use_muon": True},
        {"params": biases, "use_muon": False, "lr": lr / 10, "weight_decay": 0.0},
        {"params": gains, "use_muon": False, "lr": lr, "weight_decay": 0.0},
    ]
    return Float32Muon([g for g in groups if g["params"]], lr=lr, weight_decay=weight_decay, adamw_lr=lr / 10, adamw_eps=eps)


def make_schedule(optimizer: torch.optim.Optimizer, schedule: Schedule, warmup: int, total: float, final: float) -> LambdaLR:
    """Linear warm-up over `warmup` steps, then `constant`, `linear` or `cosine` to `final` times the rate at step `total`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if schedule == "constant" or not math.isfinite(total):
            return 1.0
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        shape = 1 - done if schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return final + (1 - final) * shape

    return LambdaLR(optimizer, factor)
