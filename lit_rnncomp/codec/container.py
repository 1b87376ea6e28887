"""The `.rnnc` file: a header, then checksummed chunks. Any prefix of whole chunks is a file.

Numbers are little endian; `v` is a varint (seven bits a byte, low ones first, the highest bit says that another byte
follows).

    header   4  magic "RNNC"
             1  format version, 2
             1  coder (low 4 bits): 0 raw bits, 1 learned model of bits, 2 of ternary codes; flags: 16 grey
             v  width in pixels          v  height
             8  digest of the weights
      coder 2:
             1  tune (the coefficients' weights)      1  scale of the thresholds      1  the first iteration in the file
      coders 0 and 1:
             1  unit (low 4 bits) and reconstruction framework (high 4 bits), as numbered in `models.config`
             2  width of the network, in thousandths
             1  bits a position          1  pixels a side of a position
             v  side of a window, in positions; 0: the picture is one window
             1  overlap of neighbouring windows, in positions
             8  digest of the entropy model (coder 1 only)
             4  CRC-32 of all of the above
    chunk    v  8 * payload bytes + kind: 0 an iteration, 1 one whose bits are plain although the coder is 1, 2 one that
                ends early (its first five bytes say where), 3 metadata, 4 a map of threshold scales, 5 which blocks
                of 16x16 are split
             n  payload
             4  CRC-32 that goes on from the checksum before: of the chunk before, or of the header

A chunk's checksum depends on everything before it, so a chunk that was moved, repeated, left out or taken from another
file does not fit. Metadata and maps, one of each at most, come before the first iteration; an iteration
that ends early is the last chunk. A varint is as short as can be.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAGIC = b"RNNC"
VERSION = 2
RAW, LEARNED, TERNARY = 0, 1, 2
CODERS = ("raw", "rnn", "ternary")
ITERATION, PLAIN, CUT, METADATA, SCALES, SPLITS = range(6)
MAX_CHUNKS = 258
"""255 iterations, metadata and two maps."""

_GREY = 16
_START = struct.Struct("<4sBB")
_BINARY = struct.Struct("<BHBB")
_CRC = struct.Struct("<I")
_MOST_BYTES = 5


class BitstreamError(ValueError):
    """A file that cannot be decoded as it is. The message is one line and says what is wrong with it."""


class Chunk(NamedTuple):
    """A payload and its kind."""

    payload: bytes
    kind: int = ITERATION

    @property
    def codes(self) -> bool:
        """Whether it is an iteration's."""
        return self.kind in (ITERATION, PLAIN, CUT)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(varint(8 * len(self.payload) + self.kind)) + len(self.payload) + _CRC.size


class Binary(NamedTuple):
    """What a decoder of binary codes must know; `window` and `overlap` in positions of the code."""

    unit: int
    reconstruction: int
    width_thousandths: int
    bits: int
    stride: int
    window: int
    overlap: int
    entropy_digest: bytes = b""


class Ternary(NamedTuple):
    """What a decoder of ternary codes must know, see `models.ternary`."""

    tune: int
    scale: int
    first: int


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the first code. Sizes in pixels; `layout` is `Ternary` where `coder` is
    `TERNARY`."""

    coder: int
    width: int
    height: int
    model_digest: bytes
    layout: Binary | Ternary
    grey: bool = False

    def to_bytes(self) -> bytes:
        """The header with its checksum."""
        head = _START.pack(MAGIC, VERSION, self.coder | (_GREY if self.grey else 0))
        head += varint(self.width) + varint(self.height) + self.model_digest
        if isinstance(self.layout, Ternary):
            head += bytes(self.layout)
        else:
            unit, framework, thousandths, bits, stride, window, overlap, entropy_digest = self.layout
            head += _BINARY.pack(unit | framework << 4, thousandths, bits, stride)
            head += varint(window) + bytes([overlap]) + entropy_digest
        return head + _CRC.pack(zlib.crc32(head))

    @property
    def pixels(self) -> int:
        """Pixels of the picture."""
        return self.width * self.height


class File(NamedTuple):
    """A parsed file: its header, the header's bytes, and the chunks that are intact."""

    header: Header
    head: bytes
    chunks: list[Chunk]

    @property
    def iterations(self) -> list[Chunk]:
        """The chunks that hold codes."""
        return [chunk for chunk in self.chunks if chunk.codes]

    def payload(self, kind: int) -> bytes | None:
        """The payload of the one chunk of a kind; None where there is none."""
        return next((chunk.payload for chunk in self.chunks if chunk.kind == kind), None)


class Writer:
    """Puts a file together, chunk by chunk."""

    def __init__(self, header: Header) -> None:
        self.data = header.to_bytes()
        self._crc = _CRC.unpack(self.data[-_CRC.size :])[0]

    def append(self, chunk: Chunk) -> None:
        """Add a chunk, with a checksum that goes on from the one before."""
        framed = varint(8 * len(chunk.payload) + chunk.kind) + chunk.payload
        self._crc = zlib.crc32(framed, self._crc)
        self.data += framed + _CRC.pack(self._crc)


def parse_header(data: bytes) -> tuple[Header, bytes]:
    """The header and its bytes. Raises `BitstreamError`."""
    if data[:4] != MAGIC:
        raise BitstreamError("not an .rnnc file: it does not begin with RNNC")
    if len(data) < _START.size:
        raise BitstreamError("the file ends inside its header")
    _, version, kind = _START.unpack_from(data)
    if version != VERSION:
        raise BitstreamError(
            f"format version {version}; this program reads version {VERSION}, a newer one may read the file"
        )
    coder = kind & 15
    if coder >= len(CODERS) or kind & ~(15 | _GREY):
        raise BitstreamError(f"coder {coder}, flags {kind >> 4}: unknown; a newer version may read the file")
    try:
        at = _START.size
        width, at = read_varint(data, at)
        height, at = read_varint(data, at)
        digest, at = data[at : at + 8], at + 8
        layout: Binary | Ternary
        if coder == TERNARY:
            layout, at = Ternary(*data[at : at + 3]), at + 3
        else:
            named, thousandths, bits, stride = _BINARY.unpack_from(data, at)
            window, at = read_varint(data, at + _BINARY.size)
            overlap, at = data[at], at + 1
            size = 8 if coder == LEARNED else 0
            layout = Binary(named & 15, named >> 4, thousandths, bits, stride, window, overlap, data[at : at + size])
            at += size
        crc = _CRC.unpack_from(data, at)[0]
    except (IndexError, struct.error, TypeError) as error:
        raise BitstreamError("the file ends inside its header") from error
    if crc != zlib.crc32(data[:at]):
        raise BitstreamError("the header fails its checksum")
    if not width or not height or (isinstance(layout, Binary) and not (layout.bits and layout.stride)):
        raise BitstreamError(f"the header claims a picture of {width}x{height} pixels, {layout}")
    return Header(coder, width, height, digest, layout, bool(kind & _GREY)), data[: at + _CRC.size]


def parse_chunks(data: bytes, head: bytes) -> Iterator[Chunk]:
    """The chunks in order, lazily. Raises `BitstreamError` at the first that is damaged, cut or out of place."""
    at, crc, count, iterations = len(head), _CRC.unpack(head[-_CRC.size :])[0], 0, 0
    seen: set[int] = set()
    while at < len(data):
        intact = (
            f"the first {iterations} iterations are intact (use partial=True)"
            if iterations
            else "no iteration before it is intact"
        )
        count += 1
        if count > MAX_CHUNKS:
            raise BitstreamError(f"more than {MAX_CHUNKS} chunks; {intact}")
        start = at
        try:
            length, at = read_varint(data, at)
        except IndexError as error:
            raise BitstreamError(f"the file ends inside chunk {count}; {intact}") from error
        payload = data[at : at + length // 8]
        at += length // 8
        if len(data) - at < _CRC.size:
            raise BitstreamError(f"the file ends inside chunk {count}, or its length is damaged; {intact}")
        crc = zlib.crc32(data[start:at], crc)
        if _CRC.unpack_from(data, at)[0] != crc:
            raise BitstreamError(f"chunk {count} fails its checksum; {intact}")
        chunk = Chunk(payload, length % 8)
        if chunk.kind > SPLITS:
            raise BitstreamError(
                f"chunk {count} is of the unknown kind {chunk.kind}; a newer version may read the file"
            )
        if CUT in seen or (chunk.kind in (METADATA, SCALES, SPLITS) and (iterations or chunk.kind in seen)):
            raise BitstreamError(f"chunk {count} is out of place; {intact}")
        seen.add(chunk.kind)
        iterations += chunk.codes
        yield chunk
        at += _CRC.size


def parse(data: bytes, partial: bool = False) -> File:
    """The whole file; with `partial` the intact prefix of a damaged or cut one.

    Raises `BitstreamError`, also when not one iteration is intact.
    """
    header, head = parse_header(data)
    file = File(header, head, [])
    try:
        for chunk in parse_chunks(data, head):
            file.chunks.append(chunk)
    except BitstreamError:
        if not partial or not file.iterations:
            raise
    if not file.iterations:
        raise BitstreamError("the file ends after its header: it holds no iteration")
    return file


def cut(data: bytes, bpp: float | None = None, max_bytes: float | None = None, iterations: int | None = None) -> bytes:
    """The longest prefix of whole chunks within the one limit given.

    Raises `ValueError` when not exactly one limit is given or nothing fits, `BitstreamError` when the part kept is
    damaged.
    """
    if sum(limit is not None for limit in (bpp, max_bytes, iterations)) != 1:
        raise ValueError("give exactly one of bpp, max_bytes and iterations")
    header, head = parse_header(data)
    budget = byte_budget(header.pixels, bpp, max_bytes, iterations)
    kept, count = len(head), 0
    for chunk in parse_chunks(data, head):
        if kept + chunk.size > budget:
            break
        kept, count = kept + chunk.size, count + chunk.codes
        if count == iterations:
            break
    if iterations is not None and count != iterations:
        raise ValueError(f"iterations={iterations}: the file holds 1..{count}")
    if not count:
        raise ValueError(f"{budget:.0f} bytes are too few for the first iteration of this file, or it holds none")
    return data[:kept]


def byte_budget(
    pixels: int, bpp: float | None = None, max_bytes: float | None = None, iterations: int | None = None
) -> float:
    """Bytes that a rate target leaves for a file; infinity without a target. Raises `ValueError` for a target that is
    not positive, or not finite."""
    for name, value in (("bpp", bpp), ("max_bytes", max_bytes), ("iterations", iterations)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}={value} is not a positive number")
    if bpp is not None:
        return math.floor(bpp * pixels / 8)
    return math.inf if max_bytes is None else max_bytes


def varint(value: int) -> bytes:
    """A number of the file, seven bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises `IndexError` at the end of the data, `BitstreamError` for one that
    `varint` does not write."""
    value = 0
    for index in range(_MOST_BYTES):
        byte = data[at + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            if index and not byte:
                break
            return value, at + index + 1
    raise BitstreamError("a number in the file is longer than it has to be")
