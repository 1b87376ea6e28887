"""From one iteration's codes to a chunk and back."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .container import BitstreamError, Chunk

Codes = NDArray[np.int8]


class Coder(Protocol):
    """Codes are `(bits, rows, columns)` in {-1, +1}; both methods are called once an iteration, in order."""

    def encode(self, codes: Codes) -> Chunk: ...

    def decode(self, chunk: Chunk) -> Codes: ...


class RawCoder:
    """Coder 0: the bits as they are, position by position in raster order, most significant bit first, the last byte
    zero-padded."""

    def __init__(self, bits: int, rows: int, columns: int) -> None:
        self.shape = (rows, columns, bits)

    @property
    def payload_bytes(self) -> int:
        """Bytes of every payload."""
        rows, columns, bits = self.shape
        return -(-rows * columns * bits // 8)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of every chunk in the file."""
        return Chunk(bytes(self.payload_bytes)).size

    def encode(self, codes: Codes) -> Chunk:
        return Chunk(np.packbits(codes.transpose(1, 2, 0) > 0).tobytes())

    def decode(self, chunk: Chunk) -> Codes:
        if len(chunk.payload) != self.payload_bytes:
            raise BitstreamError(
                f"a chunk of {len(chunk.payload)} bytes where {self.payload_bytes} bytes of raw bits belong"
            )
        rows, columns, bits = self.shape
        flat = np.unpackbits(np.frombuffer(chunk.payload, np.uint8), count=rows * columns * bits)
        return np.ascontiguousarray(flat.reshape(self.shape).transpose(2, 0, 1)).astype(np.int8) * 2 - 1
