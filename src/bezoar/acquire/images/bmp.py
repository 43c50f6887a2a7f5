"""BMP (Windows bitmaps): the headers, and whether all rows are there."""

from __future__ import annotations

from bezoar.acquire.images.facts import Broken, Facts, truncated

_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_PLAIN = (0, 3, 6)  # compression: none, with bit fields, with bit fields and alpha


def read(content: bytes) -> Facts:
    """Facts of a BMP file; height is positive whichever way up the rows are."""
    header = int.from_bytes(content[14:18], "little")
    if header not in _HEADERS:
        raise Broken("BMP has a malformed header")
    if len(content) < 14 + header:
        raise truncated("BMP")
    step = 2 if header == 12 else 4
    width, height = (
        int.from_bytes(content[i : i + step], "little", signed=step == 4) for i in (18, 18 + step)
    )
    bits = int.from_bytes(content[18 + 2 * step + 2 : 18 + 2 * step + 4], "little")
    compression = 0 if header == 12 else int.from_bytes(content[30:34], "little")
    if width <= 0 or not height or bits not in (1, 4, 8, 16, 24, 32):
        raise Broken("BMP has a malformed header")
    if compression not in (*_PLAIN, 1, 2):
        raise Broken("BMP is compressed in a way that is not supported")
    rows = (width * bits + 31) // 32 * 4 * abs(height)
    start = int.from_bytes(content[10:14], "little")
    if start >= len(content) or (compression in _PLAIN and start + rows > len(content)):
        raise truncated("BMP")
    return Facts(width, abs(height))
