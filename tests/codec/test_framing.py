"""Headers and chunks without codes: what was written is read, and nothing else is."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from helpers.files import assembled, ends
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_rnncomp.codec import container
from lit_rnncomp.codec.container import (
    CUT,
    ITERATION,
    METADATA,
    PLAIN,
    SCALES,
    SPLITS,
    Binary,
    BitstreamError,
    Chunk,
    Header,
    Ternary,
)


def test_framing_is_small() -> None:
    binary = Binary(1, 0, 1000, 32, 16, 0, 0, bytes(8))
    header = Header(container.LEARNED, 768, 512, bytes(8), binary)
    assert len(header.to_bytes()) == 37
    assert container.parse_header(header.to_bytes()) == (header, header.to_bytes())
    ternary = Header(container.TERNARY, 768, 512, bytes(8), Ternary(1, 128, 2))
    assert len(ternary.to_bytes()) == 25
    assert Chunk(b"").size == 5 and Chunk(bytes(3000)).size == 3007
    # Of a 768x512 file at 0.15 bpp, whose iterations about double, less than 1 %.
    payloads = (12, 60, 200, 500, 1000, 2000, 3500)
    framing = 25 + sum(Chunk(bytes(size)).size - size for size in payloads)
    assert framing == 67 < 0.01 * (sum(payloads) + framing)


BINARY = st.builds(
    Binary,
    unit=st.integers(0, 15),
    reconstruction=st.integers(0, 15),
    width_thousandths=st.integers(0, 65535),
    bits=st.integers(1, 255),
    stride=st.integers(1, 255),
    window=st.integers(0, 2**35 - 1),
    overlap=st.integers(0, 255),
    entropy_digest=st.just(b""),
)


TERNARY = st.builds(Ternary, st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))


DIGEST = st.binary(min_size=8, max_size=8)


SIDE = st.integers(1, 2**35 - 1) | st.integers(1, 300)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    coder = draw(st.sampled_from([container.RAW, container.LEARNED, container.TERNARY]))
    layout = draw(TERNARY if coder == container.TERNARY else BINARY)
    if coder == container.LEARNED:
        layout = layout._replace(entropy_digest=draw(DIGEST))
    return Header(coder, draw(SIDE), draw(SIDE), draw(DIGEST), layout, draw(st.booleans()))


@st.composite
def contents(draw: st.DrawFn) -> list[Chunk]:
    """Chunks in an order that is allowed."""
    payload = st.binary(max_size=40)
    before = [
        Chunk(draw(payload), kind)
        for kind in draw(st.permutations([METADATA, SCALES, SPLITS]))[: draw(st.integers(0, 3))]
    ]
    plain = st.builds(Chunk, payload, st.sampled_from([ITERATION, PLAIN]))
    last = st.builds(Chunk, payload, st.sampled_from([ITERATION, PLAIN, CUT]))
    return [*before, *draw(st.lists(plain, max_size=5)), draw(last)]


@given(headers(), contents(), st.binary(max_size=3))
def test_what_was_written_is_read(header: Header, chunks: list[Chunk], rest: bytes) -> None:
    data = assembled(header, chunks)
    parsed = container.parse(data)
    assert parsed == (header, header.to_bytes(), chunks)
    assert container.parse_header(data + rest) == (header, header.to_bytes())
    assert ends(parsed.head, chunks)[-1] == len(data)
    assert parsed.payload(SCALES) == next((chunk.payload for chunk in chunks if chunk.kind == SCALES), None)


@settings(max_examples=40)
@given(headers(), contents(), st.randoms(use_true_random=False))
def test_every_flip_and_every_cut_is_found(header: Header, chunks: list[Chunk], random: Random) -> None:
    data = assembled(header, chunks)
    places = ends(header.to_bytes(), chunks)
    whole = [place for place, chunk in zip(places[1:], chunks, strict=True) if chunk.codes]
    for bit in random.sample(range(8 * len(data)), min(64, 8 * len(data))):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError) as error:
            container.parse(bytes(damaged))
        assert "\n" not in str(error.value)
    for length in range(len(data)):
        if length in whole:
            assert container.parse(data[:length]).chunks == chunks[: places.index(length)]
        else:
            with pytest.raises(BitstreamError):
                container.parse(data[:length])


def framed(data: bytes) -> list[bytes]:
    """The header and the chunks of a file, each with its checksum."""
    _, head, chunks = container.parse(data)
    places = ends(head, chunks)
    return [head, *(data[start:end] for start, end in pairwise(places))]


@settings(max_examples=300)
@given(headers(), contents(), contents(), st.data())
def test_no_mixture_of_two_files_is_a_third(header: Header, one: list, two: list, choice: st.DataObject) -> None:
    """Of equal size and of the same model, whatever is spliced, swapped, repeated or left out."""
    first, second = assembled(header, one), assembled(header, two)
    parts = framed(first) + framed(second)[1:]
    mixture = choice.draw(st.lists(st.sampled_from(parts[1:]), max_size=2 * len(parts)))
    data = parts[0] + b"".join(mixture)
    if first.startswith(data) or second.startswith(data):
        return
    with pytest.raises(BitstreamError):
        container.parse(data)


@pytest.mark.parametrize("kind", ["swap", "repeat", "leave out", "splice", "header"])
def test_rearranged_chunks_are_found(kind: str) -> None:
    """The five ways by name, with chunks of equal length."""
    header = Header(container.TERNARY, 70, 50, bytes(8), Ternary(0, 1, 2))
    parts = framed(assembled(header, [Chunk(bytes([k] * 20)) for k in range(5)]))
    other = framed(assembled(header, [Chunk(bytes([9 + k] * 20)) for k in range(5)]))
    tuned = assembled(dataclasses.replace(header, layout=Ternary(1, 1, 2)), [])
    mixture = {
        "swap": [*parts[:2], parts[3], parts[2], *parts[4:]],
        "repeat": [*parts[:3], parts[2], *parts[3:]],
        "leave out": [*parts[:2], *parts[3:]],
        "splice": [*parts[:3], *other[3:]],
        "header": [tuned, *parts[1:]],
    }[kind]
    intact = {"swap": 1, "repeat": 2, "leave out": 1, "splice": 2, "header": 0}[kind]
    with pytest.raises(BitstreamError, match=f"chunk {intact + 1} fails its checksum"):
        container.parse(b"".join(mixture))
    if intact:
        assert len(container.parse(b"".join(mixture), partial=True).chunks) == intact


def repaired(head: bytes) -> bytes:
    """A header with its checksum put right."""
    return head[:-4] + zlib.crc32(head[:-4]).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head[:5] + b"\x03" + head[6:], "coder 3, flags 0: unknown; a newer version"),
        (lambda head: head[:5] + b"\x22" + head[6:], "coder 2, flags 2: unknown"),
        (lambda head: head[:5] + b"\x82" + head[6:], "coder 2, flags 8: unknown"),
        (lambda head: head[:4] + b"\x03" + head[5:], "format version 3; this program reads version 2, a newer one may"),
        (lambda head: head[:6] + b"\0" + head[7:], "claims a picture of 0x50 pixels"),
        (lambda head: head[:7] + b"\0" + head[8:], "claims a picture of 70x0 pixels"),
        (lambda head: head[:6] + b"\x80\0" + head[7:], "longer than it has to be"),
        (lambda head: head[:6] + b"\xc6\0" + head[7:], "longer than it has to be"),
        (lambda head: head[:6] + b"\xff\xff\xff\xff\xff\x01" + head[7:], "longer than it has to be"),
        (lambda head: head[:5], "ends inside its header"),
        (lambda head: head[:7], "ends inside its header"),
        (lambda head: head[:20], "ends inside its header"),
        (lambda head: head[:6] + b"\xff", "ends inside its header"),
    ],
)
def test_headers_that_no_encoder_writes_are_refused(change: Callable[[bytes], bytes], message: str) -> None:
    head = Header(container.TERNARY, 70, 50, bytes(8), Ternary(0, 0, 0)).to_bytes()
    changed = change(head)
    with pytest.raises(BitstreamError, match=message):
        container.parse(repaired(changed) if len(changed) >= len(head) else changed)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ([], "holds no iteration"),
        ([METADATA, SCALES, SPLITS], "holds no iteration"),
        ([6], "chunk 1 is of the unknown kind 6"),
        ([ITERATION, 7], "chunk 2 is of the unknown kind 7"),
        ([ITERATION, METADATA], "chunk 2 is out of place"),
        ([ITERATION, SCALES], "chunk 2 is out of place"),
        ([METADATA, METADATA, ITERATION], "chunk 2 is out of place"),
        ([SCALES, METADATA, SCALES, ITERATION], "chunk 3 is out of place"),
        ([CUT, ITERATION], "chunk 2 is out of place"),
        ([CUT, CUT], "chunk 2 is out of place"),
        ([CUT, METADATA], "chunk 2 is out of place"),
        ([ITERATION] * 259, "more than 258 chunks; the first 258 iterations are intact"),
    ],
)
def test_chunks_out_of_place_are_refused(kinds: list[int], message: str) -> None:
    header = Header(container.TERNARY, 70, 50, bytes(8), Ternary(0, 0, 0))
    data = assembled(header, [Chunk(b"abc", kind) for kind in kinds])
    with pytest.raises(BitstreamError, match=message):
        container.parse(data)
    if kinds and kinds[0] in (ITERATION, CUT):
        assert container.parse(data, partial=True).iterations


@pytest.mark.parametrize(
    "length", [b"\xff\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff\x01", b"\x80\x80\x80", b"\x98\0", b"\xf8\x01"]
)
def test_lengths_beyond_the_file_or_the_format_are_refused(length: bytes) -> None:
    head = Header(container.TERNARY, 70, 50, bytes(8), Ternary(0, 0, 0)).to_bytes()
    tracemalloc.start()
    with pytest.raises(
        BitstreamError, match="chunk 1, or its length is damaged|inside chunk 1|longer than it has to be"
    ):
        container.parse(head + length + bytes(30))
    assert tracemalloc.get_traced_memory()[1] < 1e5
    tracemalloc.stop()
