"""`python -m lit_rnncomp.data.benchmark`: how fast pictures become tiles, and tiles batches, on one core; and what
workers that prepare batches cost."""

import itertools
import multiprocessing
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from ..files import write_json
from ..images import list_images, read_image, to_signal
from .jobs import Rule
from .samples import sample_photographs
from .shards import FORMAT, INDEX, TileShards

_WEB = 6_000_000  # pictures of the paper's high-entropy set


def benchmark(images: str | None = None, tiles: int = 100_000, batch_size: int = 32, seconds: float = 3.0) -> None:
    """Measures mining (pictures/s) and loading (tiles/s) on one core and prints a table.

    The seconds are those of the process on its core, so that other work on the machine matters less; the files are in
    the operating system's cache.

    Args:
        images: folder of pictures to mine; not given, 1280x720 JPEGs made of the sample photographs.
        tiles: random 32x32 tiles to write to a temporary folder and load from; 3 kB each.
        batch_size: tiles a batch.
        seconds: time for each measurement; the median of five slices is shown, and their range.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "what", "a core second", "range", title=f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = list_images(images) if images else _web_pictures(Path(folder))
        for keep in ("hardest 100", "all", "thumbnail"):
            rates = _rates(_mining(Rule(32, keep), paths), seconds)
            table.add_row(f"mining, {keep}: pictures", f"{median(rates):.1f}", f"{min(rates):.1f} to {max(rates):.1f}")
            if keep == "hardest 100":
                hours = _WEB / median(rates) / 3600
                table.add_row(f"  for 6 million: {hours:,.0f} core hours", f"{hours / 64:.1f} h on 64 cores", "")
        for name, batches in _loading(Path(folder), tiles, batch_size):
            rates = _rates(batches, seconds)
            table.add_row(f"{name}: tiles", f"{median(rates):,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}")
        Console().print(table)
        table = Table("4 workers, 200 batches of crops of 32 pictures", "core seconds", "memory, MB")
        for name, taken, memory in _workers([path for path in paths for _ in range(8)][:32], batch_size):
            table.add_row(name, f"{taken:.1f}", f"{memory:.0f}")
        Console().print(table)


def _rates(work: Callable[[], int], seconds: float) -> list[float]:
    """Calls `work`, which answers how many items it did, over five slices of CPU time; items a second in each."""
    work()
    rates = []
    for _ in range(5):
        done, start = 0, time.process_time()
        while (taken := time.process_time() - start) < seconds / 5:
            done += work()
        rates.append(done / taken)
    return rates


def _mining(rule: Rule, paths: list[Path]) -> Callable[[], int]:
    pictures = itertools.cycle(paths)

    def one() -> int:
        rule.apply(next(pictures))
        return 1

    return one


def _loading(folder: Path, tiles: int, batch_size: int) -> Iterator[tuple[str, Callable[[], int]]]:
    from .sampling import ResumableLoader, as_is
    from .tiles import ShuffledTiles

    data = ShuffledTiles(_random_tiles(folder / "tiles", tiles))
    random = np.random.default_rng(0)
    yield f"random access, {batch_size} at a time", lambda: len(data.shards.read(random.integers(0, tiles, batch_size)))
    whole = itertools.chain.from_iterable(
        itertools.repeat(ResumableLoader(data, 1000 * batch_size, batch_size, collate_fn=as_is))
    )
    yield "the training loader, uint8", lambda: len(next(whole))
    yield "the training loader, float32 in [-1, 1]", lambda: len(to_signal(next(whole)))


def _workers(
    paths: list[Path], batch_size: int, count: int = 4, batches: int = 200
) -> Iterator[tuple[str, float, float]]:
    """Processor seconds and memory of workers that each keep what they decode, and of those that share it (Linux)."""
    import resource

    from .photographs import RandomCrops
    from .sampling import ResumableLoader, as_is

    def taken() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / f"{number}{path.suffix}" for number, path in enumerate(paths)]
        for path, copy in zip(paths, copies, strict=True):
            copy.write_bytes(path.read_bytes())
        for name in ("each by itself", "sharing"):
            crops, before, memory = RandomCrops(copies), taken(), 0.0
            if name == "sharing":
                crops.share(count)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "This DataLoader will create")  # more of them than there are cores
                loader = ResumableLoader(crops, batches * batch_size, batch_size, collate_fn=as_is, num_workers=count)
                for number, _ in enumerate(loader, 1):
                    if number == batches:
                        memory = sum(_proportional_mb(child.pid) for child in multiprocessing.active_children())
            yield name, taken() - before, memory


def _proportional_mb(pid: int | None) -> float:
    """Memory of a process; what it shares with others counts for each in equal parts."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def _web_pictures(folder: Path) -> list[Path]:
    paths = []
    for source in sample_photographs():
        picture = np.asarray(read_image(source))
        times = -(-720 // picture.shape[0]), -(-1280 // picture.shape[1]), 1
        paths.append(folder / f"{source.stem}.jpg")
        Image.fromarray(np.tile(picture, times)[:720, :1280]).save(paths[-1], quality=90)
    return paths


def _random_tiles(folder: Path, tiles: int, shards: int = 20) -> TileShards:
    random, counts = np.random.default_rng(0), np.diff(np.linspace(0, tiles, shards + 1).astype(int)).tolist()
    folder.mkdir()
    for number, count in enumerate(counts):
        np.save(folder / f"{number}.npy", random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
    index = {
        "format": FORMAT,
        "tile": 32,
        "shards": [{"file": f"{number}.npy", "tiles": count} for number, count in enumerate(counts)],
    }
    write_json(folder / INDEX, index)
    return TileShards(folder)


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(benchmark)
