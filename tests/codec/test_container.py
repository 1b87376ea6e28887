"""Hostile files: every bit flip, every truncation, and the bytes themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.files import assembled, ends

from lit_rnncomp.codec import container
from lit_rnncomp.codec.binary_codec import BinaryCodec as Codec
from lit_rnncomp.codec.container import (
    CUT,
    METADATA,
    PLAIN,
    BitstreamError,
    Chunk,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def codec(tiny_codec) -> Codec:
    return Codec(tiny_codec(unit="residual_gru", reconstruction="additive", bits=4), "tiny")


@pytest.fixture(scope="module")
def data(codec: Codec) -> bytes:
    y, x = np.mgrid[:20, :20]
    return codec.encode(np.stack([10 * y, 10 * x, 5 * (x + y)], -1).astype(np.uint8))


def test_every_bit_flip_is_found(codec: Codec, data: bytes) -> None:
    _, head, chunks = container.parse(data)
    places = ends(head, chunks)
    good = list(codec.decode_progressive(data))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError) as error:
            codec.decode(bytes(damaged))
        assert "\n" not in str(error.value)
        intact = int(np.searchsorted(places, bit // 8, side="right")) - 1
        if intact <= 0:
            with pytest.raises(BitstreamError):
                codec.decode(bytes(damaged), partial=True)
        else:
            assert codec.decode(bytes(damaged), partial=True) == good[intact - 1]


def test_every_truncation_is_found_or_is_a_whole_prefix(codec: Codec, data: bytes) -> None:
    _, head, chunks = container.parse(data)
    places = ends(head, chunks)
    good = list(codec.decode_progressive(data))
    for length in range(len(data)):
        if length in places[1:]:
            assert codec.decode(data[:length]) == good[places.index(length) - 1]
            continue
        with pytest.raises(BitstreamError):
            codec.decode(data[:length])
        intact = sum(end <= length for end in places) - 1
        if intact > 0:
            assert codec.decode(data[:length], partial=True) == good[intact - 1]


def test_appended_bytes_and_swapped_chunks_are_found(codec: Codec, data: bytes) -> None:
    _, head, chunks = container.parse(data)
    size = chunks[0].size
    body = data[len(head) :]
    swapped = head + body[size : 2 * size] + body[:size] + body[2 * size :]
    for wrong in (data + b"\0", swapped, data + body[-size:]):
        with pytest.raises(BitstreamError):
            codec.decode(wrong)


def test_messages_say_what_is_intact(codec: Codec, data: bytes) -> None:
    damaged = bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(
        BitstreamError, match=r"chunk 4 fails its checksum; the first 3 iterations are intact \(use partial=True\)"
    ):
        codec.decode(bytes(damaged))
    with pytest.raises(BitstreamError, match="not an .rnnc file"):
        codec.decode(b"\x89PNG\r\n")
    with pytest.raises(BitstreamError, match="format version 1; this program reads version 2"):
        codec.decode(data[:4] + b"\x01" + data[5:])
    with pytest.raises(BitstreamError, match="not an .rnnc file"):
        codec.decode(b"")


def test_more_chunks_than_the_model_has_are_refused(codec: Codec, data: bytes) -> None:
    header, _, chunks = container.parse(data)
    with pytest.raises(BitstreamError, match="5 chunks, but the model has 4"):
        codec.decode(assembled(header, [*chunks, chunks[0]]))


def test_cut_keeps_the_longest_prefix(data: bytes) -> None:
    _, head, chunks = container.parse(data)
    size = chunks[0].size
    assert container.cut(data, iterations=2) == data[: len(head) + 2 * size]
    assert container.cut(data, max_bytes=len(head) + 3 * size - 1) == data[: len(head) + 2 * size]
    assert container.cut(data, bpp=100) == data
    for limits, message in (
        ({"iterations": 5}, "holds 1..4"),
        ({"max_bytes": 20}, "too few"),
        ({}, "exactly one"),
        ({"bpp": 0}, "bpp=0"),
    ):
        with pytest.raises(ValueError, match=message):
            container.cut(data, **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [PLAIN, CUT])
def test_chunks_of_another_kind_of_codes_are_refused(codec: Codec, data: bytes, kind: int) -> None:
    header, _, chunks = container.parse(data)
    with pytest.raises(BitstreamError, match="an iteration is not one of binary codes"):
        codec.decode(assembled(header, [chunks[0]._replace(kind=kind)]))


def test_metadata_is_passed_over(codec: Codec, data: bytes) -> None:
    header, _, chunks = container.parse(data)
    assert codec.decode(assembled(header, [Chunk(b"Exif", METADATA), *chunks])) == codec.decode(data)


@pytest.mark.parametrize("name", ["residual_gru_additive", "lstm_dct"])
def test_golden_files_keep_their_bytes(name: str, tiny_codec) -> None:
    """A change here breaks every file in the world: it needs a new format version."""
    options = {
        "residual_gru_additive": {"unit": "residual_gru", "reconstruction": "additive", "bits": 4},
        "lstm_dct": {
            "unit": "lstm",
            "reconstruction": "iteration_gain",
            "frontend": "dct",
            "code_stride": 8,
            "bits": 8,
        },
    }[name]
    codec = Codec(tiny_codec(**options), name)
    y, x = np.mgrid[:40, :24]
    photo = np.stack([6 * y, 10 * x, 3 * (x + y)], -1).astype(np.uint8)
    golden = (GOLDEN / f"{name}.rnnc").read_bytes()
    assert codec.encode(photo) == golden
    expected = np.load(GOLDEN / f"{name}.npy")
    # Another processor may round the last bit of a float differently, so a pixel may differ by one level.
    assert np.abs(np.asarray(codec.decode(golden)).astype(int) - expected).max() <= 1
