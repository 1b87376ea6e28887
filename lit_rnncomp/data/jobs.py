"""From a folder of pictures to a folder of tiles, in jobs for many cores or machines.

The work is cut into jobs of some pictures each, and each job writes one shard whatever happened before. So a run that
was killed is started again with the same command, makes only the shards that are missing, and ends with the same bytes.
"""

import hashlib
import io
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from ..files import check_folder, remove_unfinished, write_bytes, write_json
from ..images import ImageError, list_images, read_image
from ..machine import cores, end_with_parent
from .cutting import cut, hardest, thumbnail
from .shards import FORMAT, INDEX, ShardError


@dataclass(frozen=True)
class Rule:
    """What becomes of a picture: tiles of `tile` pixels a side, kept as `keep` says ("hardest N", "all" or
    "thumbnail")."""

    tile: int
    keep: str

    def apply(self, path: Path) -> np.ndarray:
        """Returns the tiles of a picture, `(N, tile, tile, 3)` uint8.

        Raises:
            ImageError: the picture is unreadable, or smaller than a tile.
        """
        picture = read_image(path)
        if min(picture.size) < self.tile:
            raise ImageError(f"{path} is {picture.width}x{picture.height}, smaller than a tile of {self.tile} pixels")
        if self.keep == "thumbnail":
            return thumbnail(picture, self.tile)
        tiles = cut(np.asarray(picture), self.tile)
        return tiles if self.keep == "all" else hardest(tiles, int(self.keep.removeprefix("hardest ")))


class Job(NamedTuple):
    """One shard to make: `number`, from `pictures` (relative to `images`), into the folder `out`."""

    number: int
    images: Path
    pictures: list[str]
    rule: Rule
    out: Path

    @property
    def shard(self) -> Path:
        return self.out / f"tiles-{self.number:05}.npy"

    @property
    def record(self) -> Path:
        return self.out / "jobs" / f"{self.number:05}.json"

    def done(self) -> bool:
        """Whether the shard is whole: its record is written last, and the file still has the size recorded."""
        try:
            return bool(self.shard.stat().st_size == json.loads(self.record.read_text())["bytes"])
        except (OSError, ValueError, KeyError):
            return False

    def run(self) -> int:
        """Makes the shard and its record; returns the number of pictures gone through."""
        if self.done():
            return len(self.pictures)
        kept, skipped = [np.empty((0, self.rule.tile, self.rule.tile, 3), np.uint8)], []
        for name in self.pictures:
            try:
                kept.append(self.rule.apply(self.images / name))
            except ImageError as error:
                skipped.append({"picture": name, "reason": str(error).replace(f"{self.images}/", "")})
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate(kept), allow_pickle=False)
        data = buffer.getvalue()
        write_bytes(self.shard, data)
        record = {
            "tiles": sum(map(len, kept)),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "skipped": skipped,
        }
        write_json(self.record, record)
        return len(self.pictures)


class Mined(NamedTuple):
    """What a finished folder holds: counts, and for each picture left out its name and the reason."""

    pictures: int
    tiles: int
    shards: int
    skipped: list[dict[str, str]]


@contextmanager
def executor(workers: int = 0, scheduler: str | None = None) -> Iterator[Executor]:
    """Processes of this machine, or those of a dask cluster behind the same interface.

    Raises:
        ValueError: `workers` is negative, dask is missing, or no scheduler answers.
    """
    if scheduler is None:
        if workers < 0:
            raise ValueError(f"workers is {workers}, must be 0 (one a core) or more")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers or cores(), context, initializer=end_with_parent) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("a dask scheduler needs the package dask: pip install 'lit-rnncomp[cluster]'") from None
    try:
        client: Any = Client(scheduler, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ValueError(f"no dask scheduler answers at {scheduler}: {error}") from None
    with client, client.get_executor() as pool:
        yield pool


def mine_tiles(
    images: Path, out: Path, rule: Rule, pool: Executor, per_shard: int = 200, progress: bool = False
) -> Mined:
    """Makes the shards that are missing, then the index.

    Raises:
        ImageError: `images` is no folder, or holds no pictures.
        ShardError: `out` was begun with other options or other pictures, or no picture gave a tile.
        OutputError: `out` was not begun by mining and holds a file of the name of a shard or the index.
    """
    jobs = plan(images, out, rule, per_shard)
    _run(jobs, pool, progress)
    return _write_index(jobs, rule, out)


def plan(images: Path, out: Path, rule: Rule, per_shard: int) -> list[Job]:
    """Cuts the pictures of a folder into jobs, always the same, and writes down for which options `out` is."""
    if rule.tile < 1 or per_shard < 1 or rule.keep == "hardest 0" or rule.keep.startswith("hardest -"):
        raise ValueError(
            f"tile ({rule.tile}), pictures a shard ({per_shard}) and tiles a picture ({rule.keep}) must be at least 1"
        )
    images, out = images.resolve(), out.resolve()
    found = list_images(images)
    if not found:
        raise ImageError(f"no pictures in {images}")
    names = [path.relative_to(images).as_posix() for path in found]
    listing = "".join(f"{name}\t{path.stat().st_size}\n" for name, path in zip(names, found, strict=True))
    begun: dict[str, Any] = {"format": FORMAT, **asdict(rule), "per_shard": per_shard, "pictures": len(names)}
    begun["listing_sha256"] = hashlib.sha256(os.fsencode(listing)).hexdigest()
    path = out / "jobs" / "plan.json"
    if path.is_file():
        earlier = json.loads(path.read_text())
        changed = [
            f"{key} was {earlier.get(key)}, now {value}" for key, value in begun.items() if earlier.get(key) != value
        ]
        if changed:
            raise ShardError(
                f"{out} was begun differently ({'; '.join(changed)}); name another folder or remove this one"
            )
    starts = range(0, len(names), per_shard)
    jobs = [Job(number, images, names[start : start + per_shard], rule, out) for number, start in enumerate(starts)]
    if not path.is_file():
        check_folder(
            out,
            own=False,
            names=[INDEX, *(path.relative_to(out).as_posix() for job in jobs for path in (job.shard, job.record))],
        )
        write_json(path, begun)
    return jobs


def _run(jobs: list[Job], pool: Executor, progress: bool) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("mining"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pictures"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    missing = [job for job in jobs if not job.done()]
    total, left = (sum(len(job.pictures) for job in some) for some in (jobs, missing))
    with Progress(*columns, disable=not progress) as bar:
        task = bar.add_task("", total=total, completed=total - left)
        futures = [pool.submit(Job.run, job) for job in missing]
        try:
            for future in as_completed(futures):
                bar.advance(task, future.result())
        finally:
            for future in futures:
                future.cancel()


def _write_index(jobs: list[Job], rule: Rule, out: Path) -> Mined:
    records = [json.loads(job.record.read_text()) for job in jobs]
    shards = [
        {"file": job.shard.name, "tiles": record["tiles"], "sha256": record["sha256"]}
        for job, record in zip(jobs, records, strict=True)
        if record["tiles"]
    ]
    skipped = [picture for record in records for picture in record["skipped"]]
    mined = Mined(
        sum(len(job.pictures) for job in jobs) - len(skipped),
        sum(shard["tiles"] for shard in shards),
        len(shards),
        skipped,
    )
    if not mined.tiles:
        raise ShardError(f"no picture gave a tile; the first: {skipped[0]['reason']}")
    index = {
        "format": FORMAT,
        **asdict(rule),
        "pillow": PIL.__version__,
        "pictures": mined.pictures,
        "tiles": mined.tiles,
    }
    for folder in (out, out / "jobs"):
        remove_unfinished(folder)
    write_json(out / INDEX, {**index, "skipped": skipped, "shards": shards})
    return mined
