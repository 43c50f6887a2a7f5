"""Reading a zip archive when nobody knows who made it: stored, deflated, bzip2 and Zstandard entries, plain files and folders.

An entry is whole when its data end exactly where both its sizes say, and its CRC-32 is right.
"""

from __future__ import annotations

import bz2
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from bezoar.acquire.archives.entries import Entry
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.archives.names import Names
from bezoar.acquire.archives.streams import MAX_WINDOW
from bezoar.acquire.archives.zip_directory import Slot, data_start, read_slots
from bezoar.errors import InputError, MissingExtraError

_IN, _OUT = 1 << 16, 1 << 18
_STORED, _DEFLATED, _BZIP2, _ZSTD = 0, 8, 12, 93


def zip_entries(file: BinaryIO, where: str, limits: ArchiveLimits) -> Iterator[Entry]:
    """The entries of a zip archive. InputError, with the entry's name, for what is odd; LimitError beyond `limits`."""
    slots, directory = read_slots(file, where, limits)
    names = Names(where)
    total = 0
    packed = 0
    for slot, end in zip(slots, [*(slot.header for slot in slots), directory][1:], strict=True):
        start = data_start(file, slot, end, where)
        if _is_folder(slot, where):
            yield Entry(names.folder(slot.name), None)
            continue
        path = names.file(slot.name)
        limits.check_file(slot.size, where, slot.name)
        total += slot.size
        packed += slot.packed
        limits.check_total(total, packed, where)
        yield Entry(path, _content(file, slot, start, where))


def _is_folder(slot: Slot, where: str) -> bool:
    """InputError for links and special files."""
    kind = stat.S_IFMT(slot.mode)
    folder = slot.name.endswith("/")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > folder:
        what = "a symbolic link" if kind == stat.S_IFLNK else "neither a file nor a folder"
        raise InputError(f"{where}: {slot.name[:200]!r} is {what}; only plain files and folders are unpacked")
    if folder and slot.size:
        raise InputError(
            f"{where}: {slot.name[:200]!r} is a folder that claims to have content; the archive is damaged"
        )
    return folder


def _content(file: BinaryIO, slot: Slot, start: int, where: str) -> Iterator[bytes]:
    file.seek(start)
    left, size, crc = slot.packed, 0, 0
    unpack = _unpacker(slot, where)

    def take() -> bytes:
        nonlocal left
        data = file.read(min(left, _IN))
        left -= len(data)
        return data

    try:
        for piece in unpack(take):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
            if size > slot.size:
                raise InputError(
                    f"{where}: {slot.name[:200]!r} is larger than it says; it is damaged or hostile"
                )
            yield piece
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{where}: the data of {slot.name[:200]!r} are damaged ({error})") from error
    if size != slot.size or crc != slot.crc or left:
        raise InputError(
            f"{where}: {slot.name[:200]!r} is not what its header says (size or CRC-32); it is damaged or hostile"
        )


_Unpack = Callable[[Callable[[], bytes]], Iterator[bytes]]


def _unpacker(slot: Slot, where: str) -> _Unpack:
    if slot.method == _STORED:
        return lambda take: iter(take, b"")
    if slot.method == _DEFLATED:
        return _inflated
    if slot.method == _BZIP2:
        return _bunzipped
    if slot.method == _ZSTD:
        return _unzstd
    raise InputError(
        f"{where}: {slot.name[:200]!r} is compressed by method {slot.method}; stored, deflate, bzip2 and zstd are known here"
    )


def _inflated(take: Callable[[], bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(-15)
    while not stream.eof:
        data = stream.unconsumed_tail or take()
        piece = stream.decompress(data, _OUT)
        if piece:
            yield piece
        elif not data:
            raise EOFError("they end too early")
    if stream.unused_data or stream.unconsumed_tail:
        raise EOFError("there is more behind their end")


def _bunzipped(take: Callable[[], bytes]) -> Iterator[bytes]:
    stream = bz2.BZ2Decompressor()
    while not stream.eof:
        data = take() if stream.needs_input else b""
        if not data and stream.needs_input:
            raise EOFError("they end too early")
        piece = stream.decompress(data, _OUT)
        if piece:
            yield piece
    if stream.unused_data:
        raise EOFError("there is more behind their end")


def _unzstd(take: Callable[[], bytes]) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError("Unpacking Zstandard", "fetch") from error

    class Source:
        @staticmethod
        def read(_: int) -> bytes:
            return take()

    reader: Any = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        cast(Any, Source()), read_size=_IN, read_across_frames=True
    )
    try:
        yield from iter(lambda: reader.read(_OUT), b"")
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
