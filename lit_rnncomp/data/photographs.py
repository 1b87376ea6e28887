"""Photographs as data sets: random crops to train on, whole pictures to validate on.

All pictures leave as uint8, a quarter of the bytes to copy between processes and to the device; `images.to_signal`
makes them what the models take.
"""

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from ..images import ImageError, list_images, read_image
from .sampling import NOTHING, shuffled
from .shared import SharedPictures, can_share


def find_pictures(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Lists the pictures of a folder, a file, or several of either, in the order given, folders sorted inside.

    Raises:
        ImageError: a source is missing, or nothing was found.
    """
    sources = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    found = [path for source in sources for path in ([Path(source)] if Path(source).is_file() else list_images(source))]
    if not found:
        raise ImageError(f"no pictures in {', '.join(map(str, sources)) or 'an empty list'}")
    return found


def hold_out(paths: Sequence[Path], count: int) -> tuple[list[Path], list[Path]]:
    """Splits pictures into (train, validation) by their file names alone.

    The `count` names with the smallest SHA-256 digests are held out, so the split does not depend on the folder, the
    order or the machine, and a few added pictures change it little. Files of one name go to the same side.

    Raises:
        ValueError: fewer than two names would be left to train on.
    """
    names = sorted({path.name for path in paths}, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    if count < 1 or len(names) - count < 2:
        raise ValueError(
            f"cannot hold out {count} of {len(names)} pictures; lower data.holdout or give data.val a folder of its own"
        )
    held = set(names[:count])
    return [path for path in paths if path.name not in held], [path for path in paths if path.name in held]


class PictureCache:
    """Reads pictures as `(H, W, 3)` uint8 arrays and keeps the first ones, up to a number of bytes.

    It never evicts: with random access over more pictures than fit, the share that stays is the share that hits.

    Args:
        megabytes: what to keep, in 10^6 bytes, for this process and its workers together; 0 keeps nothing.
        strict: raise on an unreadable picture instead of warning (once a file) and answering `None`.
    """

    def __init__(self, megabytes: float, strict: bool) -> None:
        self.room = int(megabytes * 1e6)
        self.strict = strict
        self._kept: dict[Path, np.ndarray | None] = {}
        self._numbers: dict[Path, int] = {}
        self._shared: SharedPictures | None = None

    def share(self, paths: Sequence[Path], workers: int) -> None:
        """Before a number of processes is started that read these pictures: what one decodes, all have.

        Where processes cannot share memory, each gets its part of the room.
        """
        if can_share():
            self._numbers = {path: number for number, path in enumerate(paths)}
            self._shared = SharedPictures(len(paths), self.room)
        else:
            self.room //= workers

    def read(self, path: Path, smallest: int) -> np.ndarray | None:
        """Returns the picture, or None when it is unreadable or one of its sides is below `smallest` pixels."""
        if path in self._kept:
            return self._kept[path]
        if self._shared and (known := self._shared.read(self._numbers[path])) is not None:
            return known
        try:
            picture = np.asarray(read_image(path))
            if min(picture.shape[:2]) < smallest:
                raise ImageError(
                    f"{path} is {picture.shape[1]}x{picture.shape[0]}, smaller than {smallest} pixels a side"
                )
        except ImageError as error:
            if self.strict:
                raise
            warnings.warn(f"skipped: {error}", stacklevel=2)
            self._kept[path] = None
            return None
        if self._shared:
            self._shared.keep(self._numbers[path], picture)
        elif picture.nbytes <= self.room:
            self.room -= picture.nbytes
            self._kept[path] = picture
        return picture


class RandomCrops(Dataset[Tensor]):
    """Random crops of photographs, scaled down at random and flipped; position `p` is a pure function of (seed, p).

    Each run through all pictures visits every picture once, in a new order. Scaling down hides the 8x8 grid of
    pictures that were stored as JPEG. A crop is scaled only as far as it still fits, and never up.

    Args:
        paths: the pictures; those that are unreadable or smaller than `patch` are replaced by the next in the list.
        patch: height and width of a crop, in pixels.
        scale: range of the factor, uniform, in (0, 1].
        flips: mirror half of the crops left to right, and half of them upside down.
        seed: of order, places, factors and flips.
        strict: raise on such a picture instead of warning.
        cache_mb: megabytes of decoded pictures to keep.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        patch: int = 32,
        scale: tuple[float, float] = (0.6, 1.0),
        flips: bool = True,
        seed: int = 0,
        strict: bool = False,
        cache_mb: float = 2000,
    ) -> None:
        if not paths:
            raise ValueError("no pictures to crop")
        if patch < 1:
            raise ValueError(f"patch is {patch}, must be at least 1")
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale is {tuple(scale)}, must be 0 < low <= high <= 1")
        self.paths, self.patch, self.scale, self.flips, self.seed = list(paths), patch, scale, flips, seed
        self.cache = PictureCache(cache_mb, strict)

    def __len__(self) -> int:
        """The number of pictures; positions beyond it are further runs through them."""
        return len(self.paths)

    def share(self, workers: int) -> None:
        """Lets processes that are started after this share what they decode."""
        self.cache.share(self.paths, workers)

    def __getitem__(self, position: int) -> Tensor:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> Tensor:
        """Returns the crops at several positions, `(B, 3, patch, patch)` uint8."""
        chosen = shuffled(np.asarray(positions), len(self.paths), self.seed)
        crops = [self._crop(position, int(item)) for position, item in zip(positions, chosen, strict=True)]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)

    def _crop(self, position: int, item: int) -> np.ndarray:
        picture = self._readable(item)
        random = np.random.default_rng((self.seed % 2**64, position))
        uniform = random.random(5)
        height, width = picture.shape[:2]
        factor = self.scale[0] + (self.scale[1] - self.scale[0]) * uniform[0]
        side = min(self.patch / factor, height, width)  # of the square to cut, in pixels of the picture
        if side == self.patch:
            top, left = (
                int(u * (extent - self.patch + 1)) for u, extent in zip(uniform[1:3], (height, width), strict=True)
            )
            crop = picture[top : top + self.patch, left : left + self.patch]
        else:
            crop = _resample(picture, uniform[1] * (height - side), uniform[2] * (width - side), side, self.patch)
        if self.flips:
            crop = crop[:: -1 if uniform[3] < 0.5 else 1, :: -1 if uniform[4] < 0.5 else 1]
        return crop

    def _readable(self, item: int) -> np.ndarray:
        for attempt in range(len(self.paths)):
            picture = self.cache.read(self.paths[(item + attempt) % len(self.paths)], self.patch)
            if picture is not None:
                return picture
        raise ImageError(
            f"none of the {len(self.paths)} training pictures ({self.paths[0]}, ...) can be cropped to "
            f"{self.patch} pixels"
        )


def _resample(picture: np.ndarray, top: float, left: float, side: float, patch: int) -> np.ndarray:
    """Scales the square at (top, left) down to `patch` pixels a side; equal to cropping the whole picture scaled
    down."""
    margin = int(np.ceil(2 * side / patch)) + 1  # reach of the antialiased bicubic filter, in pixels of the picture
    y, x = max(0, int(top) - margin), max(0, int(left) - margin)
    around = picture[y : int(top + side) + margin + 1, x : int(left + side) + margin + 1]
    box = (left - x, top - y, left - x + side, top - y + side)
    return np.asarray(Image.fromarray(around).resize((patch, patch), Image.Resampling.BICUBIC, box=box))


class WholePictures(Dataset[Tensor]):
    """Whole photographs as `(3, H, W)` uint8, cropped around the centre until H and W are multiples of `multiple`.

    Every picture is decoded once at construction, so that the unreadable ones are named before anything runs.

    Args:
        paths: the pictures.
        multiple: what height and width must divide by (a codec's `stride`); smaller pictures count as unreadable.
        max_side: crop sides longer than this many pixels.
        strict: raise on an unreadable picture instead of leaving it out with a warning.
        cache_mb: megabytes of decoded pictures to keep.

    Raises:
        ImageError: no picture is left.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        multiple: int = 32,
        max_side: int | None = None,
        strict: bool = False,
        cache_mb: float = 2000,
    ) -> None:
        if multiple < 1 or (max_side is not None and max_side < multiple):
            raise ValueError(f"max_side ({max_side}) must be at least multiple ({multiple}), and that at least 1")
        self.multiple, self.max_side = multiple, max_side
        self.cache = PictureCache(cache_mb, strict)
        shown = track(paths, "checking pictures", disable=len(paths) < 100, transient=True)
        self.paths = [path for path in shown if self.cache.read(path, multiple) is not None]
        if not self.paths:
            raise ImageError(f"none of {len(paths)} pictures is readable and at least {multiple} pixels a side")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        if index == NOTHING:
            return torch.empty(0, 3, self.multiple, self.multiple, dtype=torch.uint8)
        picture = self.cache.read(self.paths[index], self.multiple)
        if picture is None:
            raise ImageError(f"{self.paths[index]} was readable when the run started and no longer is")
        height, width = (self._length(extent) for extent in picture.shape[:2])
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        return torch.from_numpy(picture[top : top + height, left : left + width].copy()).permute(2, 0, 1)

    def _length(self, extent: int) -> int:
        return min(extent, self.max_side or extent) // self.multiple * self.multiple
