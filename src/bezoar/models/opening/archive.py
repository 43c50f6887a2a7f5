"""The zip archives that torch writes (state dicts, TorchScript, `.pt2`): records read under limits, and archives rewritten whole.

A record is read only when its name is plain, appears once, and its size is in proportion to the bytes that the file spends on it.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bezoar.errors import InputError, LimitError, quoted
from bezoar.models.opening.limits import require_memory

_MAX_RECORDS = 100_000
_MAX_NAME = 1024
_MAX_RATIO = 50  # JSON and code compress by 5 to 20
_SMALL = 2**20  # bytes for which the ratio does not matter
_ALIGNMENT = 64  # of a record's first byte, as torch has it


class Archive:
    """The records of one archive, by name without the archive's own folder.

    InputError for a damaged or truncated archive, or one whose names are not plain; LimitError for a decompression bomb or for
    more than fits into memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = zipfile.ZipFile(path)
            entries = [entry for entry in self._file.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise InputError(
                f"{path}: is a damaged or truncated archive; download or save it again"
            ) from error
        _check(entries, path)
        roots = {entry.filename.partition("/")[0] for entry in entries}
        self.root = f"{roots.pop()}/" if len(roots) == 1 and all("/" in e.filename for e in entries) else ""
        self._entries = {entry.filename[len(self.root) :]: entry for entry in entries}

    @property
    def names(self) -> list[str]:
        """Of all records, in the order of the file."""
        return list(self._entries)

    def size(self, name: str) -> int:
        """Bytes of a record; InputError when there is none of this name."""
        return self._entry(name).file_size

    def read(self, name: str, limit: int | None = None) -> bytes:
        """A record; InputError when it is missing or damaged, LimitError when it is larger than `limit` bytes."""
        entry = self._entry(name)
        if limit is not None and entry.file_size > limit:
            raise LimitError(
                f"{self.path}: {quoted(name)} is larger than {limit:,} bytes, the most that is read of it"
            )
        try:
            return self._file.read(entry)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"{self.path}: {quoted(name)} is damaged; download or save the file again"
            ) from error

    def rewrite(self, out: BinaryIO, records: Mapping[str, bytes | None]) -> None:
        """The archive again, with these records in place of those of the same name; None leaves one out."""
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
            for name in self._entries:
                content = records[name] if name in records else self.read(name)
                if content is not None:
                    entry = zipfile.ZipInfo(self.root + name)
                    start = out.tell() + 30 + len(entry.filename.encode()) + 4
                    padding = -start % _ALIGNMENT
                    entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
                    file.writestr(entry, content)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._entries[name]
        except KeyError:
            raise InputError(
                f"{self.path}: the archive lacks {quoted(name)}; is the file complete?"
            ) from None


def _check(entries: list[zipfile.ZipInfo], path: Path) -> None:
    if len(entries) > _MAX_RECORDS:
        raise LimitError(
            f"{path}: holds {len(entries):,} records; at most {_MAX_RECORDS:,} are read of an archive"
        )
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        parts = name.split("/")
        if len(name) > _MAX_NAME or "\\" in name or not name.isprintable() or {"", ".", ".."} & set(parts):
            raise InputError(f"{path}: a record has the name {quoted(name)}, which no exporter writes")
        if name in seen:
            raise InputError(
                f"{path}: two records have the name {quoted(name)}; readers would see two models"
            )
        seen.add(name)
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path}: {quoted(name)} is encrypted, or compressed as no exporter does it")
        if entry.file_size > max(_SMALL, entry.compress_size * _MAX_RATIO):
            raise LimitError(
                f"{path}: {quoted(name)} grows from {entry.compress_size:,} to {entry.file_size:,} bytes: "
                "a decompression bomb"
            )
    if sum(entry.compress_size for entry in entries) > path.stat().st_size:
        raise LimitError(f"{path}: its records overlap: a decompression bomb")
    require_memory(sum(entry.file_size for entry in entries), path)
