"""Pictures to files of ternary codes and back."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
from helpers import ternary_models
from helpers.files import assembled, ends
from helpers.ternary_models import levels, psnr
from PIL import Image

from lit_rnncomp.codec import container, split_map
from lit_rnncomp.codec.container import Binary, BitstreamError, Chunk, Header, Ternary
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.codec.ternary_picture import Picture
from lit_rnncomp.models import lapped

PHOTO = ternary_models.picture(96, 136)


@pytest.fixture(params=[(1, 8), (2, 8), (2, 16)], ids=["one stage", "two stages", "blocks of 16"], scope="module")
def codec(request: pytest.FixtureRequest) -> TernaryCodec:
    return ternary_models.codec(stages=request.param[0], size=request.param[1])


def loudest(coefficient: int, size: int) -> np.ndarray:
    """The picture of 5x5 blocks whose middle one has the largest coefficient that there can be."""
    parts = size // 8
    unit = np.zeros((5 * parts, 5 * parts, 192))
    unit[2 * parts, 2 * parts, coefficient] = 1
    samples = lapped._together(unit, parts) @ lapped.block_basis(size)
    planes = samples.reshape(5, 5, 3, size, size).transpose(0, 3, 1, 4, 2).reshape(5 * size, 5 * size, 3)
    lapped._filter(planes := np.ascontiguousarray(planes), lapped.butterfly().T, size - 4, size)
    return np.where(planes > 0, 255, 0).astype(np.uint8)


def test_the_loudest_pictures_keep_their_codes(codec: TernaryCodec) -> None:
    """Weighted and scaled, coefficients of saturated stripes would exceed what eleven digits can say."""
    for coefficient in (1, 2, 9, 8, 64, 73, 129):
        picture = loudest(coefficient, codec.size)
        qualities = [psnr(codec.decode(codec.encode(picture, step=step)), picture) for step in (1023, 1535, 2047, 2559)]
        assert qualities == sorted(qualities), "no coefficient is clipped"
        data = codec.encode(picture, step=2047)
        decoded = levels(data, codec).astype(float) * 2048 / 2**7
        layout, split = container.parse_header(data)[0].layout, None
        if codec.size == 16:
            split = split_map.from_bytes(container.parse(data).payload(container.SPLITS), 5, 5)
        x = lapped.analysis(picture, size=codec.size, split=split) * codec.tune_weights[1] * 2 ** (layout.scale / 256)
        assert np.abs(decoded - x).max() < 2 * 2048 / 2**7 + 0.001, "but for rounding of weights"
        assert 2048 < np.abs(x).max() < 4096


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (9, 7), (40, 3), (64, 32), (33, 70)])
def test_any_size_comes_back_at_its_size(codec: TernaryCodec, size: tuple[int, int]) -> None:
    image = ternary_models.picture(*size)
    data = codec.encode(image, step=1800)
    assert codec.decode(data).size == (size[1], size[0])
    assert psnr(codec.decode(data), image) > 22
    pictures = list(codec.decode_progressive(data))
    assert [picture.size for picture in pictures] == [(size[1], size[0])] * len(pictures)
    assert pictures[-1] == codec.decode(data)


def test_the_decoder_knows_what_the_encoder_knew(codec: TernaryCodec) -> None:
    for tune in ("psnr", "visual"):
        picture = Picture(codec, PHOTO, tune)
        for step in (0, 255, 256, 1500, 2815):
            encoded = picture.encode(step)
            np.testing.assert_array_equal(levels(encoded.data, codec), encoded.state.after)
            drawn = codec.draw(container.parse(encoded.data), encoded.state)
            np.testing.assert_array_equal(np.asarray(codec.decode(encoded.data)), drawn)


def test_iterations_are_prefixes_and_get_better(codec: TernaryCodec) -> None:
    data = codec.encode(PHOTO, step=2200)
    pictures = list(codec.decode_progressive(data))
    qualities = [psnr(picture, PHOTO) for picture in pictures]
    assert qualities[2:] == sorted(qualities[2:]) and qualities[-1] > 30
    for count, picture in enumerate(pictures, 1):
        prefix = codec.truncate(data, iterations=count)
        assert data.startswith(prefix)
        assert codec.decode(prefix) == codec.decode(data, iterations=count) == picture
    for wrong in (0, len(pictures) + 1):
        with pytest.raises(ValueError, match=f"iterations={wrong}: the file holds 1..{len(pictures)}"):
            codec.decode(data, iterations=wrong)


def test_every_part_of_an_iteration_makes_the_picture_better(codec: TernaryCodec) -> None:
    """What an iteration that ended early did not reach stays as it was before."""
    whole = codec.encode(PHOTO, step=1900)
    last = container.parse(whole).chunks[-1]
    start = len(whole) - last.size
    qualities = [
        psnr(codec.decode(codec.truncate(whole, max_bytes=size)), PHOTO) for size in np.linspace(start, len(whole), 12)
    ]
    assert qualities[-1] > qualities[0] + 0.5
    assert min(np.diff(qualities)) > -0.3


def test_partial_files_give_the_intact_prefix(codec: TernaryCodec) -> None:
    data = codec.encode(PHOTO, step=1900)
    file, pictures = container.parse(data), list(codec.decode_progressive(data))
    places = ends(file.head, file.chunks)[len(file.chunks) - len(pictures) :]
    for count in (1, len(pictures) - 1):
        damaged = data[: places[count]] + bytes([data[places[count]] ^ 1]) + data[places[count] + 1 :]
        with pytest.raises(BitstreamError, match=r"\(use partial=True\)"):
            codec.decode(damaged)
        assert codec.decode(damaged, partial=True) == pictures[count - 1]
        assert list(codec.decode_progressive(damaged, partial=True)) == pictures[:count]
        for cut in (codec.truncate, container.cut):
            assert cut(damaged, iterations=count) == data[: places[count]]
        with pytest.raises(BitstreamError):
            codec.truncate(damaged, max_bytes=len(data) - 1)
    # A chunk that is whole, and no range coder's output.
    header, _, chunks = container.parse(data)
    wrong = assembled(header, [*chunks[:-1], chunks[-1]._replace(payload=chunks[-1].payload + b"\x55" * 40)])
    with pytest.raises(BitstreamError, match="goes on after its last code"):
        codec.decode(wrong)
    assert codec.decode(wrong, partial=True) == pictures[-2]


def test_grey_pictures_stay_grey_and_cost_less(codec: TernaryCodec) -> None:
    grey = Image.fromarray(PHOTO).convert("L")
    data = codec.encode(grey, step=1900)
    decoded = np.asarray(codec.decode(data))
    assert (decoded == decoded[..., :1]).all()
    assert psnr(decoded[..., 0], np.asarray(grey)) > 27 and len(data) < len(codec.encode(PHOTO, step=1900))
    assert container.parse(data).header.grey and not container.parse(codec.encode(PHOTO, step=1900)).header.grey
    coloured = np.asarray(grey.convert("RGB")).copy()
    coloured[0, 0, 0] ^= 1
    assert not container.parse(codec.encode(coloured, step=1900)).header.grey
    cut = codec.truncate(data, max_bytes=len(data) - 40)
    part = np.asarray(codec.decode(cut))
    assert container.parse(cut).header.grey and (part == part[..., :1]).all()


def test_modes_of_pil_images_are_converted(codec: TernaryCodec) -> None:
    rgb = Image.fromarray(PHOTO)
    assert codec.encode(rgb, step=1500) == codec.encode(PHOTO, step=1500)
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        assert codec.decode(codec.encode(rgb.convert(mode), step=1500)).size == rgb.size
    for image in (PHOTO.astype(float), PHOTO[..., :2], PHOTO[:0], 7):
        with pytest.raises(ValueError, match="expected a PIL image or"):
            codec.encode(image)  # type: ignore[arg-type]


def test_exact_pictures_differ_by_a_level_at_most(codec: TernaryCodec) -> None:
    data = codec.encode(PHOTO, step=2000)
    exact, usual = (np.asarray(codec.decode(data, exact=exact)).astype(int) for exact in (True, False))
    assert np.abs(exact - usual).max() <= 1 and (exact != usual).mean() < 0.001


def test_another_model_is_named(codec: TernaryCodec) -> None:
    other = ternary_models.codec(seed=1)
    data = codec.encode(PHOTO, step=900)
    for use in (other.decode, other.spent, functools.partial(other.truncate, max_bytes=100)):
        message = f"made by model {codec.digest.hex()}, this one .small. is {other.digest.hex()}"
        with pytest.raises(BitstreamError, match=message):
            use(data)


@pytest.mark.parametrize("layout", [Ternary(2, 0, 0), Ternary(0, 0, 11), Binary(0, 0, 1000, 8, 8, 0, 0)])
def test_layouts_of_no_ternary_model_are_refused(codec: TernaryCodec, layout: Any) -> None:
    coder = container.TERNARY if isinstance(layout, Ternary) else container.RAW
    data = assembled(Header(coder, 8, 8, codec.digest, layout), [Chunk(bytes(3))])
    with pytest.raises(BitstreamError, match="which is not this model's layout"):
        codec.decode(data)


@pytest.mark.parametrize("chunk", [Chunk(bytes(3), container.PLAIN), Chunk(bytes(4), container.CUT)])
def test_iterations_of_other_codes_are_refused(codec: TernaryCodec, chunk: Chunk) -> None:
    data = assembled(Header(container.TERNARY, 8, 8, codec.digest, Ternary(0, 0, 0)), [chunk])
    with pytest.raises(BitstreamError, match="not one of ternary codes|does not say where"):
        codec.decode(data)


def test_no_warning_on_ordinary_use(codec: TernaryCodec) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codec.decode(codec.encode(PHOTO))
        codec.decode(codec.encode(np.zeros_like(PHOTO)))
