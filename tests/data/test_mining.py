import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zlib
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.data import ImageError, benchmark, cutting
from lit_rnncomp.data.cutting import cut, hardest, png_bytes
from lit_rnncomp.data.jobs import Mined, Rule, executor, mine_tiles
from lit_rnncomp.data.mine import mine
from lit_rnncomp.data.module import PhotographData
from lit_rnncomp.data.sampling import shuffled
from lit_rnncomp.data.shards import ShardError, TileShards
from lit_rnncomp.data.tiles import ShuffledTiles


@pytest.fixture
def pictures(tmp_path):
    """Nine pictures from flat to noisy, one of them damaged, one too small."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(9):
        noise = random.integers(0, 1 + 28 * number, (70, 100, 3))
        Image.fromarray((noise * np.linspace(0, 1, 100)[:, None]).astype(np.uint8)).save(folder / f"{number}.png")
    (folder / "3.png").write_text("damaged")
    Image.new("RGB", (100, 20)).save(folder / "6.png")
    return folder


class Here:
    """An executor that works at once, in this process; `stop_after` jobs it is killed."""

    def __init__(self, stop_after: int = 10**9):
        self.left = stop_after

    def submit(self, function, *args):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        future = Future()
        future.set_result(function(*args))
        return future

    def shutdown(self, **options):
        pass


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_picture_is_cut_in_raster_order():
    rows, columns = np.mgrid[0:70, 0:100].astype(np.uint8)
    tiles = cut(np.stack([rows, columns, rows], -1), 32)
    assert tiles.shape == (6, 32, 32, 3)
    assert tiles[:, 0, 0, :2].tolist() == [[top, left] for top in (0, 32) for left in (0, 32, 64)]
    np.testing.assert_array_equal(tiles[4, 5, 7], [37, 39, 37])


def test_the_png_size_is_that_of_the_file(tmp_path):
    tile = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(tile).save(tmp_path / "tile.png", compress_level=6)
    assert png_bytes(tile) == (tmp_path / "tile.png").stat().st_size > 32 * 32 * 3 > png_bytes(tile * 0)


def test_the_hardest_tiles_are_kept_in_order():
    random = np.random.default_rng(0)
    tiles = np.stack([random.integers(0, 1 + level, (32, 32, 3), dtype=np.uint8) for level in (9, 200, 0, 60, 200, 3)])
    np.testing.assert_array_equal(hardest(tiles, 3), tiles[[1, 3, 4]])
    np.testing.assert_array_equal(hardest(tiles, 6), tiles)


def test_of_equally_hard_tiles_the_earlier_are_kept(monkeypatch):
    monkeypatch.setattr(cutting, "png_bytes", lambda tile: 100)
    tiles = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    np.testing.assert_array_equal(hardest(tiles, 2), tiles[:2])


def test_mining_keeps_what_the_rule_says(pictures, tmp_path):
    mined = mine_tiles(pictures, tmp_path / "tiles", Rule(32, "hardest 4"), Here(), per_shard=2)
    assert mined[:3] == Mined(7, 28, 5, [])[:3]
    assert mined.skipped == [
        {"picture": "3.png", "reason": "cannot read 3.png: not a picture of a kind that Pillow knows"},
        {"picture": "6.png", "reason": "6.png is 100x20, smaller than a tile of 32 pixels"},
    ]
    shards = TileShards(tmp_path / "tiles")
    assert len(shards) == 28 and shards.index["skipped"] == mined.skipped
    first = cut(np.asarray(Image.open(pictures / "0.png")), 32)
    np.testing.assert_array_equal(shards.read(np.arange(4)), hardest(first, 4))
    last = cut(np.asarray(Image.open(pictures / "8.png")), 32)
    np.testing.assert_array_equal(shards.read(np.arange(24, 28)), hardest(last, 4))
    for shard in shards.index["shards"]:
        assert hashlib.sha256((tmp_path / "tiles" / shard["file"]).read_bytes()).hexdigest() == shard["sha256"]


@pytest.mark.parametrize(("keep", "each"), [("all", 6), ("thumbnail", 1)])
def test_the_other_sets(pictures, tmp_path, keep, each):
    assert mine_tiles(pictures, tmp_path / "tiles", Rule(32, keep), Here()).tiles == 7 * each
    last = TileShards(tmp_path / "tiles").read(np.arange(7 * each - each, 7 * each))
    whole = Image.open(pictures / "8.png")
    expected = (
        cut(np.asarray(whole), 32)
        if keep == "all"
        else np.asarray(whole.resize((32, 32), Image.Resampling.BICUBIC))[None]
    )
    np.testing.assert_array_equal(last, expected)


@pytest.mark.parametrize("stop_after", [0, 1, 3, 4])
def test_an_interrupted_run_goes_on_to_the_same_bytes(pictures, tmp_path, stop_after):
    rule = Rule(32, "hardest 4")
    mine_tiles(pictures, tmp_path / "whole", rule, Here(), per_shard=2)
    with pytest.raises(KeyboardInterrupt):
        mine_tiles(pictures, tmp_path / "broken", rule, Here(stop_after), per_shard=2)
    with pytest.raises(ShardError, match="mining has not finished"):
        TileShards(tmp_path / "broken")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").glob("*.npy")}
    assert len(kept) == stop_after
    mine_tiles(pictures, tmp_path / "broken", rule, Here(5 - stop_after), per_shard=2)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished shards are not made again"


def test_damaged_shards_are_made_again(pictures, tmp_path):
    out, rule = tmp_path / "tiles", Rule(32, "hardest 4")
    mine_tiles(pictures, out, rule, Here(), per_shard=2)
    whole = contents(out)
    (out / "tiles-00001.npy").write_bytes((out / "tiles-00001.npy").read_bytes()[:999])
    (out / "tiles-00002.npy").unlink()
    (out / "jobs" / "00003.json").write_text("{")
    with pytest.raises(ShardError, match=r"tiles-00001\.npy.*mine again"):
        TileShards(out)
    mine_tiles(pictures, out, rule, Here(3), per_shard=2)
    assert contents(out) == whole


def test_a_folder_begun_differently_is_refused(pictures, tmp_path):
    out = tmp_path / "tiles"
    mine_tiles(pictures, out, Rule(32, "hardest 4"), Here())
    with pytest.raises(ShardError, match=r"was begun differently \(tile was 32, now 16; keep was hardest 4, now all\)"):
        mine_tiles(pictures, out, Rule(16, "all"), Here())
    Image.new("RGB", (99, 99)).save(pictures / "new.png")
    with pytest.raises(ShardError, match="pictures was 9, now 10"):
        mine_tiles(pictures, out, Rule(32, "hardest 4"), Here())


def test_nothing_to_mine_is_an_error(pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"no pictures in .*empty"):
        mine_tiles(tmp_path / "empty", tmp_path / "out", Rule(32, "all"), Here())
    with pytest.raises(
        ShardError, match=r"no picture gave a tile; the first: 0\.png is 100x70, smaller than a tile of 128"
    ):
        mine_tiles(pictures, tmp_path / "out", Rule(128, "all"), Here())
    with pytest.raises(ValueError, match=r"tiles a picture \(hardest 0\) must be at least 1"):
        mine_tiles(pictures, tmp_path / "out2", Rule(32, "hardest 0"), Here())


def test_two_processes_make_the_same_bytes(pictures, tmp_path, capsys):
    mine_tiles(pictures, tmp_path / "here", Rule(32, "hardest 4"), Here(), per_shard=2)
    mine(images=str(pictures), out=str(tmp_path / "there"), per_image=4, per_shard=2, workers=2, json=True)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    printed = json.loads(capsys.readouterr().out)
    assert (printed["pictures"], printed["tiles"], len(printed["skipped"])) == (7, 28, 2)
    mine(images=str(pictures), out=str(tmp_path / "there"), per_image=4, per_shard=2, workers=1)
    shown = capsys.readouterr().out
    assert (
        "28 tiles of 7 pictures in 5 shards" in shown
        and "2 pictures left out" in shown
        and "cannot read 3.png" in shown
    )


def test_a_dask_cluster_makes_the_same_bytes(pictures, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs lit-rnncomp[cluster]")
    mine_tiles(pictures, tmp_path / "here", Rule(32, "hardest 4"), Here(), per_shard=2)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        executor(scheduler=cluster.scheduler_address) as pool,
    ):
        mine_tiles(pictures, tmp_path / "there", Rule(32, "hardest 4"), pool, per_shard=2)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_wrong_places_to_work_are_named():
    with pytest.raises(ValueError, match="workers is -1"), executor(-1):
        pass
    with pytest.raises(ValueError, match="all and thumbnails exclude each other"):
        mine(images="a", out="b", all=True, thumbnails=True)


def test_a_killed_run_leaves_no_processes_and_goes_on(pictures, tmp_path):
    """SIGKILL of the parent in the middle of real work: the workers end by themselves, the rerun ends with the same
    bytes."""
    for copy in range(40):
        (pictures / f"more{copy:02}.png").symlink_to(pictures / "8.png")
    script = (
        "import sys, time; from lit_rnncomp.data import jobs; from lit_rnncomp.data.mine import mine\n"
        "if __name__ == '__main__': mine(images=sys.argv[1], out=sys.argv[2], per_image=4, per_shard=1, workers=2)"
    )
    (tmp_path / "run.py").write_text(script)
    command = [sys.executable, str(tmp_path / "run.py"), str(pictures), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while not list((tmp_path / "killed").glob("tiles-*.npy")):
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while _group_is_alive(process.pid):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)
    rule = Rule(32, "hardest 4")
    mine_tiles(pictures, tmp_path / "killed", rule, Here(), per_shard=1)
    mine_tiles(pictures, tmp_path / "whole", rule, Here(), per_shard=1)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_tiles_are_read_from_any_shard_in_any_order(pictures, tmp_path):
    mine_tiles(pictures, tmp_path / "tiles", Rule(32, "all"), Here(), per_shard=2)
    shards = TileShards(tmp_path / "tiles")
    everything = np.concatenate([np.load(path) for path in sorted((tmp_path / "tiles").glob("*.npy"))])
    items = np.random.default_rng(0).integers(0, len(shards), 200)
    np.testing.assert_array_equal(shards.read(items), everything[items])
    for wrong in (-1, len(shards)):
        with pytest.raises(IndexError, match=f"of {len(shards)} in"):
            shards.read(np.array([0, wrong]))


def test_a_shard_of_another_shape_is_refused(pictures, tmp_path):
    mine_tiles(pictures, tmp_path / "tiles", Rule(32, "all"), Here())
    np.save(tmp_path / "tiles" / "tiles-00000.npy", np.zeros((42, 16, 16, 3), np.uint8))
    with pytest.raises(
        ShardError, match=r"holds uint8 \(42, 16, 16, 3\) where index.json says uint8 \(42, 32, 32, 3\)"
    ):
        TileShards(tmp_path / "tiles")
    (tmp_path / "tiles" / "index.json").write_text('{"format": 9}')
    with pytest.raises(ShardError, match="has format 9; this version reads 1"):
        TileShards(tmp_path / "tiles")


def test_tiles_train(pictures, tmp_path):
    mine_tiles(pictures, tmp_path / "tiles", Rule(32, "all"), Here())
    with pytest.raises(ValueError, match=r"holds tiles.*give data\.val"):
        PhotographData(str(tmp_path / "tiles")).split()
    data = PhotographData(str(tmp_path / "tiles"), val=str(pictures / "8.png"), batch_size=7, steps_per_epoch=6, seed=3)
    first, again = (torch.cat(list(data.train_dataloader())) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (42, 3, 32, 32) and first.dtype == torch.uint8
    assert sorted(map(digest, first)) == sorted(
        map(digest, ShuffledTiles(TileShards(tmp_path / "tiles"), seed=8).__getitems__(range(42)))
    )
    assert digest(first[5]) == digest(ShuffledTiles(TileShards(tmp_path / "tiles"), seed=3)[5])
    far = np.random.default_rng(0).integers(0, 10**6, 300)  # more blocks of positions than are kept
    for positions in (far, far[::-1], np.arange(4000, 4200)):
        np.testing.assert_array_equal(data.train_dataloader().dataset.items(positions), shuffled(positions, 42, 3))
    assert len(data.fingerprint()) == 64
    assert [len(data.val_dataloader()), len(data.test_dataloader())] == [1, 1]


def digest(tile) -> int:
    return zlib.crc32(tile.numpy().tobytes())


def test_the_benchmark_runs(capsys):
    benchmark.benchmark(tiles=200, batch_size=10, seconds=0.05)
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("hardest 100", "6 million", "random access", "training loader"))


def test_another_process_opens_the_tiles_again(pictures, tmp_path):
    """What is sent to a worker is small, however many tiles there are."""
    mine_tiles(pictures, tmp_path / "tiles", Rule(32, "all"), Here(), per_shard=2)
    tiles = ShuffledTiles(TileShards(tmp_path / "tiles"), seed=5)
    first = tiles[3]
    sent = pickle.dumps(tiles)
    assert len(sent) < 40_000 < 42 * 3 * 32**2
    assert torch.equal(pickle.loads(sent)[3], first)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_more_shards_than_files_may_be_open(tmp_path):
    tiles = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), dtype=np.uint8)
    for number, tile in enumerate(tiles):
        np.save(tmp_path / f"{number}.npy", tile[None])
    shards = [{"file": f"{number}.npy", "tiles": 1} for number in range(len(tiles))]
    (tmp_path / "index.json").write_text(json.dumps({"format": 1, "tile": 4, "shards": shards}))
    script = f"""if True:
        import resource
        import numpy as np
        from lit_rnncomp.data.shards import TileShards
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        shards = TileShards({str(tmp_path)!r})
        items = np.random.default_rng(1).permutation(len(shards))
        for item in (0, 1, *items):  # the first is used again and again
            np.save({str(tmp_path / "read.npy")!r}, shards.read(np.array([0, item])))
            assert 0 in shards._maps and len(shards._maps) <= 16
        np.save({str(tmp_path / "read.npy")!r}, shards.read(items))
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), tiles[np.random.default_rng(1).permutation(100)])


@pytest.mark.skipif(sys.platform != "linux", reason="file systems that take any bytes as a name")
def test_names_that_are_not_utf8(pictures, tmp_path):
    (pictures / "1.png").rename(pictures / os.fsdecode(b"caf\xe9.png"))
    assert mine_tiles(pictures, tmp_path / "tiles", Rule(32, "all"), Here()).tiles == 42
    data = PhotographData(train=str(pictures), holdout=3)
    assert len(data.fingerprint()) == 64 and sum(map(len, data.split())) == 9
