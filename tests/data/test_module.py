from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from lit_rnncomp.data import sample_photographs
from lit_rnncomp.data.module import PhotographData
from lit_rnncomp.data.photographs import hold_out


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(random.integers(0, 256, (48, 70, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_without_a_folder_the_sample_photographs_are_used():
    data = PhotographData(batch_size=4, patch=32, steps_per_epoch=3)
    assert data.split() == (sample_photographs(), sample_photographs())
    batches = list(data.train_dataloader())
    assert [batch.shape for batch in batches] == [(4, 3, 32, 32)] * 3
    pictures = list(data.val_dataloader())
    assert len(pictures) == 4
    assert all(
        picture.shape[0] == 1 and picture.shape[2] % 32 == 0 and picture.shape[3] % 32 == 0 for picture in pictures
    )


def test_validation_is_held_out_or_named(folder):
    data = PhotographData(str(folder), holdout=3)
    train, val = data.split()
    assert (train, val) == hold_out(sorted(folder.iterdir()), 3)
    assert [len(data.train_dataloader().dataset), len(data.val_dataloader()), len(data.test_dataloader())] == [5, 3, 3]
    named = PhotographData(
        str(folder), val=[str(train[0])], test=[str(path) for path in train[:2]], predict=str(folder)
    )
    assert named.split() == (sorted(folder.iterdir()), [train[0]])
    assert [len(named.test_dataloader()), len(named.predict_dataloader())] == [2, 8]
    with pytest.raises(ValueError, match=r"cannot hold out 32 of 8 pictures; lower data\.holdout"):
        PhotographData(str(folder)).split()


def test_the_fingerprint_follows_the_training_files(folder):
    data = PhotographData(str(folder), holdout=3)
    before = data.fingerprint()
    assert before == PhotographData(str(folder), holdout=3).fingerprint()
    Image.new("RGB", (60, 60)).save(data.split()[0][0])
    assert data.fingerprint() != before


@pytest.mark.parametrize("option", ["batch_size", "steps_per_epoch"])
def test_wrong_options_are_named(option):
    with pytest.raises(ValueError, match=f"data.{option} is 0"):
        PhotographData(**{option: 0})


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("cores", "slurm", "devices", "expected"),
    [(1, "", 1, 0), (2, "", 1, 0), (3, "", 1, 2), (64, "", 1, 8), (64, "", 8, 7), (8, "", 4, 0), (4, "4", 4, 3)],
)
def test_workers_are_the_cores_that_are_left(monkeypatch, cores, slurm, devices, expected):
    monkeypatch.setattr("lit_rnncomp.machine.cores", lambda: cores)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    data = PhotographData()
    data.trainer = SimpleNamespace(num_devices=devices)
    assert data.workers == expected and data.train_dataloader().num_workers == expected
    assert PhotographData(num_workers=5).workers == 5
    with pytest.raises(ValueError, match=r"data\.num_workers is -1"):
        PhotographData(num_workers=-1)


class Toy(pl.LightningModule):
    """One weight, trained on the mean of each batch; keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, index):
        assert batch.dtype == torch.float32 and batch.min() >= -1 and batch.max() <= 1
        loss = (self.weight - batch.mean()) ** 2
        self.seen.append((self.global_step, loss.item(), batch.double().sum().item()))
        return loss

    def validation_step(self, batch, index):
        assert batch.dtype == torch.float32 and batch.shape[0] == 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3)


def run(folder, workers: int, steps: int, checkpoint=None):
    model = Toy()
    keep = ModelCheckpoint(folder / "checkpoints", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        callbacks=keep,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    data = PhotographData(
        str(folder), holdout=2, batch_size=2, patch=16, steps_per_epoch=4, num_workers=workers, seed=9
    )
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    return model.seen


@pytest.mark.filterwarnings(
    "ignore:The .*dataloader. does not have many workers",
    "ignore:Checkpoint directory",
    "ignore:.*treespec.*",
    "ignore:.*LeafSpec.*",
    "ignore:This DataLoader will create",
)
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_a_resumed_run_sees_what_an_unbroken_one_sees(folder, workers):
    """Bit for bit, from a checkpoint after any step: in an epoch, at its end, behind it."""
    whole = run(folder, 0, steps=10)
    assert [step for step, *_ in whole] == list(range(10))
    for stop in range(1, 10) if workers == 0 else (3, 4, 5) if workers == 2 else (6,):
        assert run(folder, workers, steps=10, checkpoint=folder / "checkpoints" / f"step={stop}.ckpt") == whole[stop:]
