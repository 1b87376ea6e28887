"""Callbacks for the runs of tests, given by `--trainer.callbacks`: one that writes down what happens, others that make
it happen."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import torch
from lightning.pytorch.callbacks import Callback


class Recorder(Callback):
    """Appends what was computed to `record-RANK.txt` at once: a line a training step, a line a validation."""

    def write(self, trainer, *words):
        file = os.open(f"record-{trainer.global_rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, (" ".join(map(str, words)) + "\n").encode())
        os.close(file)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.write(
            trainer, "train", trainer.global_step, float(outputs["loss"]).hex(), float(batch.double().sum()).hex()
        )

    def on_validation_end(self, trainer, module):
        if not trainer.sanity_checking:
            values = (
                trainer.callback_metrics[f"val/{name}"] for name in ("auc_ms_ssim", "mean_psnr", "auc_ms_ssim_best")
            )
            self.write(trainer, "val", trainer.global_step, *(float(value).hex() for value in values))


class Poison(Callback):
    """Makes one weight NaN, on one process, before the batch of a step."""

    def __init__(self, step: int, rank: int = 0) -> None:
        self.step, self.rank = step, rank

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            with torch.no_grad():
                next(module.codec.parameters()).view(-1)[0] = torch.nan


class Slow(Callback):
    """Makes every step take longer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        time.sleep(self.seconds)


class Waiting(Callback):
    """Stops within the validation that follows a step until whoever watches removes the file `waiting`.

    Args:
        step: after which the validation is.
        place: of it: `batch`, before its first picture, or `end`, after all of them.
        rank: of the process that waits.
    """

    def __init__(self, step: int, place: str = "batch", rank: int = 0) -> None:
        self.step, self.place, self.rank = step, place, rank

    def on_validation_batch_start(self, trainer, module, batch, batch_idx):
        if self.place == "batch" and batch_idx == 0:
            self.wait(trainer)

    def on_validation_end(self, trainer, module):
        if self.place == "end":
            self.wait(trainer)

    def wait(self, trainer):
        if trainer.sanity_checking or (trainer.global_step, trainer.global_rank) != (self.step, self.rank):
            return
        waiting = Path("waiting")
        waiting.touch()
        while waiting.exists():
            time.sleep(0.01)


class Waits(Callback):
    """Counts what processes, and a device, wait for in the steps from `first` to before `last`: writes how often each
    operation of torch.distributed ran, and `fetched`, how many numbers were read from tensors, to `waits-RANK.json`."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.first:
            self.profile.start()
        if trainer.global_step == self.last:
            self.profile.stop()
            names = Counter(event.name for event in self.profile.events())
            waits = {name.removeprefix("c10d::"): count for name, count in names.items() if name.startswith("c10d::")}
            waits["fetched"] = names["aten::_local_scalar_dense"]
            Path(f"waits-{trainer.global_rank}.json").write_text(json.dumps(waits))


class Passes(Callback):
    """Counts how often the codec runs in a validation: appends it to `passes-RANK.txt`."""

    def on_validation_start(self, trainer, module):
        self.count = 0
        self.handle = module.codec.encoder.register_forward_hook(self.counted)

    def counted(self, *_):
        self.count += 1

    def on_validation_end(self, trainer, module):
        self.handle.remove()
        with Path(f"passes-{trainer.global_rank}.txt").open("a") as file:
            file.write(f"{self.count // module.codec.config.iterations}\n")


class CutAt(Callback):
    """The plug is pulled after some steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *rest) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("cut")
