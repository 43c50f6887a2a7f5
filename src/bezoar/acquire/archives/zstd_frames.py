"""Whether Zstandard data end where a frame does (RFC 8878, 3.1): the decompressor hands out all bytes before it misses an end.

Only headers are read, on their way to the decompressor; what is malformed in them is left for that to complain about.
"""

from __future__ import annotations

from collections.abc import Callable

from bezoar.errors import InputError

_MAGIC, _SKIPPABLE = 0xFD2FB528, 0x184D2A5  # of the latter the last four bits are anybody's
_DICTIONARY, _SIZE = (0, 1, 2, 4), (0, 2, 4, 8)  # bytes that these fields have, by their flags
_CHECKSUM = 4  # bytes, where there is one
_REPEATED, _RESERVED = 1, 3  # kinds of blocks
_FREE_BLOCKS, _LEAST_BLOCK = 1_000_000, 16  # blocks; bytes for each that is beyond them


class Frames:
    """The frames of a stream that is fed to it piece by piece."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._head, self._skip, self._end = b"", 0, 0
        self._wanted: int
        self._next: Callable[[bytes], None]
        self._expect(4, self._magic)
        self._bytes = self._blocks = 0

    @property
    def whole(self) -> bool:
        """Whether the last frame is complete."""
        return self._next == self._magic and not self._head and not self._skip

    def feed(self, data: bytes) -> None:
        """The next piece. InputError for so many tiny blocks that walking over them would take longer than unpacking them."""
        at = 0
        self._bytes += len(data)
        while at < len(data):
            room = len(data) - at
            if self._skip:
                step = min(self._skip, room)
                self._skip -= step
            else:
                step = min(self._wanted - len(self._head), room)
                self._head += data[at : at + step]
                if len(self._head) == self._wanted:
                    head, self._head = self._head, b""
                    self._next(head)
            at += step

    def _expect(self, size: int, reader: Callable[[bytes], None]) -> None:
        self._wanted, self._next = size, reader

    def _magic(self, head: bytes) -> None:
        magic = int.from_bytes(head, "little")
        if magic == _MAGIC:
            self._expect(1, self._descriptor)
        elif magic >> 4 == _SKIPPABLE:
            self._expect(4, self._skippable)
        else:
            self._expect(1, self._lost)

    def _skippable(self, head: bytes) -> None:
        self._skip = int.from_bytes(head, "little")
        self._expect(4, self._magic)

    def _descriptor(self, head: bytes) -> None:
        flags = head[0]
        single = flags >> 5 & 1  # a frame of a single segment has no window, but its size in a byte at least
        self._skip = (1 - single) + _DICTIONARY[flags & 3] + (_SIZE[flags >> 6] or single)
        self._end = _CHECKSUM if flags & 4 else 0
        self._expect(3, self._block)

    def _block(self, head: bytes) -> None:
        self._blocks += 1
        if self._blocks > _FREE_BLOCKS + self._bytes // _LEAST_BLOCK:
            raise InputError(
                f"{self._where}: the zstd data have too many tiny blocks; it is damaged or hostile"
            )
        value = int.from_bytes(head, "little")
        kind = value >> 1 & 3
        self._skip = 1 if kind == _REPEATED else value >> 3
        if kind == _RESERVED:
            self._expect(1, self._lost)
        elif value & 1:  # the last one
            self._skip += self._end
            self._expect(4, self._magic)

    def _lost(self, _: bytes) -> None:
        """No frame any more."""
        self._skip = 1 << 62
