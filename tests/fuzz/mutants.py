"""Small files of both kinds of codes, and what chance makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np
from helpers import ternary_models
from helpers.files import assembled

from lit_rnncomp.codec import container
from lit_rnncomp.codec.binary_codec import BinaryCodec
from lit_rnncomp.codec.container import BitstreamError, Chunk, Header
from lit_rnncomp.codec.pixels import Pixels
from lit_rnncomp.codec.ternary_codec import TernaryCodec


class Mutant(NamedTuple):
    """`repaired`: its checksums are right, so that it may be a picture."""

    data: bytes
    repaired: bool


def seeds(ternaries: Iterable[TernaryCodec], binary: BinaryCodec) -> list[bytes]:
    """Whole files: colour, grey, with a map, cut within an iteration, one pixel; plain and coded bits."""
    picture = ternary_models.picture(40, 56)
    plain = [binary.encode(picture, coder=coder) for coder in ("raw", "rnn")]
    return [file for ternary in ternaries for file in _ternary(ternary, picture)] + plain


def _ternary(ternary: TernaryCodec, picture: Pixels) -> list[bytes]:
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[10:20, 30:40] = 255
    coloured = ternary.encode(picture, step=1700)
    return [
        coloured,
        ternary.encode(picture, step=1710),
        ternary.encode(picture[..., :1].repeat(3, axis=2), step=1700),
        ternary.encode(picture, step=1700, focus=mask),
        ternary.truncate(coloured, max_bytes=len(coloured) * 3 // 4),
        ternary.encode(picture[:1, :1], step=2815),
    ]


def mutant(files: list[bytes], random: Random) -> Mutant:
    """One of the files, changed in one to four ways."""
    data, repaired = random.choice(files), random.random() < 0.6
    for _ in range(random.randint(1, 4)):
        if repaired:
            data = _other_chunks(data, random.choice(files), random)
        else:
            data = random.choice([_flip, _delete, _insert, _splice])(data, random.choice(files), random)
    return Mutant(data, repaired)


def _flip(data: bytes, other: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 8]) if data else 0):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _delete(data: bytes, other: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    return data[:start] + data[start + random.choice([1, 4, 30, len(data)]) :]


def _insert(data: bytes, other: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    return data[:start] + random.randbytes(random.choice([1, 4, 30])) + data[start:]


def _splice(data: bytes, other: bytes, random: Random) -> bytes:
    """Where their chunks begin, more often than not."""
    places = [_places(file) if random.random() < 0.7 else range(len(file) + 1) for file in (data, other)]
    return data[: random.choice(places[0])] + other[random.choice(places[1]) :]


def _places(data: bytes) -> list[int]:
    try:
        _, head, chunks = container.parse(data, partial=True)
    except BitstreamError:
        return [0, len(data)]
    places = [0, len(head)]
    for chunk in chunks:
        places.append(places[-1] + chunk.size)
    return places


def _other_chunks(data: bytes, other: bytes, random: Random) -> bytes:
    """Chunks or header changed, with right checksums. What is no file is left as it is."""
    try:
        header, _, chunks = container.parse(data, partial=True)
        _, _, more = container.parse(other, partial=True)
    except BitstreamError:
        return data
    index = random.randrange(len(chunks))
    payload, kind = chunks[index]
    change = random.randrange(7)
    if change == 0:
        header = _other_header(header, random)
    elif change == 1:
        chunks[index] = Chunk(payload, random.randrange(8))
    elif change == 2:
        del chunks[index]
    elif change == 3:
        chunks.insert(random.randint(0, len(chunks)), random.choice(more))
    elif change == 4:
        chunks[index] = Chunk(random.randbytes(random.choice([0, 3, 40])), kind)
    elif change == 5:
        chunks[index] = Chunk(payload + random.randbytes(random.choice([1, 4, 9])), kind)
    else:
        change_bytes = random.choice([_flip, _delete, _insert])
        chunks[index] = Chunk(change_bytes(payload, b"", random), kind)
    return assembled(header, chunks)


def _other_header(header: Header, random: Random) -> Header:
    side = random.choice([1, 7, 8, 9, 64, 256, 2000, 40_000, 2**20, 2**34])
    change = random.randrange(4)
    if change == 0:
        return replace(header, width=side)
    if change == 1:
        return replace(header, height=side)
    if change == 2:
        return replace(header, grey=not header.grey)
    layout = header.layout
    fields = [name for name in layout._fields if name not in ("entropy_digest", "width_thousandths")]
    limit = 16 if isinstance(layout, container.Binary) else 256
    name = random.choice(fields)
    return replace(header, layout=layout._replace(**{name: random.choice([0, 1, 2, random.randrange(limit)])}))
