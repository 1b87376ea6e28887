"""The `.rnnc` file, version 1: a header, then one checksummed chunk for each iteration. Any prefix of whole chunks is a
file.

All numbers are little endian.

    header   4  magic "RNNC"
             1  format version, 1
             1  coder: 0 raw bits, 1 learned entropy model
             1  unit (low 4 bits) and reconstruction framework (high 4 bits), as numbered in `models.config`
             2  width of the network, in thousandths
             1  bits a position           1  pixels a side of a position
             4  true width in pixels      4  true height
             2  side of a window, in positions; 0: the picture is one window
             1  overlap of neighbouring windows, in positions
             8  digest of the network's weights
             8  digest of the entropy model (coder 1 only)
             4  CRC-32 of all of the above
    chunk    4  payload length (low 31 bits); highest bit set: the payload is raw bits although the coder is 1
             4  CRC-32 of header, chunk number, length field and payload
             n  payload

A chunk's checksum covers its place, so chunks that were swapped, or belong to another file, are found too.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAGIC = b"RNNC"
VERSION = 1
RAW, LEARNED = 0, 1
CODERS = ("raw", "rnn")
MAX_CHUNKS = 255

_HEAD = struct.Struct("<4sBBBHBBIIHB8s")
_CHUNK = struct.Struct("<II")
_CRC = struct.Struct("<I")
_RAW_FLAG = 1 << 31


class BitstreamError(ValueError):
    """A file that cannot be decoded as it is. The message is one line and says what is wrong with it."""


class Chunk(NamedTuple):
    """One iteration's payload; `raw`: plain bits although the file's coder is the learned one."""

    payload: bytes
    raw: bool


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the first bit. Sizes in pixels; `window` and `overlap` in positions of the
    code."""

    coder: int
    unit: int
    reconstruction: int
    width_thousandths: int
    bits: int
    stride: int
    width: int
    height: int
    window: int
    overlap: int
    model_digest: bytes
    entropy_digest: bytes = b""

    def to_bytes(self) -> bytes:
        """The header, 34 or 42 bytes."""
        head = _HEAD.pack(
            MAGIC,
            VERSION,
            self.coder,
            self.unit | self.reconstruction << 4,
            self.width_thousandths,
            self.bits,
            self.stride,
            self.width,
            self.height,
            self.window,
            self.overlap,
            self.model_digest,
        )
        head += self.entropy_digest
        return head + _CRC.pack(zlib.crc32(head))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of code positions that cover the picture (before padding to the network's multiple)."""
        return -(-self.height // self.stride), -(-self.width // self.stride)


def pack_chunk(header: bytes, index: int, chunk: Chunk) -> bytes:
    """Frame the payload of iteration `index` (from 0)."""
    length = len(chunk.payload) | (_RAW_FLAG if chunk.raw else 0)
    return _CHUNK.pack(length, _chunk_crc(header, index, length, chunk.payload)) + chunk.payload


def chunk_size(payload_bytes: int) -> int:
    """Bytes in the file of a chunk with `payload_bytes` of payload."""
    return _CHUNK.size + payload_bytes


def parse_header(data: bytes) -> tuple[Header, bytes]:
    """The header and its bytes. Raises `BitstreamError`."""
    if data[:4] != MAGIC:
        raise BitstreamError("not an .rnnc file: it does not begin with RNNC")
    if len(data) < 5:
        raise BitstreamError("the file ends inside its header")
    if data[4] != VERSION:
        raise BitstreamError(
            f"format version {data[4]}; this program reads version {VERSION}, a newer one may read the file"
        )
    if len(data) < _HEAD.size + _CRC.size:
        raise BitstreamError("the file ends inside its header")
    _, _, coder, kind, width_thousandths, bits, stride, width, height, window, overlap, digest = _HEAD.unpack_from(data)
    size = _HEAD.size + (8 if coder == LEARNED else 0)
    if len(data) < size + _CRC.size:
        raise BitstreamError("the file ends inside its header")
    if _CRC.unpack_from(data, size)[0] != zlib.crc32(data[:size]):
        raise BitstreamError("the header fails its checksum")
    if coder not in (RAW, LEARNED):
        raise BitstreamError(f"coder {coder} is unknown; a newer version may read the file")
    if not width or not height or not bits or not stride:
        raise BitstreamError(
            f"the header claims a picture of {width}x{height} pixels with {bits} bits on {stride} pixels a side"
        )
    entropy = data[_HEAD.size : size]
    header = Header(
        coder, kind & 15, kind >> 4, width_thousandths, bits, stride, width, height, window, overlap, digest, entropy
    )
    return header, data[: size + _CRC.size]


def parse_chunks(data: bytes, header: bytes) -> Iterator[Chunk]:
    """The chunks in order, lazily. Raises `BitstreamError` at the first that is damaged or cut."""
    at, index = len(header), 0
    while at < len(data):
        intact = (
            f"the first {index} iterations are intact (use --partial)" if index else "no iteration before it is intact"
        )
        if index == MAX_CHUNKS:
            raise BitstreamError(f"more than {MAX_CHUNKS} chunks; {intact}")
        if len(data) - at < _CHUNK.size:
            raise BitstreamError(f"the file ends inside chunk {index + 1}; {intact}")
        length, crc = _CHUNK.unpack_from(data, at)
        size = length & ~_RAW_FLAG
        at += _CHUNK.size
        if len(data) - at < size:
            raise BitstreamError(f"the file ends inside chunk {index + 1}, or its length is damaged; {intact}")
        payload = data[at : at + size]
        if _chunk_crc(header, index, length, payload) != crc:
            raise BitstreamError(f"chunk {index + 1} fails its checksum; {intact}")
        yield Chunk(payload, bool(length & _RAW_FLAG))
        at += size
        index += 1


def parse(data: bytes, partial: bool = False) -> tuple[Header, bytes, list[Chunk]]:
    """Header, its bytes, and all chunks; with `partial` the intact prefix of a damaged or cut file.

    Raises `BitstreamError`, also when not one chunk is intact.
    """
    header, head = parse_header(data)
    chunks: list[Chunk] = []
    try:
        for chunk in parse_chunks(data, head):
            chunks.append(chunk)
    except BitstreamError:
        if not partial or not chunks:
            raise
    if not chunks:
        raise BitstreamError("the file ends after its header: it holds no iteration")
    return header, head, chunks


def cut(
    data: bytes, bpp: float | None = None, max_bytes: float | None = None, iterations: int | None = None
) -> tuple[Header, bytes, int]:
    """The longest prefix of whole chunks within the one limit given: the header, the file's bytes, and how many chunks
    it keeps.

    Raises `ValueError` when not exactly one limit is given or nothing fits, `BitstreamError` when the part kept is
    damaged.
    """
    if sum(limit is not None for limit in (bpp, max_bytes, iterations)) != 1:
        raise ValueError("give exactly one of bpp, bytes and iterations")
    header, head = parse_header(data)
    budget = byte_budget(header.width * header.height, bpp, max_bytes)
    kept, count = len(head), 0
    for chunk in parse_chunks(data, head):
        after = kept + chunk_size(len(chunk.payload))
        if count == iterations or after > budget:
            break
        kept, count = after, count + 1
    if iterations is not None and count != iterations:
        raise ValueError(f"iterations={iterations}: the file holds 1..{count}")
    if not count:
        raise ValueError(f"{budget:.0f} bytes are too few for the first iteration of this file, or it holds none")
    return header, data[:kept], count


def byte_budget(pixels: int, bpp: float | None = None, max_bytes: float | None = None) -> float:
    """Bytes that a rate target leaves for a file; infinity without a target. Raises `ValueError` for a target that is
    not positive."""
    for name, value in (("bpp", bpp), ("bytes", max_bytes)):
        if value is not None and not value > 0:
            raise ValueError(f"{name}={value} is not positive")
    if bpp is not None:
        return math.floor(bpp * pixels / 8)
    return math.inf if max_bytes is None else max_bytes


def _chunk_crc(header: bytes, index: int, length: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<BI", index, length), zlib.crc32(header)))
