"""GIF 87a and 89a (https://www.w3.org/Graphics/GIF/spec-gif89a.txt): the blocks up to the trailer, without decoding."""

from __future__ import annotations

from bezoar.acquire.images.facts import MAX_FRAMES, Broken, Facts, truncated

_MAX_BLOCKS = 2_000_000  # of data, at most 255 bytes each, and what opens them
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def read(content: bytes) -> Facts:
    """Facts of a GIF file: the larger of the canvas and of any frame; what follows the trailer is passed over."""
    if len(content) < 13:
        raise truncated("GIF")
    width, height = int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")
    at, frames, budget = 13 + _palette(content[10]), 0, _MAX_BLOCKS
    try:
        while content[at] != _TRAILER:
            if content[at] == _IMAGE:
                left, top, wide, high = (
                    int.from_bytes(content[at + i : at + i + 2], "little") for i in (1, 3, 5, 7)
                )
                width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
                at += 11 + _palette(content[at + 9])  # the descriptor, a palette, the code size
            elif content[at] == _EXTENSION:
                at += 2
            else:
                raise Broken(f"GIF has no block at byte {at}")
            if frames > MAX_FRAMES:
                raise Broken(f"GIF has more than {MAX_FRAMES} frames")
            while size := content[at]:
                at += size + 1
                budget -= 1
                if budget < 0:
                    break
            budget -= 1
            if budget < 0:
                raise Broken("GIF has too many blocks")
            at += 1
    except IndexError:
        raise truncated("GIF") from None
    if not frames or not width or not height:
        raise Broken("GIF ends without a picture")
    return Facts(width, height, frames)


def _palette(flags: int) -> int:
    """Bytes of the colour table that follows."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
