"""What a file of sixty bytes can make a decoder do: refuse it, or spend what a picture of the claimed size costs."""

from __future__ import annotations

import functools
import gc
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import binary_models, ternary_models
from helpers.files import assembled
from PIL import Image

import lit_rnncomp
from lit_rnncomp.codec import container, focus, geometry, jobs
from lit_rnncomp.codec.container import SCALES, BitstreamError, Chunk, Header, Ternary
from lit_rnncomp.codec.names import Pair
from lit_rnncomp.codec.pixels import DEFAULT_MEMORY, MEMORY, TERNARY_BYTES, TERNARY_EXACT_BYTES
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.codec.ternary_picture import Picture, decibel

CODEC, FILTERED, BINARY = ternary_models.codec(), ternary_models.codec(filtered=True), binary_models.codec()
BYTES_A_PIXEL = TERNARY_BYTES
"""Of memory, sides rounded up to whole blocks; of binary codes only up to a picture of one window."""


def ternary_file(width: int, height: int, *chunks: Chunk) -> bytes:
    layout = Ternary(tune=1, scale=0, first=0)
    return assembled(Header(container.TERNARY, width, height, CODEC.digest, layout), chunks or [Chunk(bytes(3))])


def memory(codec, data: bytes, exact: bool = False) -> int:
    """The most bytes that decoding allocates at a time."""
    tracemalloc.start()
    try:
        codec.decode(data, exact=exact)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [(8000, 30000), (1, 25_000_000), (2**31, 2**31), (2**35 - 1, 1)])
def test_more_pixels_than_pillow_takes_are_refused_before_allocation(size: tuple[int, int]) -> None:
    """Of a picture one pixel high a whole row of blocks is computed."""
    header = container.parse_header(BINARY.encode(np.zeros((8, 8, 3), np.uint8)))[0]
    files = [
        (CODEC, ternary_file(*size)),
        (BINARY, assembled(replace(header, width=size[0], height=size[1]), [Chunk(b"")])),
    ]
    for codec, data in files:
        tracemalloc.start()
        with pytest.raises(BitstreamError, match=f"the header claims {size[0]}x{size[1]} pixels, more than"):
            codec.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1e5
        tracemalloc.stop()
    with pytest.raises(BitstreamError, match="pixels, more than"):
        CODEC.truncate(files[0][1], max_bytes=50)


def test_the_limit_is_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32)
    assert CODEC.decode(ternary_file(7, 6)).size == (7, 6)
    with pytest.raises(BitstreamError, match="9x8 pixels, more than 64; raise PIL.Image.MAX_IMAGE_PIXELS"):
        CODEC.decode(ternary_file(9, 8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert CODEC.decode(ternary_file(9, 8)).size == (9, 8)


@pytest.mark.parametrize("payload", [bytes(3), bytes([10, 54, 128])], ids=["nothing sent", "everything sent"])
@pytest.mark.parametrize("size", [(1024, 1024), (5000, 130), (3, 30_000), (100_000, 3)])
@pytest.mark.parametrize("codec", [CODEC, FILTERED], ids=["plain", "filtered"])
def test_memory_is_bounded_by_the_claimed_pixels(codec: TernaryCodec, size: tuple[int, int], payload: bytes) -> None:
    header = Header(container.TERNARY, *size, codec.digest, Ternary(tune=1, scale=0, first=0))
    data = assembled(header, [Chunk(payload)])
    assert len(data) < 60
    padded = -(-size[0] // 8) * -(-size[1] // 8) * 64
    assert memory(codec, data) < BYTES_A_PIXEL * padded + 16e6
    assert memory(codec, data, exact=True) < TERNARY_EXACT_BYTES * padded + 16e6


def test_the_model_that_ships_keeps_to_the_bound() -> None:
    codec = lit_rnncomp.load()
    layout = Ternary(tune=1, scale=0, first=0)
    header = Header(container.TERNARY, 1024, 1024, codec.digest, layout)
    data = assembled(header, [Chunk(bytes(len(group) for group in codec.context.bands.groups))])
    assert memory(codec, data) < TERNARY_BYTES * 1024**2 + 16e6
    assert memory(codec, data, exact=True) < TERNARY_EXACT_BYTES * 1024**2 + 16e6


def test_a_large_picture_is_held_once() -> None:
    """Bytes a pixel: samples 3, coefficients 12, levels 6, codes 3, bands; of a file that ends early, levels twice."""
    picture = np.tile(ternary_models.picture(192, 256), (8, 6, 1))
    data = CODEC.encode(picture, step=1700)
    cut = CODEC.truncate(data, max_bytes=len(data) * 3 // 4)
    assert container.parse(cut).chunks[-1].kind == container.CUT
    tracemalloc.start()
    CODEC.encode(picture, step=1700)
    encoding = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert encoding < 29 * picture.size / 3
    assert memory(CODEC, data) < 29 * picture.size / 3
    assert memory(CODEC, cut) < 45 * picture.size / 3


def test_a_decoded_picture_is_compared_a_few_rows_at_a_time() -> None:
    """To the same value to the last bit: squares of whole numbers are exact in any order."""
    random = np.random.default_rng(0)
    original, decoded = random.integers(0, 256, (2, 1003, 1024, 3), dtype=np.uint8)
    picture = Picture(CODEC, original, "psnr")
    tracemalloc.start()
    psnr = picture.psnr(decoded)
    assert tracemalloc.get_traced_memory()[1] < original.size
    tracemalloc.stop()
    error = np.square(decoded.astype(np.float32) - original).mean(dtype=np.float64)
    assert psnr == decibel(float(error) / 255**2)


def test_the_command_line_keeps_none_of_pillows_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []

    def pictures() -> list[Image.Image]:
        return [other for other in gc.get_objects() if issubclass(type(other), Image.Image)]

    class Counting(TernaryCodec):
        @functools.wraps(TernaryCodec.encode)
        def encode(self, image, **options):
            alive.extend(pictures())
            return super().encode(image, **options)

    codec = Counting(CODEC.tensors, "small", CODEC.qualities)
    monkeypatch.setattr(jobs, "_codec", lambda model, device: codec)
    picture = ternary_models.picture(48, 56)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    gc.collect()
    before = pictures()
    work = jobs.Encoding(None, "cpu", {"step": 1700}, None, ["icc_profile"], False)
    work(Pair(str(tmp_path / "photo.png"), str(tmp_path / "photo.rnnc")), lambda *_: None)
    assert (tmp_path / "photo.rnnc").read_bytes() == CODEC.encode(picture, step=1700)
    assert not [image for image in alive if not any(image is other for other in before)]


def test_a_bomb_is_refused_and_a_photograph_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty bytes that claim 8000x8000 pixels took 4.5 GB; a photograph of 45 million pixels is decoded."""
    bomb = ternary_file(8000, 8000)
    way_out = "8000x8000 pixels may take 5.1 GB of memory to decode, more than 4; set LIT_RNNCOMP_MEMORY=6"
    for run in (CODEC.decode, lambda data: CODEC.truncate(data, max_bytes=40), CODEC.spent):
        tracemalloc.start()
        with pytest.raises(BitstreamError, match=way_out):
            run(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1e5
        tracemalloc.stop()
    assert TERNARY_BYTES * 8688 * 5792 > DEFAULT_MEMORY * 1e9 > TERNARY_BYTES * 8256 * 5504
    monkeypatch.setenv(MEMORY, "0.001")
    with pytest.raises(BitstreamError, match="128x128 pixels may take 0.0 GB of memory to decode, more than 0.001"):
        CODEC.decode(ternary_file(128, 128))
    with pytest.raises(ValueError, match="128x128 pixels may take"):
        CODEC.encode(np.zeros((128, 128, 3), np.uint8), step=0)
    data = ternary_file(104, 104)
    assert CODEC.decode(data).size == (104, 104)
    with pytest.raises(BitstreamError, match="104x104 pixels may take"):
        CODEC.decode(data, exact=True)
    for text in ("much", "-1", "nan"):
        monkeypatch.setenv(MEMORY, text)
        with pytest.raises(ValueError, match=f"LIT_RNNCOMP_MEMORY={text} in the environment is not a positive number"):
            CODEC.decode(data)
    monkeypatch.setenv(MEMORY, "inf")
    assert CODEC.decode(data).size == (104, 104)


@pytest.mark.parametrize("side", [1024, 2048])
def test_memory_of_binary_codes_is_bounded_by_a_window(side: int) -> None:
    header = container.parse_header(BINARY.encode(np.zeros((8, 8, 3), np.uint8)))[0]
    assert isinstance(header.layout, container.Binary)
    tiling = geometry.plan(side, side, header.layout.stride, 32)
    layout = header.layout._replace(window=tiling.window, overlap=tiling.overlap)
    data = assembled(replace(header, width=side, height=side, layout=layout), [Chunk(b"")])
    assert len(data) < 60
    assert memory(BINARY, data) < BYTES_A_PIXEL * min(side, geometry.WINDOW) ** 2 + 6 * side**2


@pytest.mark.parametrize(("side", "window", "overlap"), [(2080, 0, 0), (4000, 260, 32)])
def test_windows_that_would_take_more_are_refused(side: int, window: int, overlap: int) -> None:
    header = container.parse_header(BINARY.encode(np.zeros((8, 8, 3), np.uint8)))[0]
    assert isinstance(header.layout, container.Binary)
    layout = header.layout._replace(window=window, overlap=overlap)
    with pytest.raises(BitstreamError, match="windows of more than 2048 pixels a side"):
        BINARY.decode(assembled(replace(header, width=side, height=side, layout=layout), [Chunk(b"")]))


def test_a_map_inflates_to_its_cells_and_no_further() -> None:
    bomb = bytes([1]) + zlib.compress(bytes(10**8), 9)
    assert len(bomb) < 10**5
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="does not have 3x2 cells"):
        focus.from_bytes(bomb, 2, 3)
    # Cells of 255 blocks over a single row of blocks.
    wide = focus.from_bytes(bytes([255]) + zlib.compress(bytes(1000)), 1, 255_000)
    assert wide.shape == (1, 255_000, 1)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "no cells"),
        (b"\0abc", "no cells"),
        (b"\x04abc", "not readable"),
        (b"\x04" + zlib.compress(bytes(2)), "does not have 1x1 cells"),
        (b"\x04" + zlib.compress(b""), "does not have 1x1 cells"),
        (b"\x04" + zlib.compress(b"\0") + b"!", "does not have 1x1 cells"),
        (b"\x04" + zlib.compress(b"\0")[:-2], "does not have 1x1 cells"),
        (b"\x04" + zlib.compress(b"\x09"), "a value above 8"),
    ],
)
def test_maps_that_do_not_fit_are_refused(payload: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        CODEC.decode(ternary_file(20, 30, Chunk(payload, SCALES), Chunk(bytes(3))))
