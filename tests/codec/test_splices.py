"""Chunks of any two files, of either kind of codes, put together in another way: none of it decodes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, permutations

import numpy as np
import pytest
from helpers import binary_models, ternary_models
from helpers.files import assembled, ends

from lit_rnncomp.codec import container
from lit_rnncomp.codec.container import METADATA, BitstreamError, Chunk

TERNARY, BINARY = ternary_models.codec(), binary_models.codec()


def ternary_files() -> list[bytes]:
    """Of one size and one model: two pictures at two steps, with a map, with metadata, grey, one that ends early."""
    one, other = ternary_models.picture(40, 56), ternary_models.picture(40, 56, seed=1)
    mask = np.zeros(one.shape[:2], np.uint8)
    mask[10:20, 30:40] = 255
    whole = TERNARY.encode(one, step=1500)
    return [
        whole,
        TERNARY.encode(other, step=1500),
        TERNARY.encode(one, step=1501),
        TERNARY.encode(one, step=1500, tune="psnr"),
        TERNARY.encode(one, step=1500, focus=mask),
        TERNARY.encode(one, step=1500, metadata={"exif": b"Exif\0\0one"}),
        TERNARY.encode(other, step=1500, metadata={"exif": b"Exif\0\0two"}),
        TERNARY.encode(one[..., :1].repeat(3, axis=2), step=1500),
        TERNARY.truncate(whole, max_bytes=len(whole) * 4 // 5),
    ]


def binary_files() -> list[bytes]:
    """Of one size and one model: two pictures, plain and coded bits, two iterations and four, with metadata."""
    one, other = ternary_models.picture(40, 56), ternary_models.picture(40, 56, seed=1)
    header, _, chunks = container.parse(BINARY.encode(one))
    return [
        BINARY.encode(one),
        BINARY.encode(other),
        BINARY.encode(one, iterations=2),
        BINARY.encode(one, coder="raw"),
        BINARY.encode(other, coder="raw"),
        assembled(header, [Chunk(b"Exif", METADATA), *chunks]),
    ]


def framed(data: bytes) -> list[bytes]:
    """The header and the chunks, each with its checksum."""
    _, head, chunks = container.parse(data)
    return [head, *(data[start:end] for start, end in pairwise(ends(head, chunks)))]


def mixtures(one: list[bytes], other: list[bytes]) -> Iterator[list[bytes]]:
    """Every splice, replacement, insertion, omission, repetition and swap."""
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            yield one[:i] + other[j:]
    for i in range(len(one)):
        yield one[:i] + one[i + 1 :]
        yield one[: i + 1] + one[i:]
        for part in other:
            yield [*one[:i], part, *one[i + 1 :]]
            yield [*one[:i], part, *one[i:]]
        for j in range(i):
            yield [*one[:j], one[i], *one[j + 1 : i], one[j], *one[i + 1 :]]


@pytest.mark.parametrize("kind", ["ternary", "binary"])
def test_no_mixture_of_two_files_decodes(kind: str) -> None:
    codec, files = (TERNARY, ternary_files()) if kind == "ternary" else (BINARY, binary_files())
    assert len(set(files)) == len(files)
    for file in files:
        codec.decode(file)
    tried = 0
    for one, other in permutations(map(framed, files), 2):
        for parts in mixtures(one, other):
            data = b"".join(parts)
            # Only what is itself the beginning of a file is a file.
            if any(file.startswith(data) for file in files):
                continue
            tried += 1
            with pytest.raises(BitstreamError) as raised:
                codec.decode(data)
            assert "\n" not in str(raised.value)
    assert tried > 1500


@pytest.mark.parametrize("kind", ["ternary", "binary"])
def test_partial_draws_what_was_intact_and_nothing_else(kind: str) -> None:
    """Where a mixture begins as a file does, `partial` gives that beginning, never a chunk that follows it."""
    codec, files = (TERNARY, ternary_files()) if kind == "ternary" else (BINARY, binary_files())
    one, other = framed(files[0]), framed(files[1])
    pictures = list(codec.decode_progressive(files[0]))
    same = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert same < len(one) - 2
    for i in range(same + 1, len(one)):  # up to `same`, one is a beginning of the other, too
        for j in range(1, len(other)):
            assert np.array_equal(codec.decode(b"".join(one[:i] + other[j:]), partial=True), pictures[i - 2])


def test_a_file_of_one_kind_of_codes_is_not_one_of_the_other() -> None:
    for codec, file in ((TERNARY, binary_files()[0]), (BINARY, ternary_files()[0])):
        with pytest.raises(BitstreamError, match="the file was made by model"):
            codec.decode(file)
