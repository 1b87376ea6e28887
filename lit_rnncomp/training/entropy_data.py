"""Codes of a frozen codec as training data: computed once, kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..codec import weights, zoo
from ..data.module import PhotographData
from ..data.photographs import RandomCrops, WholePictures, find_pictures
from ..data.sampling import NOTHING, RankSampler, one_by_one, shuffled
from ..files import replacing
from ..images import to_signal
from ..models.recurrent_codec import RecurrentCodec


class PackedCrops(Dataset[Tensor]):
    """Codes of equally large crops in one `.npy` file, `(N, T, ceil(bits / 8), h, w)` uint8; positions run through them
    shuffled."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.packed = np.load(path, mmap_mode="r")

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the file again: a memory map would be sent as all its bytes."""
        return PackedCrops, (self.path, self.seed)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.packed[shuffled(np.asarray(positions), len(self.packed), self.seed)])


class PackedPictures(Dataset[Tensor]):
    """Codes of whole pictures, one `.npy` file each, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.npy"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if index == NOTHING:
            return torch.from_numpy(np.load(self.paths[0]))[None][:0]
        return torch.from_numpy(np.load(self.paths[index]))


class EntropyData(PhotographData):
    """Codes that the model's frozen codec makes of photographs: crops to train on, whole pictures to measure on.

    The codec runs once; its codes are kept in a folder of `cache` that is named after all they depend on, so another
    run with the same codec and photographs starts at once and any change computes them anew.

    Args:
        cache: folder for the codes, two bytes for each position and 16 bits.
        crops: crops a training picture.
        patch: height and width of a crop in pixels, a multiple of the codec's; context matters, so at least 256 is
            wise.
        batch_size: crops a batch and device.
        options: as for `PhotographData`.
    """

    def __init__(
        self, cache: str = "runs/codes", crops: int = 4, patch: int = 256, batch_size: int = 4, **options: Any
    ) -> None:
        super().__init__(patch=patch, batch_size=batch_size, **options)
        if crops < 1:
            raise ValueError(f"data.crops is {crops}, must be at least 1")
        self.cache, self.crops = Path(cache), crops

    def prepare_data(self) -> None:
        """Runs the codec over what is not in the cache yet."""
        codec = self._codec()
        training, validation = self.split()
        if not (path := self.crops_file(codec)).exists():
            crops = RandomCrops(training, **self._crops)
            positions = range(len(crops) * self.crops)
            pictures = (crops[p] for p in track(positions, "coding crops", transient=True))
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, np.concatenate(list(self._code(codec, pictures))))
        for paths in (validation, self._testing()):
            folder = self.pictures_folder(codec, paths)
            wholes = WholePictures(paths, **self._wholes)
            names = [folder / f"{index:05d}.npy" for index in range(len(wholes))]
            missing = [index for index, name in enumerate(names) if not name.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            shown = track(missing, "coding pictures", transient=True, disable=not missing)
            for index, packed in zip(missing, self._code(codec, (wholes[i] for i in shown)), strict=True):
                with replacing(names[index]) as temporary, temporary.open("wb") as file:
                    np.save(file, packed[0])

    def crops_file(self, codec: RecurrentCodec) -> Path:
        """Where the codes of the training crops lie."""
        return self.cache / f"crops-{self._key(codec, self.split()[0], self.crops, self._crops)}.npy"

    def pictures_folder(self, codec: RecurrentCodec, paths: Sequence[Path]) -> Path:
        """Where the codes of whole pictures lie."""
        return self.cache / f"pictures-{self._key(codec, paths, 1, self._wholes)}"

    def batch_shape(self) -> tuple[int, ...]:
        config = self._codec().config
        side = self._crops["patch"] // config.code_stride
        return self.batch_size, config.iterations, config.bits, side, side

    def train_dataloader(self) -> DataLoader[Tensor]:
        return self._training(PackedCrops(self.crops_file(self._codec()), self._crops["seed"]))

    def val_dataloader(self) -> DataLoader[Tensor]:
        return self._pictures(self.split()[1])

    def test_dataloader(self) -> DataLoader[Tensor]:
        return self._pictures(self._testing())

    def predict_dataloader(self) -> DataLoader[Tensor]:
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        """Packed codes to float32 `(B, T, bits, h, w)` in {-1, +1}, on the device."""
        return unpack(batch, self._codec().config.bits)

    def _testing(self) -> list[Path]:
        return self.split()[1] if self.test is None else find_pictures(self.test)

    def _pictures(self, paths: Sequence[Path]) -> DataLoader[Tensor]:
        pictures = PackedPictures(self.pictures_folder(self._codec(), paths))
        return DataLoader(pictures, sampler=RankSampler(pictures), collate_fn=one_by_one)

    def _codec(self) -> RecurrentCodec:
        """The codec that the model names; loaded once."""
        path = self.trainer.lightning_module.hparams["codec"]  # type: ignore[union-attr]
        if getattr(self, "_loaded", (None,))[0] != path:
            self._loaded = (path, weights.load_binary(zoo.find(path)))
        return self._loaded[1]

    @torch.inference_mode()
    def _code(self, codec: RecurrentCodec, pictures: Iterator[Tensor]) -> Iterator[np.ndarray]:
        device = self.trainer.strategy.root_device  # type: ignore[union-attr]
        codec = codec.to(device)
        for picture in pictures:
            codes = torch.stack([step.codes for step in codec.encode(to_signal(picture[None].to(device)))], dim=1)
            yield np.packbits(codes.cpu().numpy() > 0, axis=2)

    def _key(self, codec: RecurrentCodec, paths: Sequence[Path], crops: int, options: dict[str, Any]) -> str:
        sha = hashlib.sha256(weights.digest(codec))
        kept = sorted((name, value) for name, value in options.items() if name not in ("cache_mb", "strict"))
        sha.update(repr((crops, kept, [(path.name, path.stat().st_size) for path in paths])).encode())
        return sha.hexdigest()[:16]


def unpack(packed: Tensor, bits: int) -> Tensor:
    """`(B, T, ceil(bits / 8), h, w)` uint8 as `numpy.packbits` wrote it to float32 `(B, T, bits, h, w)` in {-1, +1}."""
    shifts = torch.arange(7, -1, -1, device=packed.device).view(-1, 1, 1)
    codes = (packed.unsqueeze(3) >> shifts & 1).flatten(2, 3)[:, :, :bits]
    return codes.float() * 2 - 1
