"""`lit-rnncomp fit --plan`: says what a run would cost and where it would write; trains nothing and writes nothing."""

from __future__ import annotations

import json
import logging
from typing import Any

import lightning as L
import torch

from .callbacks import check_precision
from .checkpoints import last_run, next_folder
from .compression_cli import CompressionCLI
from .loss import require
from .plan import Devices, Plan, make_plan
from .processes import Validations

_PRECISIONS = {None: "32-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}


class PlanCLI(CompressionCLI):
    """Parses what `fit` parses; `plan` is then there, and no run."""

    plan: Plan

    def before_instantiate_classes(self) -> None:
        self._options = self.config.fit.trainer.clone()
        found = last_run(self.config.fit)
        self._goes_on = bool(found) or self.config.fit.get("ckpt_path") not in (None, "last")
        self._folder = None if self._options.fast_dev_run else found or next_folder(self.config.fit)
        self.config.fit.trainer.logger = False  # one that is made may already write

    def instantiate_trainer(self, **options: Any) -> L.Trainer:
        """One for a CPU, wherever the run is to be: it knows all but the devices."""
        here = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
        return super().instantiate_trainer(**{**here, **options})

    def before_fit(self) -> None:
        """Nothing: no folder is begun."""

    def fit(self, model: L.LightningModule, datamodule: Any, **_: Any) -> None:
        """In the place of the trainer's."""
        devices, trainer = devices_of(self._options), self.trainer
        model.trainer = trainer
        trainer.strategy.connect(model)
        trainer._data_connector.attach_data(model, datamodule=datamodule)
        if trainer.max_epochs is None:  # Lightning chooses when a run starts
            limited = trainer.max_steps != -1 or self._options.max_time
            trainer.fit_loop.max_epochs = -1 if limited else 1000
        accelerate = getattr(model, "hparams", {}).get("accelerate", "none")
        require(accelerate, torch.device(devices.kind), devices.all, trainer.accumulate_grad_batches)
        Validations().setup(trainer, model, "fit")
        folder = None if self._folder is None else str(self._folder)
        self.plan = make_plan(trainer, model, devices, folder, self._goes_on)


def devices_of(options: Any) -> Devices:
    """The devices that options of a trainer ask for.

    Raises:
        ValueError: a plan does not know such devices, or how many of them there would be.
    """
    kind, count = _kind(options.accelerator), options.devices
    if isinstance(count, str) and count not in ("auto", "-1"):
        count = [word for word in count.split(",") if word] if "," in count else int(count)
    if count in ("auto", "-1", -1):
        count = torch.cuda.device_count() if kind == "cuda" else 1
        if not count:
            raise ValueError("there is no CUDA device to count: say how many there will be, --trainer.devices N")
    each = count if isinstance(count, int) else len(count)
    strategy = str(getattr(options.strategy, "class_path", options.strategy))
    if each * options.num_nodes > 1 and "ddp" not in strategy.lower() and strategy != "auto":
        raise ValueError(f"trainer.strategy={strategy}: a plan of several devices knows ddp alone")
    chosen = None if options.precision is None else str(options.precision)
    precision = _PRECISIONS.get(chosen, chosen)
    check_precision(precision)
    return Devices(kind, each, options.num_nodes, str(precision))


def _kind(accelerator: Any) -> str:
    mps = torch.backends.mps.is_available()
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if accelerator == "gpu":
        return "mps" if mps else "cuda"
    if accelerator not in ("cpu", "cuda", "mps"):
        raise ValueError(f"trainer.accelerator={accelerator}: a plan knows auto, cpu, gpu, cuda and mps")
    return str(accelerator)


def planned(arguments: list[str] | None = None) -> Plan:
    """The plan of what follows `lit-rnncomp`; of `sys.argv` without arguments."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what it says of devices is about this machine
    return PlanCLI(args=arguments).plan


def print_plan(plan: Plan, as_json: bool) -> None:
    """Prints a table, or JSON."""
    if as_json:
        print(json.dumps(plan.to_json()))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, title=f"{plan.model}: a plan, nothing is trained", title_justify="left")
    for name, value in _rows(plan):
        table.add_row(name, escape(value))
    Console().print(table)


def _rows(plan: Plan) -> list[tuple[str, str]]:
    devices, size = plan.devices, "x".join(map(str, plan.batch[1:]))
    each = f"{plan.batch[0]} of {size}" + (f", {plan.accumulated} times" if plan.accumulated > 1 else "")
    early = f"; at first {_billions(plan.early_multiply_adds)}" if plan.early_multiply_adds else ""
    parts = ", ".join(f"{name} {_bytes(value)}" for name, value in plan.memory._asdict().items() if value)
    exchanged = f"{_bytes(plan.reduced)} of gradients over {devices.all} processes" if plan.reduced else "nothing"
    frozen = f", of which {plan.trained:,} are trained" if plan.trained != plan.parameters else ""
    places = f"{devices.each} x {devices.kind}" + (f" on each of {devices.nodes} nodes" if devices.nodes > 1 else "")
    often = (
        "no end that is known"
        if plan.steps is None
        else f"{plan.steps:,} steps, {plan.steps * plan.pictures:,} pictures"
    )
    measured = "" if plan.validations is None else f", {plan.validations} validations and one before"
    return [
        ("parameters", f"{plan.parameters:,}{frozen}"),
        ("devices", f"{places}, {devices.precision}"),
        ("batch", f"{plan.pictures} in all: {each} on each device"),
        ("a step", f"{_billions(plan.multiply_adds)} multiply-adds on each device{early}"),
        ("memory", f"{_bytes(sum(plan.memory))} on each device: {parts}"),
        ("exchanged a step", exchanged),
        ("length", f"{often}{measured}"),
        ("writes into", f"{plan.folder or 'nothing'}{', going on from its checkpoint' if plan.goes_on else ''}"),
    ]


def _billions(count: int) -> str:
    return f"{count / 1e9:,.2f} x 10^9"


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
