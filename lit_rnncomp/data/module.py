"""The data of a run, for Lightning: training crops or tiles that resume exactly, and whole pictures to measure on."""

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..images import to_signal
from ..machine import workers
from .photographs import RandomCrops, WholePictures, find_pictures, hold_out
from .samples import sample_photographs
from .sampling import RankSampler, ResumableLoader, as_is, leave_signals, one_by_one
from .shards import INDEX, TileShards
from .tiles import ShuffledTiles


class PhotographData(LightningDataModule):
    """Photographs: random crops to train on, whole pictures to validate, test and predict on.

    The models receive float32 `(B, 3, H, W)` in [-1, 1]; loaders hand out uint8, converted on the device after the
    copy.

    Args:
        train: a folder of pictures, a picture, a list of either, or a folder of tiles made by `lit-rnncomp data mine`.
            Not given: the photographs that the package scikit-image ships, for training and validation alike (a
            demonstration: its validation figures say nothing about other pictures).
        val: the same for validation. Not given: `holdout` pictures of `train`, picked by a digest of their names.
        test: pictures for `test`. Not given: those of validation.
        predict: pictures for `predict`. Not given: those of `test`.
        batch_size: crops a batch and device. Whole pictures come one by one.
        patch: height and width of a crop in pixels (tiles have their own size).
        steps_per_epoch: batches an epoch, which is a unit to count in: it need not be a pass over the pictures.
        holdout: how many pictures of `train` to validate on when `val` is not given.
        scale: range of the random factor by which pictures are scaled down before cropping.
        flips: mirror crops at random, both ways.
        multiple: whole pictures are cropped to multiples of it: the codec's stride or a multiple of that.
        max_side: longer sides of whole pictures are cropped to it, in pixels.
        num_workers: processes that prepare training batches; 0 prepares them in the training process. Not given: the
            cores there are for each device but one, at most 8, and 0 on one or two. Batches are the same with any.
        seed: of the data order and every random choice.
        strict: stop at an unreadable picture instead of skipping it with a warning.
        cache_mb: megabytes of decoded pictures to keep in memory, for each device and data set; workers share them.
    """

    def __init__(
        self,
        train: str | list[str] | None = None,
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        predict: str | list[str] | None = None,
        batch_size: int = 32,
        patch: int = 32,
        steps_per_epoch: int = 1000,
        holdout: int = 32,
        scale: tuple[float, float] = (0.6, 1.0),
        flips: bool = True,
        multiple: int = 32,
        max_side: int | None = None,
        num_workers: int | None = None,
        seed: int = 0,
        strict: bool = False,
        cache_mb: float = 2000,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("steps_per_epoch", steps_per_epoch)):
            if value < 1:
                raise ValueError(f"data.{name} is {value}, must be at least 1")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"data.num_workers is {num_workers}, must be at least 0")
        self.batch_size, self.steps_per_epoch, self.num_workers = batch_size, steps_per_epoch, num_workers
        self.train, self.val, self.test, self.predict = train, val, test, predict
        self.holdout = holdout
        self._crops: dict[str, Any] = dict(
            patch=patch, scale=scale, flips=flips, seed=seed, strict=strict, cache_mb=cache_mb
        )
        self._wholes: dict[str, Any] = dict(multiple=multiple, max_side=max_side, strict=strict, cache_mb=cache_mb)
        self._train_data: Dataset[Tensor] | None = None

    def split(self) -> tuple[list[Path], list[Path]]:
        """The pictures to train and to validate on.

        Raises:
            ImageError: a folder is missing or empty.
            ValueError: `holdout` leaves too few pictures to train on, or `train` is a folder of tiles and `val` is not
                given.
        """
        if self._tiles:
            if self.val is None:
                raise ValueError(
                    f"{self.train} holds tiles, and whole pictures are needed to validate on: give data.val"
                )
            return [], find_pictures(self.val)
        train = sample_photographs() if self.train is None else find_pictures(self.train)
        if self.val is not None:
            return train, find_pictures(self.val)
        return (train, train) if self.train is None else hold_out(train, self.holdout)

    def fingerprint(self) -> str:
        """A SHA-256 digest of the training data: the index of tiles, or the names and sizes of the pictures in
        order."""
        if self._tiles:
            return hashlib.sha256((self._tiles / INDEX).read_bytes()).hexdigest()
        lines = [f"{path.name}\t{path.stat().st_size}\n" for path in self.split()[0]]
        return hashlib.sha256(os.fsencode("".join(lines))).hexdigest()

    def batch_shape(self) -> tuple[int, ...]:
        """The shape of a training batch as the model gets it; pictures need not be there."""
        side = TileShards(self._tiles).tile if self._tiles else self._crops["patch"]
        return self.batch_size, 3, side, side

    def train_dataloader(self) -> DataLoader[Tensor]:
        if self._train_data is None:
            if self._tiles:
                self._train_data = ShuffledTiles(TileShards(self._tiles), self._crops["seed"])
            else:
                self._train_data = RandomCrops(self.split()[0], **self._crops)
                if self.workers:
                    self._train_data.share(self.workers)
        return self._training(self._train_data)

    def _training(self, data: Dataset[Tensor]) -> DataLoader[Tensor]:
        return ResumableLoader(
            data,
            self.steps_per_epoch * self.batch_size,
            self.batch_size,
            repeated=getattr(self.trainer, "overfit_batches", 0) > 0,
            collate_fn=as_is,
            num_workers=self.workers,
            worker_init_fn=leave_signals,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def workers(self) -> int:
        """Processes that prepare training batches for this one."""
        return workers(getattr(self.trainer, "num_devices", 1)) if self.num_workers is None else self.num_workers

    @property
    def _tiles(self) -> Path | None:
        return Path(self.train) if isinstance(self.train, (str, Path)) and TileShards.at(self.train) else None

    def val_dataloader(self) -> DataLoader[Tensor]:
        return self._whole(self.split()[1])

    def test_dataloader(self) -> DataLoader[Tensor]:
        return self._whole(self.split()[1] if self.test is None else find_pictures(self.test))

    def predict_dataloader(self) -> DataLoader[Tensor]:
        if self.predict is None:
            return self.test_dataloader()
        return self._whole(find_pictures(self.predict))

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        """Converts uint8 to float32 in [-1, 1], on the device."""
        return to_signal(batch) if batch.dtype == torch.uint8 else batch

    def _whole(self, paths: list[Path]) -> DataLoader[Tensor]:
        pictures = WholePictures(paths, **self._wholes)
        return DataLoader(
            pictures, sampler=RankSampler(pictures), collate_fn=one_by_one, pin_memory=torch.cuda.is_available()
        )
