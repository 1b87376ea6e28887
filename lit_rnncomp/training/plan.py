"""What a run would cost: counted from its model, data and trainer before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from .callbacks import COMPUTED_IN
from .counting import StepCost, size, step_cost
from .optimizers import batches_of_epoch, steps_of_epoch, total_steps


class Devices(NamedTuple):
    """Where a run is to be: the `kind` of device (cpu, cuda, mps), how many on each of how many `nodes`, the
    `precision` in Lightning's words. None of it need be on this machine."""

    kind: str = "cpu"
    each: int = 1
    nodes: int = 1
    precision: str = "32-true"

    @property
    def all(self) -> int:
        """Processes in all, one a device."""
        return self.each * self.nodes


class Memory(NamedTuple):
    """Bytes on one device at the peak of a step, by what holds them; libraries and allocators keep more on top.

    `weights`: parameters and buffers. `gradients`, `optimizer`: of what is trained. `activations`: what else a step
    makes. `buckets`: the copies of gradients that processes exchange. `averages`: of weights, where a run keeps some.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    buckets: int
    averages: int


class Plan(NamedTuple):
    """What a run would cost.

    `parameters`, of which `trained` are. `batch`: its shape on one device; a step adds up the gradients of
    `accumulated` ones, `pictures` over all devices. `multiply_adds`: of convolutions and matrix products, forward and
    backward, on one device in a step with all iterations; `early_multiply_adds` in the first steps, where those unroll
    fewer. `reduced`: bytes of gradients that processes add up each step. `steps`, `validations`: of the whole run, the
    validation before it left out; None where no end is known. `folder`: what the run would fill, None where nothing is
    kept or a logger of another kind says; `goes_on`: whether from a checkpoint.
    """

    model: str
    devices: Devices
    parameters: int
    trained: int
    batch: tuple[int, ...]
    accumulated: int
    pictures: int
    multiply_adds: int
    early_multiply_adds: int | None
    memory: Memory
    reduced: int
    steps: int | None
    validations: int | None
    folder: str | None
    goes_on: bool

    def to_json(self) -> dict[str, Any]:
        """With names all the way down."""
        return self._asdict() | {"devices": self.devices._asdict(), "memory": self.memory._asdict()}


def make_plan(
    trainer: L.Trainer, model: L.LightningModule, devices: Devices, folder: str | None, goes_on: bool
) -> Plan:
    """The plan of a run of `trainer`, which has its data module and may itself be of another device.

    The model's weights are gone afterwards: it has ones without data.
    """
    batch, accumulated, steps = example(trainer), trainer.accumulate_grad_batches, total_steps(trainer)
    if devices.all > 1 and not hasattr(trainer.datamodule, "steps_per_epoch"):  # type: ignore[attr-defined]
        # How processes would share its epochs is not known.
        steps = trainer.max_steps if trainer.max_steps > 0 else math.inf
    trained = [p for p in model.parameters() if p.requires_grad]
    reduced = size(trained) if devices.all > 1 else 0
    averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    parameters, count = _count(model.parameters()), _count(trained)
    cost, early = _costs(trainer, model, batch, devices, steps)
    return Plan(
        model=type(model).__name__,
        devices=devices,
        parameters=parameters,
        trained=count,
        batch=tuple(batch.shape),
        accumulated=accumulated,
        pictures=len(batch) * accumulated * devices.all,
        multiply_adds=cost.multiply_adds * accumulated,
        early_multiply_adds=None if early is None else early.multiply_adds * accumulated,
        memory=Memory(*cost[1:], buckets=reduced, averages=cost.weights if averaged else 0),
        reduced=reduced,
        steps=int(steps) if math.isfinite(steps) else None,
        validations=validations(trainer),
        folder=folder,
        goes_on=goes_on,
    )


def example(trainer: L.Trainer) -> Tensor:
    """A batch like those of training, without data where the data module knows their shape (`batch_shape`), else the
    first one.

    Raises:
        ValueError: a batch is not one tensor.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    if hasattr(data, "batch_shape"):
        return torch.empty(data.batch_shape(), device="meta")
    data.prepare_data()
    data.setup("fit")
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    if not isinstance(batch, Tensor):
        raise ValueError(
            f"a plan counts batches of one tensor, and {type(data).__name__} makes a {type(batch).__name__}"
        )
    return batch


def validations(trainer: L.Trainer) -> int | None:
    """How many validations there are in a run, the one after its last step included; None where it has no end, or the
    data module does not say how long an epoch is."""
    if not trainer.limit_val_batches:
        return 0
    steps = total_steps(trainer)
    if not math.isfinite(steps) or not hasattr(trainer.datamodule, "steps_per_epoch"):  # type: ignore[attr-defined]
        return None
    batches, accumulated = batches_of_epoch(trainer), trainer.accumulate_grad_batches
    epochs, rest = divmod(int(steps), steps_of_epoch(trainer))
    rest *= accumulated  # batches of an epoch that is not ended
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_interval
    if every is None:  # batches count over all epochs
        return math.ceil((epochs * batches + rest) / int(interval))
    apart = interval if isinstance(interval, int) else max(1, int(batches * interval))
    partly = rest // apart if (epochs + 1) % every == 0 else 0
    last = rest % apart == 0 and (epochs + 1) % every == 0 if rest else batches % apart == 0 and epochs % every == 0
    return epochs // every * (batches // apart) + partly + (not last)


def _costs(
    trainer: L.Trainer, model: L.LightningModule, batch: Tensor, devices: Devices, steps: float
) -> tuple[StepCost, StepCost | None]:
    """Of the last step, and of the first where that is another."""
    options: dict[str, Any] = {"precision": COMPUTED_IN[devices.precision], "kernels": devices.kind == "cuda"}
    progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
    first = None
    if getattr(model, "hparams", {}).get("early_iterations") is not None:
        first = step_cost(model, batch, **options)
    if math.isfinite(steps):
        progress.completed = int(steps) - 1
    last = step_cost(model, batch, **options)
    return last, first


def _count(parameters: Iterable[nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)
