"""Cutting a file of ternary codes to a rate, without the picture: the last iteration may end early."""

from __future__ import annotations

from itertools import takewhile

import numpy as np

from . import container
from .container import Chunk, Writer
from .ternary_coder import End, TernaryCoder
from .ternary_model import TernaryModel


class Truncation:
    """A file on its way to be cut."""

    def __init__(self, model: TernaryModel, data: bytes) -> None:
        self.model, self.data = model, data
        self.header, self.head = container.parse_header(data)

    def cut(self, bpp: float | None = None, max_bytes: int | None = None, iterations: int | None = None) -> bytes:
        """See `TernaryCodec.truncate`."""
        if sum(limit is not None for limit in (bpp, max_bytes, iterations)) != 1:
            raise ValueError("give exactly one of bpp, max_bytes and iterations")
        budget = container.byte_budget(self.header.pixels, bpp, max_bytes, iterations)
        before = takewhile(lambda chunk: not chunk.codes, container.parse_chunks(self.data, self.head))
        splits = {chunk.kind: chunk.payload for chunk in before}.get(container.SPLITS)
        writer, coder, count = Writer(self.header), self.model.coder(self.header, splits), 0
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
        """As much of an iteration as fits."""
        mark = coder.mark()
        decoded = coder.read(chunk)
        coder.context.levels, coder.context.iteration = mark.levels.copy(), mark.iteration
        # As in the file, so that a cut file is cut where the whole one would be.
        active = decoded.active
        bits = coder.information(decoded.codes, active)
        rows = bits.shape[1]
        total = np.cumsum(bits)
        if decoded.sent is not None:
            last = End.from_bytes(chunk.payload)
            total = total[: last.segments * rows + last.rows]
        room = budget - len(writer.data) - Chunk(bytes(len(active)), container.CUT).size
        while (count := int(np.searchsorted(total, 8 * room, "right"))) > 0:
            coder.reset(mark)
            end = End(*divmod(count, rows))
            payload = coder.encode(decoded.codes, end, active=active, coarse=decoded.coarse).payload
            part = Chunk(end.to_bytes() + payload, container.CUT)
            if (excess := len(writer.data) + part.size - budget) <= 0:
                writer.append(part)
                return
            # The range coder needs some bytes more than the codes' information.
            room = min(room, total[count - 1] / 8) - max(excess, 0.125)
