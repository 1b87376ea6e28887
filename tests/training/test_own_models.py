"""Models of one's own: schedules, optimizers and parameters that no model here has."""

import csv

import pytest
import torch
from helpers.small_runs import DATA_AND_TRAINER, NETWORK

pytestmark = pytest.mark.slow
OWN = """
import torch
from torch.optim.lr_scheduler import *

from lit_rnncomp.training import GRUCompressor


class Own(GRUCompressor):
    def schedule(self, optimizer):
        return None

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), self.hparams["lr"])
        schedule = self.schedule(optimizer)
        if schedule is None:
            return optimizer
        chosen = {"scheduler": schedule, "interval": "step", "monitor": "val/auc_ms_ssim", "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": chosen}


class Steps(Own):
    def schedule(self, optimizer):
        return StepLR(optimizer, 2, 0.5)


class Cosine(Own):
    def schedule(self, optimizer):
        return CosineAnnealingLR(optimizer, 10)


class Sequence(Own):
    def schedule(self, optimizer):
        return SequentialLR(optimizer, [ConstantLR(optimizer, 0.5, 2), ExponentialLR(optimizer, 0.5)], [2])


class Plateau(Own):
    def schedule(self, optimizer):
        return ReduceLROnPlateau(optimizer)


class Manual(Own):
    def __init__(self, **options):
        super().__init__(**options)
        self.automatic_optimization = False
        self.scale = torch.nn.Parameter(torch.ones(()))

    def training_step(self, image, index):
        loss = super().training_step(image, index) * self.scale
        self.optimizers().zero_grad()
        self.manual_backward(loss)
        self.optimizers().step()
"""
SMALL = [*NETWORK, *DATA_AND_TRAINER, "--trainer.logger.init_args.version=own", "--ckpt_path=last"]


@pytest.fixture
def fit(starts, tmp_path):
    """Starts a run of a class in `mine.py`, or goes on with it, to its end."""
    (tmp_path / "mine.py").write_text(OWN)

    def run(kind: str, *arguments: str) -> None:
        process = starts(tmp_path, "fit", f"--model=mine.{kind}", *SMALL, *arguments)
        assert process.wait() == 0, process.output()

    return run


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("Own", 0.1), ("Steps", 0.0125), ("Cosine", 0.0345491503), ("Sequence", 0.00625), ("Plateau", 0.1)],
)
def test_any_schedule_goes_on_with_the_rate_of_each_start(fit, tmp_path, kind, rate):
    fit(kind, "--model.init_args.lr=0.01", "--trainer.max_steps=4")
    fit(kind, "--model.init_args.lr=0.1", "--trainer.max_steps=6")
    last = torch.load(tmp_path / "runs/lightning_logs/own/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(rate)


def test_own_steps_and_a_parameter_of_the_module_itself(fit, tmp_path):
    fit("Manual", "--trainer.max_steps=2")
    with (tmp_path / "runs/lightning_logs/own/metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/l1"]]
    assert len(rows) == 2 and all(float(row["train/grad_norm_scale"]) > 0 for row in rows)
