"""PNG (https://www.w3.org/TR/png-3/): the chunks from IHDR to IEND and their checksums, without decoding."""

from __future__ import annotations

import struct
import zlib

from bezoar.acquire.images.facts import MAX_PARTS, Broken, Facts, truncated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_HEADER = struct.Struct(">IIBBBBB")


def read(content: bytes) -> Facts:
    """Facts of a PNG file; what follows IEND is passed over."""
    view, at, facts, frames, data = memoryview(content), len(SIGNATURE), None, 1, False
    for _ in range(MAX_PARTS):
        size, kind = int.from_bytes(view[at : at + 4], "big"), content[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(content):
            raise truncated("PNG")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise Broken(f"PNG has a wrong checksum at byte {at}")
        body = view[at + 8 : end - 4]
        if facts is None:
            facts = _header(kind, body)
        elif kind == b"IDAT":
            data = True
        elif kind == b"acTL" and size == 8:
            frames = int.from_bytes(body[:4], "big")
        elif kind == b"IEND":
            if not data:
                raise Broken("PNG ends without a picture")
            return Facts(facts.width, facts.height, frames)
        at = end
    raise Broken("PNG has too many chunks")


def _header(kind: bytes, body: memoryview) -> Facts:
    if kind != b"IHDR" or len(body) != _HEADER.size:
        raise Broken("PNG does not begin with its header")
    width, height, depth, colour, compression, filtering, interlace = _HEADER.unpack(body)
    if not 0 < width < 2**31 or not 0 < height < 2**31:
        raise Broken("PNG has no width or no height")
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise Broken("PNG has a malformed header")
    return Facts(width, height)
