"""JPEG (ITU-T T.81): the markers from SOI to EOI, without decoding."""

from __future__ import annotations

import re

from bezoar.acquire.images.facts import Broken, Facts, truncated

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # within a scan, what is neither data nor a restart
_FILL = re.compile(rb"\xff+")  # before a marker; in C, for there may be as many as a file has bytes
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive, Huffman or arithmetic
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}  # lossless and hierarchical
_MAX_SCANS = 100  # libjpeg decodes all pixels once for each
_MAX_SEGMENTS = 10_000


def read(content: bytes) -> Facts:
    """Facts of a JPEG file; what follows its EOI (previews, padding) is passed over, as all decoders do."""
    facts, scans, at = None, 0, 2
    for _ in range(_MAX_SEGMENTS):
        if fill := _FILL.match(content, at):
            at = fill.end() - 1
        head = content[at : at + 4]
        if len(head) < 2 or (head[1] != 0xD9 and len(head) < 4):
            raise truncated("JPEG")
        marker = head[1]
        if head[0] != 0xFF or marker < 0xC0 or marker == 0xD8:
            raise Broken(f"JPEG has no marker at byte {at}")
        if marker == 0xD9:
            if facts is None or not scans:
                raise Broken("JPEG ends without a picture")
            return facts
        size = head[2] << 8 | head[3]
        if size < 2 or at + 2 + size > len(content):
            raise truncated("JPEG")
        if marker in _FRAMES:
            if facts is not None:
                raise Broken("JPEG has two frames")
            facts = _frame(content[at + 4 : at + 2 + size])
        elif marker in _OTHER_FRAMES:
            raise Broken("JPEG is lossless or hierarchical, which is not supported")
        at += 2 + size
        if marker == 0xDA:
            scans += 1
            if facts is None or scans > _MAX_SCANS:
                raise Broken(
                    "JPEG has a scan before its frame" if facts is None else "JPEG has too many scans"
                )
            found = _MARKER.search(content, at)
            if found is None:
                raise truncated("JPEG")
            at = found.start()
    raise Broken("JPEG has too many segments")


def _frame(data: bytes) -> Facts:
    """Sample precision, height, width, and three bytes for each component."""
    if len(data) < 6 or len(data) != 6 + 3 * data[5]:
        raise Broken("JPEG has a malformed frame header")
    height, width, components = data[1] << 8 | data[2], data[3] << 8 | data[4], data[5]
    if data[0] != 8 or components not in (1, 3, 4):
        raise Broken(f"JPEG has {components} components of {data[0]} bits, which is not supported")
    if not width or not height:
        raise Broken("JPEG has no width or no height")
    return Facts(width, height)
