"""Files put together by hand: whatever the chunks are, their checksums are right."""

from __future__ import annotations

from collections.abc import Iterable

from lit_rnncomp.codec.container import Chunk, Header, Writer


def assembled(header: Header, chunks: Iterable[Chunk]) -> bytes:
    """A header and chunks as a file."""
    writer = Writer(header)
    for chunk in chunks:
        writer.append(chunk)
    return writer.data


def ends(head: bytes, chunks: Iterable[Chunk]) -> list[int]:
    """Where the header and each chunk end."""
    places = [len(head)]
    for chunk in chunks:
        places.append(places[-1] + chunk.size)
    return places
