"""Cutting a file of ternary codes to a rate, without the picture: the last iteration may end early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import container
from .container import Chunk, Writer
from .ternary_coder import TernaryCoder

if TYPE_CHECKING:
    from .ternary_codec import TernaryCodec


class Truncation:
    """A file on its way to be cut."""

    def __init__(self, codec: TernaryCodec, data: bytes) -> None:
        self.codec, self.data = codec, data
        self.header, self.head = container.parse_header(data)

    def cut(self, bpp: float | None, max_bytes: int | None, iterations: int | None) -> bytes:
        """See `TernaryCodec.truncate`."""
        if sum(limit is not None for limit in (bpp, max_bytes, iterations)) != 1:
            raise ValueError("give exactly one of bpp, bytes and iterations")
        budget = container.byte_budget(self.header.pixels, bpp, max_bytes, iterations)
        writer, coder, count = Writer(self.header), self.codec._coder(self.header), 0
        for chunk in container.parse_chunks(self.data, self.head):
            if len(writer.data) + chunk.size > budget:
                if chunk.codes:
                    self._part(writer, coder, chunk, budget)
                break
            writer.append(chunk)
            if chunk.codes:
                count += 1
                if count == iterations:
                    break
                coder.read(chunk)
        if iterations is not None and count != iterations:
            raise ValueError(f"iterations={iterations}: the file holds 1..{count}")
        if not any(chunk.codes for chunk in container.parse_chunks(writer.data, self.head)):
            raise ValueError(f"{budget:.0f} bytes are too few for the first codes of this file, or it holds none")
        return writer.data

    def _part(self, writer: Writer, coder: TernaryCoder, chunk: Chunk, budget: float) -> None:
        """As many segments of an iteration as fit."""
        before, t = coder.context.levels, coder.context.iteration
        decoded = coder.read(chunk)
        coder.context.levels, coder.context.iteration = before, t
        # As in the file, so that a cut file is cut where the whole one would be.
        active = decoded.active
        bits = np.cumsum(coder.information(decoded.codes, active))
        if decoded.sent is not None:
            bits = bits[: chunk.payload[0]]
        room = budget - len(writer.data) - Chunk(bytes(1 + len(active))).size
        # The range coder needs some bytes more than the codes' information.
        for segments in range(int(np.searchsorted(bits, 8 * room, "right")), 0, -1):
            coder.context.levels, coder.context.iteration = before, t
            payload = coder.encode(decoded.codes, segments, active=active).payload
            part = Chunk(bytes([segments]) + payload, container.CUT)
            if len(writer.data) + part.size <= budget:
                writer.append(part)
                return
