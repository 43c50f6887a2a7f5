"""WebP (RFC 9649): the chunks of the RIFF container, without decoding."""

from __future__ import annotations

from bezoar.acquire.images.facts import MAX_PARTS, Broken, Facts, truncated


def read(content: bytes) -> Facts:
    """Facts of a WebP file: the larger of the canvas and of its pictures; what follows the container is passed over."""
    end = 8 + int.from_bytes(content[4:8], "little")
    if end > len(content) or end < 20:
        raise truncated("WebP")
    width = height = frames = pictures = 0
    at = 12
    for _ in range(MAX_PARTS):
        if at >= end:
            break
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = at + 8
        if body + size > end:
            raise truncated("WebP")
        if kind in _PICTURES or kind in _CANVASES:
            facts = (_PICTURES.get(kind) or _CANVASES[kind])(content[body : body + min(size, 16)])
            width, height = max(width, facts.width), max(height, facts.height)
        pictures += kind in _PICTURES
        frames += kind == b"ANMF"
        at = body + size + size % 2
    else:
        raise Broken("WebP has too many chunks")
    if not pictures and not frames:
        raise Broken("WebP has no picture")
    return Facts(width, height, max(frames, 1))


def _lossy(data: bytes) -> Facts:
    """A VP8 key frame (RFC 6386, 9.1): a tag, a start code, 14 bits each of width and height."""
    if len(data) < 10 or data[0] & 1 or data[3:6] != b"\x9d\x01\x2a":
        raise Broken("WebP has a malformed VP8 header")
    return _sized(int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF)


def _lossless(data: bytes) -> Facts:
    """A VP8L header (RFC 9649, 3.4): a signature, 14 bits each of width and height less one."""
    bits = int.from_bytes(data[1:5], "little")
    if len(data) < 5 or data[0] != 0x2F or bits >> 29:
        raise Broken("WebP has a malformed VP8L header")
    return _sized((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)


def _canvas(data: bytes) -> Facts:
    if len(data) < 10:
        raise Broken("WebP has a malformed VP8X header")
    return _sized(int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1)


def _animated(data: bytes) -> Facts:
    if len(data) < 16:
        raise Broken("WebP has a malformed frame")
    return _sized(int.from_bytes(data[6:9], "little") + 1, int.from_bytes(data[9:12], "little") + 1)


def _sized(width: int, height: int) -> Facts:
    if not width or not height:
        raise Broken("WebP has no width or no height")
    return Facts(width, height)


_PICTURES = {b"VP8 ": _lossy, b"VP8L": _lossless}
_CANVASES = {b"VP8X": _canvas, b"ANMF": _animated}
