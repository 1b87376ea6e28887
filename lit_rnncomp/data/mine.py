"""`lit-rnncomp data mine`: hard tiles from folders of pictures."""

from json import dumps
from pathlib import Path

from .jobs import Rule, executor, mine_tiles
from .shards import INDEX


def mine(
    *,
    images: str,
    out: str,
    tile: int = 32,
    per_image: int = 100,
    all: bool = False,
    thumbnails: bool = False,
    workers: int = 0,
    scheduler: str | None = None,
    per_shard: int = 200,
    json: bool = False,
) -> None:
    """Cut a folder of pictures into tiles and keep, of each picture, those that PNG compresses worst.

    Started again after an interruption, it goes on where it was, to the same bytes.

    Args:
        images: folder of pictures (PNG, JPEG, WebP, TIFF, BMP, ...), searched with its subfolders.
        out: folder for the tiles; give it to training as data.train.
        tile: height and width of a tile in pixels.
        per_image: how many tiles of a picture to keep.
        all: keep all tiles.
        thumbnails: make one tile of each picture instead, the whole of it scaled down.
        workers: processes; 0 for one a core.
        scheduler: address of a dask scheduler, such as tcp://host:8786, to work on its machines instead (needs
            lit-rnncomp[cluster]; they must see both folders under the same paths).
        per_shard: pictures a shard, the unit of work.
        json: print the summary as JSON.
    """
    if all and thumbnails:
        raise ValueError("all and thumbnails exclude each other")
    keep = "all" if all else "thumbnail" if thumbnails else f"hardest {per_image}"
    with executor(workers, scheduler) as pool:
        mined = mine_tiles(Path(images), Path(out), Rule(tile, keep), pool, per_shard, progress=not json)
    if json:
        print(dumps(mined._asdict()))
        return
    print(f"{mined.tiles} tiles of {mined.pictures} pictures in {mined.shards} shards, in {out}")
    if mined.skipped:
        print(f"{len(mined.skipped)} pictures left out (all are listed in {Path(out) / INDEX}):")
        print("\n".join(f"  {skipped['reason']}" for skipped in mined.skipped[:10]))
