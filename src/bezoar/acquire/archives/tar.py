"""Reading a tar archive, compressed or not, in one pass, when nobody knows who made it.

POSIX.1-2001 (pax), ustar and GNU headers, through the standard library's parser, which sees the data through `_Window`: it may
not read more than a megabyte between two entries, so that no header claims the memory. Only plain files and folders pass.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from bezoar.acquire.archives.entries import Entry
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.archives.names import Names
from bezoar.acquire.archives.streams import Unpacked
from bezoar.errors import InputError, LimitError

_BLOCK = 512
_MAX_HEADER = 1 << 20
_PIECE = 1 << 20
_REDIRECTING = {"path", "linkpath", "size"}
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


def tar_entries(file: BinaryIO, kind: str, where: str, limits: ArchiveLimits) -> Iterator[Entry]:
    """The entries of a tar archive that begins where `file` is; `kind` as `streams.kind_of` gives it.

    InputError, with the entry's name, for links, devices, pipes, sparse files, unsafe or doubled names, damage, truncation
    and data behind the end mark; LimitError beyond `limits`.
    """
    names = Names(where)
    window = _Window(Unpacked(file, kind, limits, where), where)
    try:
        archive = tarfile.open(  # noqa: SIM115 - closing it would read on
            fileobj=cast(Any, window), mode="r:", encoding="utf-8", errors="surrogateescape", errorlevel=2
        )
        number = 0
        while (info := archive.next()) is not None:
            cast(Any, archive).members = []  # the parser would keep them all
            number += 1
            limits.check_entries(number, where)
            yield _entry(info, archive, window, names, limits)
            window.finish_entry()
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError) as error:
        if window.sparse:  # the parser reads the map of a sparse file before it hands out the entry
            raise InputError(
                f"{where}: holds a sparse file; only plain files and folders are unpacked"
            ) from error
        why = "headers are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(
            f"{where}: is not a readable tar archive, it is truncated or damaged ({why[:160]})"
        ) from error
    window.finish()


def _entry(
    info: tarfile.TarInfo, archive: tarfile.TarFile, window: _Window, names: Names, limits: ArchiveLimits
) -> Entry:
    where, shown = window.where, repr(info.name[:200])
    if _REDIRECTING & set(archive.pax_headers):
        raise InputError(f"{where}: has a global header that renames its entries; nothing of it is used")
    if info.issparse() or not (info.isreg() or info.isdir()):
        kind = "a sparse file" if info.issparse() else _KINDS.get(info.type, "of an unknown kind")
        raise InputError(f"{where}: {shown} is {kind}; only plain files and folders are unpacked")
    if info.isdir():
        if info.size:
            raise InputError(
                f"{where}: {shown} is a folder that claims to have content; the archive is damaged"
            )
        return Entry(names.folder(info.name), None)
    if info.size < 0:
        raise InputError(f"{where}: {shown} has a negative size; the archive is damaged")
    path = names.file(info.name)
    limits.check_file(info.size, where, info.name)
    return Entry(path, window.content(info.size, info.name))


class _Window:
    """The unpacked bytes as the parser sees them: a file that only goes forward, and shows no more than headers."""

    def __init__(self, stream: Unpacked, where: str) -> None:
        self.where = where
        self._stream = stream
        self._place = 0
        self._headers = 0  # bytes read since the last entry
        self.sparse = False  # whether they speak of a sparse file
        self._last = b""
        self._left = 0  # of the current entry's content

    def read(self, size: int) -> bytes:
        """For the parser."""
        self._headers += size
        if size < 0 or self._headers > _MAX_HEADER:
            raise LimitError(
                f"{self.where}: the headers of one entry are larger than {_MAX_HEADER:,} bytes; it is damaged or hostile"
            )
        self._last = self._read(size)
        self.sparse = self.sparse or b"GNU.sparse." in self._last
        return self._last

    def tell(self) -> int:
        """For the parser."""
        return self._place

    def seek(self, place: int) -> int:
        """For the parser, over padding."""
        if place < self._place:
            raise InputError(
                f"{self.where}: an entry points back into what was read; it is damaged or hostile"
            )
        while self._place < place:
            if not self._read(min(place - self._place, _PIECE)):
                raise InputError(f"{self.where}: is truncated at byte {self._place:,}")
        return place

    def content(self, size: int, name: str) -> Iterator[bytes]:
        """The content of the entry whose header was read last."""
        self._left = size
        while self._left:
            piece = self._read(min(self._left, _PIECE))
            if not piece:
                raise InputError(f"{self.where}: is truncated in {name[:200]!r}")
            self._left -= len(piece)
            yield piece

    def finish_entry(self) -> None:
        """Whoever asks for the next entry has read this one."""
        self._headers, self.sparse = 0, False

    def finish(self) -> None:
        """After the last entry: the end mark, and nothing but zeros behind it."""
        if self._last != bytes(_BLOCK):
            raise InputError(
                f"{self.where}: has no end mark; it is truncated or damaged at byte {self._place:,}"
            )
        while block := self._read(_PIECE):
            if block.count(0) != len(block):
                raise InputError(f"{self.where}: has data behind the end mark, which other programs may read")

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._place += len(data)
        return data
