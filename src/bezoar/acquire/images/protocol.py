"""What a `Workshop` and its processes say to each other, and how long a process lives.

A request is a length of 8 bytes and the image. An answer is `K`, five big-endian 32-bit numbers (width, height, width and
height as received, length) and the image, or `P`, a 32-bit length and one line of UTF-8. Before its first request, a process
says `R`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

READY, KEPT, PROBLEM = b"R", b"K", b"P"
REQUEST = struct.Struct(">Q")
SIZES = struct.Struct(">5I")
LENGTH = struct.Struct(">I")
LIFE_S = 600  # a process is replaced by then, and what a hostile image may have left in it goes with it


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture as it is to be kept, its size, and the size that it came with."""

    content: bytes
    width: int
    height: int
    original_width: int
    original_height: int
