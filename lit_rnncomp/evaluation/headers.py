"""How many bytes of a compressed file are not picture: signatures, boxes, tables, metadata.

What is left over is entropy-coded data. At the low rates of this codec family a JPEG's six hundred bytes of tables are
a tenth of the file, so an honest comparison counts them, and shows them.
"""

from __future__ import annotations


def header_bytes(data: bytes) -> int | None:
    """Bytes of `data` that are not entropy-coded picture data, or None for a format where the two are not separated by
    bytes.

    JPEG: everything but the scans' data. WebP: everything but the picture's chunk. JPEG 2000: everything before the
    first tile part and its end marker. AVIF: everything but the `mdat` boxes. JPEG XL packs its header into bits: None.
    """
    if data[:2] == b"\xff\xd8":
        return len(data) - _jpeg_scan_bytes(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) - _webp_picture_bytes(data)
    if data[4:8] == b"jP  " or data[:4] == b"\xff\x4f\xff\x51":
        return data.index(b"\xff\x90\x00\x0a") + 2
    if data[4:8] == b"ftyp":
        return len(data) - _mdat_bytes(data)
    return None


def _jpeg_scan_bytes(data: bytes) -> int:
    """Walks the markers (ITU-T T.81, annex B); inside a scan 0xFF is followed by 0x00 or a restart marker."""
    total, position = 0, 2
    while data[position + 1] != 0xD9:
        is_scan = data[position + 1] == 0xDA
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if is_scan:
            start = position
            while True:
                position = data.index(b"\xff", position)
                if data[position + 1] != 0 and not 0xD0 <= data[position + 1] <= 0xD7:
                    break
                position += 2
            total += position - start
    return total


def _webp_picture_bytes(data: bytes) -> int:
    total, position = 0, 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] in (b"VP8 ", b"VP8L"):
            total += size
        position += 8 + size + size % 2
    return total


def _mdat_bytes(data: bytes) -> int:
    total, position = 0, 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big") or len(data) - position
        if data[position + 4 : position + 8] == b"mdat":
            total += size - 8
        position += size
    return total
