"""Decompressed bytes and capped lines of a text file, in bounded memory however well it was compressed.

gzip (RFC 1952), bzip2, xz and Zstandard (RFC 8878), by the last suffix. What is capped is one line, and what a decompressor
may hold; the whole may be of any size.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from bezoar.errors import InputError, LimitError, MissingExtraError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
MAX_LINE = 2**20  # bytes
_MEMORY = 256 * 2**20  # of a decompressor
_BOM = b"\xef\xbb\xbf"
_BLOCK = 2**18
_PIECE = 2**8  # compressed bytes at a time; what they expand to is held: 8 MiB in the worst case (Zstandard)


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """A buffered stream of the decompressed bytes; failures to read or to decompress, also within the block, are InputErrors."""
    try:
        with file.open("rb") as raw:
            yield io.BufferedReader(_decompressed(file, raw), _BLOCK)
    except (EOFError, lzma.LZMAError, zlib.error, OSError) as error:
        raise InputError(
            f"{file}: cannot be read, it is truncated or corrupt ({_one_line(error)})"
        ) from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # of a library that may not be there
            raise
        raise InputError(
            f"{file}: cannot be read, it is truncated or corrupt ({_one_line(error)})"
        ) from error


def lines(stream: BinaryIO, file: Path) -> Iterator[bytes]:
    """Lines with their ends, without a byte order mark; LimitError for one above `MAX_LINE`."""
    for number, line in enumerate(capped_lines(stream), 1):
        if not line:
            raise LimitError(f"{file}, line {number}: is longer than {MAX_LINE:,} bytes")
        yield line


def capped_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends, without a byte order mark; b"" in the place of one above `MAX_LINE`, which is passed over."""
    line = stream.readline(MAX_LINE + 1).removeprefix(_BOM)
    while line:
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE)
            line = b""
        yield line
        line = stream.readline(MAX_LINE + 1)


def _decompressed(file: Path, raw: BinaryIO) -> io.RawIOBase:
    if file.name.endswith(".gz"):
        return cast(io.RawIOBase, gzip.GzipFile(fileobj=raw))
    if file.name.endswith(".bz2"):
        return cast(io.RawIOBase, bz2.BZ2File(raw))
    if file.name.endswith(".xz"):
        return _Frames(raw, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY))
    if file.name.endswith(".zst"):
        return _Frames(raw, _zstandard)
    return cast(io.RawIOBase, raw)


class _Decoder(Protocol):
    """What the decompressors of the standard library and of `zstandard` share: one frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Frames(io.RawIOBase):
    """Frames one after another; the usual readers limit no memory (xz) or take half a frame for a whole one (Zstandard)."""

    def __init__(self, raw: BinaryIO, new: Callable[[], _Decoder]) -> None:
        self._raw, self._new, self._decoder = raw, new, new()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._raw.read(_PIECE)
            if self._decoder.eof:
                data = (self._decoder.unused_data + data).lstrip(b"\0")  # xz may be padded
                if not data:
                    return 0
                self._decoder = self._new()
            elif not data:
                raise EOFError("its end is missing")
            self._ready = memoryview(self._decoder.decompress(data))
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _zstandard() -> _Decoder:
    try:
        import zstandard
    except ImportError:
        raise MissingExtraError("reading .zst", "fetch") from None
    decoder: _Decoder = zstandard.ZstdDecompressor(max_window_size=_MEMORY // 2).decompressobj()
    return decoder


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
