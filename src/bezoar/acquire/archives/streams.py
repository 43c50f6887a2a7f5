"""Decompression as a forward-only stream with caps: gzip (RFC 1952), bzip2, xz, Zstandard (RFC 8878), or none.

Several streams one after the other are one, as the tools take them; anything else behind the last one is refused. A window
that would take more than 128 MiB of memory is refused too.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol, cast

from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.archives.zstd_frames import Frames
from bezoar.errors import InputError, MissingExtraError

MAX_WINDOW = 1 << 27  # bytes: `xz -9` takes 65 MiB, `zstd --ultra --long=27` 128
_IN, _OUT = 1 << 16, 1 << 18

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # an empty one
}


def kind_of(head: bytes) -> str | None:
    """`gzip`, `bzip2`, `xz`, `zstd`, `zip` or `tar` by the first 1,024 bytes; None for anything else."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if 0x184D2A50 <= int.from_bytes(head[:4], "little") <= 0x184D2A5F:  # a skippable frame first
        return "zstd"
    empty = head == bytes(1024)  # the end mark, and nothing in front of it
    return "tar" if head[257:262] == b"ustar" or empty or _is_old_tar(head) else None


class Unpacked:
    """The decompressed bytes of a file: `read` from front to back, nothing else."""

    def __init__(self, file: BinaryIO, kind: str, limits: ArchiveLimits, where: str) -> None:
        self.taken = 0  # compressed bytes
        self.out = 0  # decompressed ones
        self._file, self._limits, self._where = file, limits, where
        self._next = _pieces(self._take, kind, where) if kind != "tar" else lambda: self._take(_OUT)
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end; InputError when the data are damaged, LimitError beyond the caps."""
        if size <= len(self._piece):
            found, self._piece = bytes(self._piece[:size]), self._piece[size:]
            return found
        parts, left = [], size
        while left:
            if not self._piece:
                self._piece = memoryview(self._next())
                if not self._piece:
                    break
                self.out += len(self._piece)
                self._limits.check_total(self.out, self.taken, self._where)
            part = self._piece[:left]
            parts.append(part)
            self._piece = self._piece[len(part) :]
            left -= len(part)
        return b"".join(parts)

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        self.taken += len(data)
        return data


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def _pieces(take: Callable[[int], bytes], kind: str, where: str) -> Callable[[], bytes]:
    """Calls that give the next decompressed bytes, b"" at the end."""
    if kind == "zstd":
        return _zstd(take, where)
    new = _new(kind)
    state: list[Any] = [new(), b""]  # the decompressor, and input that it has not seen

    def piece() -> bytes:
        while True:
            stream: _Decompressor = state[0]
            if stream.eof:
                rest = (stream.unused_data or take(_IN)).lstrip(b"\0")  # padding, as on a tape
                while not rest:
                    more = take(_IN)
                    if not more:
                        return b""
                    rest = more.lstrip(b"\0")
                state[:] = [new(), rest]
                continue
            data = state[1]
            state[1] = b""
            if not data and stream.needs_input:
                data = take(_IN)
                if not data:
                    raise InputError(f"{where}: is truncated; the {kind} data end too early")
            try:
                found = stream.decompress(data, _OUT)
            except (OSError, lzma.LZMAError, zlib.error, EOFError, ValueError) as error:
                raise InputError(f"{where}: the {kind} data are damaged ({error})") from error
            if found:
                return found

    return piece


def _new(kind: str) -> Callable[[], _Decompressor]:
    if kind == "gzip":
        return _Gzip
    if kind == "bzip2":
        return bz2.BZ2Decompressor
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW)


class _Gzip:
    """zlib with the face of bz2 and lzma. Its CRC and length are checked by zlib itself."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _zstd(take: Callable[[int], bytes], where: str) -> Callable[[], bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError("Unpacking Zstandard", "fetch") from error

    frames = Frames(where)

    class Source:
        @staticmethod
        def read(size: int) -> bytes:
            data = take(size)
            frames.feed(data)
            return data

    reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        cast(Any, Source()), read_size=_IN, read_across_frames=True
    )

    def piece() -> bytes:
        try:
            found: bytes = reader.read(_OUT)
        except zstandard.ZstdError as error:
            raise InputError(f"{where}: the zstd data are damaged ({error})") from error
        if not found and not frames.whole:
            raise InputError(f"{where}: is truncated; the zstd data end too early")
        return found

    return piece


def _is_old_tar(head: bytes) -> bool:
    """A header from before POSIX, which has only its checksum to be known by."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        stated = int(head[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return stated == sum(head[:148]) + 8 * 32 + sum(head[156:512])
