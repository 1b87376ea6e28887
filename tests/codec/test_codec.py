"""Pictures to files and back: rates, sizes, windows, partial files."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from helpers.files import assembled
from PIL import Image

from lit_rnncomp.codec import container, geometry
from lit_rnncomp.codec.binary_codec import BinaryCodec as Codec
from lit_rnncomp.codec.coders import RawCoder
from lit_rnncomp.codec.container import BitstreamError, Chunk
from lit_rnncomp.codec.rate import RateError
from lit_rnncomp.images import tensor_to_uint8

HEADER, CHUNK = 27, 2 + 96 + 4


@pytest.fixture(scope="module")
def codec(tiny_codec) -> Codec:
    return Codec(tiny_codec(unit="gru", reconstruction="residual_scaling"), "tiny")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (16, 16), (31, 33), (64, 32), (70, 50)])
def test_any_size_comes_back_at_its_size(codec: Codec, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    data = codec.encode(image)
    assert codec.decode(data).size == (size[1], size[0])
    assert [picture.size for picture in codec.decode_progressive(data)] == [(size[1], size[0])] * 4


def test_decoder_sees_what_the_encoder_saw(codec: Codec, photo: np.ndarray) -> None:
    import torch

    padded = geometry.pixels(photo, geometry.Window(0, 6, 0, 4), 16)
    assert padded.shape == (96, 64, 3)
    x = torch.from_numpy(padded).permute(2, 0, 1)[None] / 127.5 - 1
    expected = [tensor_to_uint8(picture)[:70, :50] for picture in codec.network(x).reconstructions]
    data = codec.encode(photo)
    for t, (picture, truth) in enumerate(zip(codec.decode_progressive(data), expected, strict=True), 1):
        assert np.array_equal(np.asarray(picture), truth)
        assert np.array_equal(np.asarray(codec.decode(data, iterations=t)), truth)
    assert np.array_equal(padded[69], padded[70])  # padding repeats the edge


def test_file_is_header_and_chunks_of_packed_bits(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo, iterations=3)
    assert 6 * 4 * 32 // 8 == 96
    assert len(data) == HEADER + 3 * CHUNK
    assert codec.encode(photo)[: len(data)] == data


def test_rate_targets_are_met_and_filled(codec: Codec, photo: np.ndarray) -> None:
    for budget in (HEADER + CHUNK, HEADER + 2 * CHUNK + 50, 10_000):
        data = codec.encode(photo, max_bytes=budget)
        assert len(data) <= budget
        assert len(data) + CHUNK > budget or len(data) == HEADER + 4 * CHUNK
    bpp = 0.6
    assert 8 * len(codec.encode(photo, bpp=bpp)) / photo[..., 0].size <= bpp
    with pytest.raises(RateError, match="first iteration of this picture needs 129 bytes"):
        codec.encode(photo, max_bytes=128)


def test_psnr_target_stops_at_the_first_iteration_that_reaches_it(codec: Codec, photo: np.ndarray) -> None:
    data = codec.encode(photo)
    quality = [
        10 * np.log10(255**2 / np.square(np.asarray(picture, float) - photo).mean())
        for picture in codec.decode_progressive(data)
    ]
    target = quality[0]
    assert len(container.parse(codec.encode(photo, psnr=target - 1e-9)).chunks) == 1
    with pytest.warns(UserWarning, match="all 4 iterations together stay below 90 dB"):
        assert codec.encode(photo, psnr=90) == data


def test_arguments_outside_their_range_are_named(codec: Codec, photo: np.ndarray) -> None:
    for wrong, message in (
        ({"bpp": 1, "iterations": 2}, "give one of"),
        ({"psnr": "30"}, "psnr='30' is not a number"),
        ({"bpp": -1}, "bpp=-1"),
        ({"max_bytes": 0}, "bytes=0"),
        ({"iterations": 5}, r"iterations=5 is outside 1\.\.4"),
        ({"coder": "zip"}, "'zip'"),
        ({"coder": "rnn"}, "no learned entropy coder"),
    ):
        with pytest.raises(ValueError, match=message):
            codec.encode(photo, **wrong)  # type: ignore[arg-type]
    for image in (photo.astype(float), photo[..., :2], photo[:0], 7):
        with pytest.raises(ValueError, match="expected a PIL image or"):
            codec.encode(image)  # type: ignore[arg-type]


def test_modes_of_pil_images_are_converted(codec: Codec, photo: np.ndarray) -> None:
    rgb = Image.fromarray(photo)
    assert codec.encode(rgb) == codec.encode(photo)
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        assert codec.decode(codec.encode(rgb.convert(mode))).size == rgb.size


def test_windows_agree_between_encoder_and_decoder(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small windows: every window of the decoder sees exactly the codes that the encoder's window saw."""
    y, x = np.mgrid[:200, :170]
    photo = np.stack([y, x, (y + x) // 2], -1).astype(np.uint8)
    whole = codec.encode(photo)
    monkeypatch.setattr(geometry.plan, "__defaults__", (96, 32))
    data = codec.encode(photo)
    layout = container.parse(data).header.layout
    assert isinstance(layout, container.Binary) and (layout.window, layout.overlap) == (6, 2)
    seen: list = []
    original = type(codec.network).encode

    def spy(self, *args):
        for step in original(self, *args):
            seen.append(step.codes)
            yield step

    monkeypatch.setattr(type(codec.network), "encode", spy)
    codec.encode(photo)
    grids = [RawCoder(32, 14, 12).decode(chunk) for chunk in container.parse(data).chunks]
    windows = list(geometry.Tiling(14, 12, 6, 2).windows())
    assert len(windows) == 9
    for k, window in enumerate(windows):
        for t in range(4):
            cut = grids[t][:, window.top : window.bottom, window.left : window.right]
            assert np.array_equal(seen[4 * k + t][0].numpy(), cut)
    tiled, untiled = (np.asarray(codec.decode(d), float) for d in (data, whole))
    assert tiled.shape == untiled.shape == photo.shape
    assert [p.size for p in codec.decode_progressive(data)] == [(170, 200)] * 4
    assert np.array_equal(np.asarray(list(codec.decode_progressive(data))[-1]), tiled)


def test_blending_fades_and_leaves_no_hole() -> None:
    tiling = geometry.Tiling(14, 12, 6, 2)
    canvas = np.zeros((14 * 16, 12 * 16, 3), np.uint8)
    for k, window in enumerate(tiling.windows()):
        tile = np.full(((window.bottom - window.top) * 16, (window.right - window.left) * 16, 3), 100 + k, np.uint8)
        geometry.blend(canvas, tile, window, tiling, 16)
    assert canvas.min() == 100
    assert canvas.max() == 108
    assert np.abs(np.diff(canvas.astype(int), axis=0)).max() <= 1


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (97, 300), (96, 96), (1000, 97), (184, 185)])
def test_windows_cover_the_grid_and_overlap(rows: int, columns: int) -> None:
    tiling = geometry.Tiling(rows, columns, 96, 8)
    covered = np.zeros((rows, columns), bool)
    for window in tiling.windows():
        part = covered[window.top : window.bottom, window.left : window.right]
        assert not window.top or part[:8].all()
        assert not window.left or part[:, :8].all()
        assert not part[8 if window.top else 0 :, 8 if window.left else 0 :].any()
        part[:] = True
    assert covered.all()


def test_another_model_is_named(codec: Codec, tiny_codec, photo: np.ndarray) -> None:
    other = Codec(tiny_codec(unit="lstm"), "other")
    with pytest.raises(
        BitstreamError, match=f"made by model {codec.digest.hex()}, this one .other. is {other.digest.hex()}"
    ):
        other.decode(codec.encode(photo))


def test_digest_sees_weights_and_configuration(tiny_codec) -> None:
    from lit_rnncomp.codec.weights import digest

    a = tiny_codec(unit="gru")
    b = tiny_codec(unit="gru")
    assert digest(a) == digest(b)
    with __import__("torch").no_grad():
        b.decoder.head.bias[0] += 1e-3
    assert len({digest(a), digest(b), digest(tiny_codec(unit="gru", priming=1))}) == 3


def test_absurd_dimensions_are_refused_before_allocation(codec: Codec, photo: np.ndarray) -> None:
    header, _, chunks = container.parse(codec.encode(photo))
    with pytest.raises(BitstreamError, match="the header claims 2147483648x2147483648 pixels"):
        codec.decode(assembled(replace(header, width=2**31, height=2**31), chunks[:1]))
    assert isinstance(header.layout, container.Binary)
    for change in (
        {"window": 6, "overlap": 5},
        {"window": 5, "overlap": 2},
        {"overlap": 2},
        {"bits": 8},
        {"stride": 8},
    ):
        other = replace(header, layout=header.layout._replace(**change))
        with pytest.raises(BitstreamError, match="the header claims|raw bits belong"):
            codec.decode(assembled(other, chunks[:1]))


def test_no_warning_on_ordinary_use(codec: Codec, photo: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.decode(codec.encode(photo))


def test_raw_coder_packs_positions_in_raster_order() -> None:
    codes = np.full((8, 1, 2), -1, np.int8)
    codes[0, 0, 0] = codes[7, 0, 1] = 1
    coder = RawCoder(8, 1, 2)
    assert coder.encode(codes) == Chunk(b"\x80\x01", container.ITERATION)
    assert np.array_equal(coder.decode(Chunk(b"\x80\x01", container.ITERATION)), codes)
    with pytest.raises(BitstreamError, match="3 bytes where 2 bytes"):
        coder.decode(Chunk(b"abc", container.ITERATION))
