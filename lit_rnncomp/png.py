"""PNG files without what a picture does not need, so that text and other metadata are no reason to refuse it."""

from __future__ import annotations

import io
import struct
import zlib
from typing import IO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"eXIf", b"iCCP"}
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_LARGEST_TEXT = 1 << 16
"""Of a text that is kept, for the orientation that some programs write there. In bytes, before compression 1 MiB."""

_MOST_TEXTS = 32


def without_metadata(file: IO[bytes]) -> IO[bytes]:
    """The PNG file `file`, from its beginning, with only those chunks that the picture needs.

    Critical chunks stay even when damaged, for Pillow to judge; of others, those whose checksum is right, and of texts
    and profiles the small ones that come first. An animation keeps its still picture.
    """
    kept, texts = bytearray(file.read(len(_SIGNATURE))), 0
    while len(head := file.read(8)) == 8:
        length, tag = struct.unpack(">I4s", head)
        if tag not in _NEEDED | _TEXT:
            file.seek(length + 4, io.SEEK_CUR)
            continue
        body, checksum = file.read(length), file.read(4)
        critical = not tag[0] & 32
        sound = checksum == struct.pack(">I", zlib.crc32(body, zlib.crc32(tag)))
        texts += tag in _TEXT
        if critical or (sound and texts <= _MOST_TEXTS and _harmless(tag, body)):
            kept += head + body + checksum
        if tag == b"IEND":
            break
    return io.BytesIO(bytes(kept))


def _harmless(tag: bytes, body: bytes) -> bool:
    """Whether Pillow takes a chunk that is no part of the picture."""
    if tag in (b"tRNS", b"eXIf"):
        return True
    if len(body) > (1 << 24 if tag == b"iCCP" else _LARGEST_TEXT):
        return False
    if tag == b"tEXt":
        return True
    name, _, rest = body.partition(b"\0")
    if tag == b"iTXt":
        if rest[:2] == b"\0\0":
            return True
        if rest[:2] != b"\1\0" or rest.count(b"\0", 2) < 2:
            return False
        packed = rest[2:].split(b"\0", 2)[2]
    else:
        if not name or rest[:1] != b"\0":
            return False
        packed = rest[1:]
    inflate = zlib.decompressobj()
    try:
        inflate.decompress(packed, 1 << 20)
    except zlib.error:
        return False
    return inflate.eof
