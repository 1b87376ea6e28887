"""`python -m lit_rnncomp.training.compare_ternary PHOTOGRAPHS`: networks of ternary codes at equal compute.

Each row is a network of about as many multiply-adds as the first of its table, trained from nothing for the same
processor time on one thread. Killed and started again, it goes on with the first row that is not in `--out`.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ..data.module import PhotographData
from ..files import write_json
from ..models import lapped
from .callbacks import StepSeeds
from .recurrent_ternary import RecurrentTernaryDecoder, RecurrentTernaryEntropyModel
from .ternary import VALIDATED, TernaryTraining
from .ternary_decoder import TernaryDecoder
from .ternary_entropy import TernaryEntropyModel

_DECAY = 0.3


class Row(NamedTuple):
    """A network, and the crops of a step: as many positions and iterations in all, whether it is unrolled or not."""

    title: str
    kind: Callable[..., TernaryTraining]
    options: dict[str, Any]
    batch: int = 6
    patch: int = 160


_UNROLLED = {"batch": 2, "patch": 96}
ENTROPY = {
    "shipped": Row("levels, six passes (ships)", TernaryEntropyModel, {"channels": 64, "blocks": 2}),
    "one_pass": Row(
        "levels, all codes at once", TernaryEntropyModel, {"channels": 96, "blocks": 3, "known_codes": False}
    ),
    "state_passes": Row(
        "state fed with levels, six passes",
        RecurrentTernaryEntropyModel,
        {"channels": 60, "blocks": 0, "fed": "levels"},
        **_UNROLLED,
    ),
    "state_codes": Row(
        "state fed with codes alone, all codes at once (the paper's way)",
        RecurrentTernaryEntropyModel,
        {"channels": 95, "blocks": 0, "fed": "codes", "known_codes": False},
        **_UNROLLED,
    ),
    "own_block": Row(
        "levels, passes that know codes of their own block alone",
        TernaryEntropyModel,
        {"channels": 90, "blocks": 2, "neighbours": False},
    ),
    "state_levels": Row(
        "state fed with levels, all codes at once",
        RecurrentTernaryEntropyModel,
        {"channels": 95, "blocks": 0, "fed": "levels", "known_codes": False},
        **_UNROLLED,
    ),
}
DECODER = {
    "decoder": Row("levels (ships)", TernaryDecoder, {"channels": 128, "blocks": 4}),
    "decoder_state": Row("state fed with levels", RecurrentTernaryDecoder, {"channels": 126, "blocks": 1}, **_UNROLLED),
}
ROWS = ENTROPY | DECODER


class ProcessorTime(Callback):
    """Ends a run after some `seconds` of the process; in the last `_DECAY` of them the rate falls to 0."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.start = seconds, 0.0

    @property
    def left(self) -> float:
        """Share of the time that is left."""
        return max(0.0, 1 - (time.process_time() - self.start) / self.seconds)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.start = time.process_time()

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *rest: Any) -> None:
        (scheduled,) = trainer.lr_scheduler_configs
        rates = scheduled.scheduler.get_last_lr()
        for group, rate in zip(trainer.optimizers[0].param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, self.left / _DECAY)

    def on_train_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
        trainer.should_stop = not self.left


def compare(
    photographs: Path,
    out: Path = Path("runs/compare_ternary"),
    minutes: float = 8.0,
    rows: list[str] | None = None,
    holdout: int = 32,
) -> None:
    """Train each of some networks, measure them on photographs that are held out, and print tables.

    Args:
        photographs: a folder; those whose names have the smallest SHA-256 are held out.
        out: folder of a JSON file for each network that is done.
        minutes: of training, processor time.
        rows: which networks, by name; null is all.
        holdout: photographs to measure on.
    """
    torch.set_num_threads(1)
    for name in rows or ROWS:
        if name not in ROWS:
            raise ValueError(f"there is no row {name}: there are {', '.join(ROWS)}")
        path = out / f"{name}.json"
        if path.exists() and (done := json.loads(path.read_text())["minutes"]) != minutes:
            raise ValueError(f"{path} is of {done:g} minutes: give --minutes {done:g}, or another folder as --out")
        if not path.exists():
            write_json(path, measured(ROWS[name], photographs, minutes, holdout))
    print(f"{minutes:g} minutes each on one thread of {platform.machine()}, torch {torch.__version__}\n")
    for title, chosen in (("bits per pixel", ENTROPY), ("squared error", DECODER)):
        print(table(title, {row.title: out / f"{name}.json" for name, row in chosen.items()}))


def measured(row: Row, photographs: Path, minutes: float, holdout: int) -> dict[str, Any]:
    """Trains a network and says what it costs and reaches, by tune and iteration."""
    L.seed_everything(1)
    module = row.kind(**row.options, schedule="constant", warmup=50)
    # Nothing is validated while a row trains, so there is no best checkpoint to keep.
    module.configure_callbacks = list  # type: ignore[method-assign]
    data = PhotographData(
        train=str(photographs),
        holdout=holdout,
        patch=row.patch,
        batch_size=row.batch,
        scale=(0.6, 0.95),
        steps_per_epoch=500,
        multiple=8,
        max_side=256,
        cache_mb=4000,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        callbacks=[StepSeeds(), ProcessorTime(60 * minutes)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    steps, module = trainer.global_step, module.eval()
    with torch.no_grad():
        found = [[values_of(module, picture, tune) for tune in lapped.TUNES] for picture in pictures(data)]
    values = torch.stack([torch.stack(tunes) for tunes in found]).mean(0)
    by_tune = dict(zip(lapped.TUNES, values.tolist(), strict=True))
    return {"minutes": minutes, "multiply_adds": multiply_adds(module), "steps": steps, "values": by_tune}


def multiply_adds(module: TernaryTraining) -> int:
    """Of a position and iteration: the weights of the convolutions that are used."""
    return sum(p.numel() for p in module.network.parameters() if p.requires_grad and p.ndim == 4)


def pictures(data: PhotographData) -> list[Tensor]:
    """Those held out, in [-1, 1]."""
    return [data.on_after_batch_transfer(picture, 0) for picture in data.val_dataloader()]


def values_of(module: TernaryTraining, picture: Tensor, tune: str) -> Tensor:
    """Bits per pixel up to each iteration, or squared errors over those of intervals' middles. `(iterations,)`."""
    if isinstance(module, TernaryEntropyModel):
        return module.rates(picture, tune).mean(0).cumsum(0)
    assert isinstance(module, TernaryDecoder)
    return module.errors(picture, range(VALIDATED), tune).mean(0)


def table(title: str, paths: dict[str, Path]) -> str:
    """In Markdown; networks that are not measured have no row. Iterations before the third say little."""
    shown = range(2, VALIDATED)
    lines = [f"| {title} after iteration | multiply-adds | steps | " + " | ".join(str(t + 1) for t in shown)]
    lines[0] += " | psnr | visual |"
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for name, path in paths.items():
        if not path.exists():
            continue
        row = json.loads(path.read_text())
        tunes = [row["values"][tune] for tune in lapped.TUNES]
        means = [sum(values) / len(values) for values in zip(*tunes, strict=True)]
        cells = [f"{row['multiply_adds'] / 1000:.0f} k", str(row["steps"]), *(f"{means[t]:.4f}" for t in shown)]
        lines.append("| " + " | ".join([name, *cells, *(f"{values[-1]:.4f}" for values in tunes)]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import logging
    import warnings

    from jsonargparse import auto_cli

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    auto_cli(compare)
