"""What the processes of a run tell each other: all of it in one reduction every few steps, so that none waits for
another, or for its device, but for gradients."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, Timer
from lightning.pytorch.callbacks.timer import Interval
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from .processes import at_end

_UNLOGGED = 50  # steps between two reductions of a run that logs nothing


class Termination:
    """Remembers that SIGTERM came, as a cluster sends it before it takes a machine back, or SIGINT, which is Ctrl-C,
    for the run to end between two steps. A second Ctrl-C ends it at once.

    (Lightning's own handler broadcasts inside the signal handler, amid whatever the other processes are exchanging, and
    ends with exit code 0, as if the run were done.)
    """

    def __init__(self) -> None:
        self._came: int | None = None

    @property
    def came(self) -> bool:
        """Whether this process was asked to end."""
        return self._came is not None

    def listen(self) -> None:
        """From here on the signals are only remembered. Lightning puts the former handlers back when the run ends."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._remember)
            signal.signal(signal.SIGINT, self._remember)

    def done(self) -> None:
        """The last step is saved: from here on Ctrl-C ends the process as ever."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _remember(self, signum: int, *_: Any) -> None:
        if self._came == signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._came = signum

    def asked(self, trainer: L.Trainer) -> bool:
        """Whether any process was asked to end. All processes must ask this at the same place, and wait there."""
        return trainer.strategy.reduce_boolean_decision(self.came, all=False)

    def end(self, trainer: L.Trainer) -> NoReturn:
        """Ends the process: the first with exit code 143 or 130 (128 and the signal), for whoever started it; the
        others without a complaint."""
        raise SystemExit(128 + (self._came or signal.SIGTERM) if trainer.is_global_zero else 0)


class Agreement(Callback):
    """Every `log_every_n_steps` steps, and before anything is saved or validated, agrees on whether the run goes on.

    One reduction has whether a process was asked to end or is out of time, all losses since the one before, whether
    the weights are finite, what is to be logged, and running means:

    * `step_values` of the module, which are logged: scalars of the last training step by name, averaged.
    * the buffers that a part of the module names in `averaged`: each process follows its own share of the data in
      between. A zero says that a process knows no value yet, and does not count.

    Stops a run whose loss or weights are no longer numbers, naming the last good checkpoint. Raises
    `FloatingPointError`.

    One process has no other to ask, and its device is not waited for either; it ends after the step in which it is
    asked to.
    """

    def __init__(self) -> None:
        self.termination = Termination()
        self.ends = False  # all processes end after this step: one of them was asked to
        self.wanted = False  # something will be saved after the next step
        self._losses: list[Tensor] = []
        self._steps: list[int] = []
        self._seen = -1

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        # Behind all others but what saves.
        first = [one for one in trainer.callbacks if one is not self and one not in trainer.checkpoint_callbacks]  # type: ignore[attr-defined]
        trainer.callbacks = [*first, self, *trainer.checkpoint_callbacks]  # type: ignore[attr-defined]
        # Lightning sends with every batch whether the first process was asked to end, and waits for it.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        if trainer.world_size > 1:
            for timer in _timers(trainer):
                timer._interval = Interval.epoch  # by itself it waits for the first process's clock after every step

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None:
            self._losses.append(torch.as_tensor(loss).detach().float())
            self._steps.append(trainer.global_step)
        stepped, self._seen = trainer.global_step > self._seen, trainer.global_step
        if stepped and self._due(trainer):
            every = trainer.log_every_n_steps  # type: ignore[attr-defined]
            logged = getattr(pl_module, "step_values", {}) if every and trainer.global_step % every == 0 else {}
            self.agree(trainer, pl_module, logged)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._losses and not trainer.sanity_checking:
            self.agree(trainer, pl_module, {})

    def _due(self, trainer: L.Trainer) -> bool:
        step = trainer.global_step
        return (
            self.wanted
            or (trainer.world_size == 1 and self.termination.came)
            or step % (trainer.log_every_n_steps or _UNLOGGED) == 0  # type: ignore[attr-defined]
            or any(_saves(kept, step) for kept in trainer.checkpoint_callbacks if isinstance(kept, ModelCheckpoint))
            or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
            or at_end(trainer)
            or trainer.should_stop
        )

    @torch.no_grad()
    def agree(self, trainer: L.Trainer, module: L.LightningModule, values: dict[str, Tensor]) -> None:
        """The reduction, and what follows from it; `values` are logged. All processes must call this after the same
        step.

        Raises:
            FloatingPointError: a loss of any process since the last call, or a weight, is not finite.
        """
        device = module.device
        broken = torch.stack([weight.isfinite().all() for weight in module.parameters()]).logical_not().any()
        flags = torch.tensor([self.termination.came, _out_of_time(trainer)]).float().to(device)
        scalars = [broken, *(loss.to(device) for loss in self._losses), *values.values()]
        said = torch.cat([flags, torch.stack([scalar.float() for scalar in scalars])])
        buffers = list(_averaged(module))
        if trainer.world_size > 1:
            told = torch.cat([said, *(torch.stack([buffer, buffer != 0]).flatten() for buffer in buffers)])
            torch.distributed.all_reduce(told)
            said, sums = told.tensor_split([len(said)])
            _put_back(buffers, sums)
        asked, late, broken_somewhere, *numbers = said.tolist()  # the one wait for the device
        steps, self._steps, self._losses, self.wanted = self._steps, [], [], False
        losses, logged = numbers[: len(steps)], numbers[len(steps) :]
        wrong = next((pair for pair in zip(steps, losses, strict=True) if not math.isfinite(pair[1])), None)
        if wrong is not None:
            _give_up(trainer, f"the loss is {wrong[1]} at step {wrong[0]}")
        if broken_somewhere:
            _give_up(trainer, f"a weight is not a finite number after step {trainer.global_step}")
        self.ends = asked > 0
        if late and not trainer.should_stop:
            rank_zero_info("the time of this start is up")
            trainer.should_stop = True
        for name, value in zip(values, logged, strict=True):
            # On the CPU: what shows it after every step need not ask the device.
            module.log(name, torch.tensor(value / trainer.world_size), prog_bar=True)


def _timers(trainer: L.Trainer) -> list[Timer]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]


def _out_of_time(trainer: L.Trainer) -> bool:
    left = [timer.time_remaining() for timer in _timers(trainer)]
    return any(seconds is not None and seconds <= 0 for seconds in left)


def _saves(kept: ModelCheckpoint, step: int) -> bool:
    every = kept._every_n_train_steps
    return kept._train_time_interval is not None or (every > 0 and step % every == 0)


def _averaged(module: nn.Module) -> Iterator[Tensor]:
    """The buffers that parts of a module want averaged over processes."""
    for part in module.modules():
        for name in getattr(part, "averaged", ()):
            yield getattr(part, name)


def _put_back(buffers: list[Tensor], sums: Tensor) -> None:
    """Makes each buffer the mean over the processes that knew it; `sums` are of buffers and of who knew them."""
    at = 0
    for buffer in buffers:
        total, count = sums[at : at + 2 * buffer.numel()].reshape(2, *buffer.shape)
        buffer.copy_(total / count.clamp_min(1))
        at += 2 * buffer.numel()


def _give_up(trainer: L.Trainer, what: str) -> NoReturn:
    if not trainer.is_global_zero:  # one message is enough
        raise SystemExit(0)
    kept = [
        getattr(callback, name, "")
        for name in ("last_model_path", "best_model_path")
        for callback in trainer.checkpoint_callbacks
    ]
    checkpoint = next(filter(None, kept), None)
    way_out = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
    raise FloatingPointError(f"{what}; {way_out}; a lower lr may help")
