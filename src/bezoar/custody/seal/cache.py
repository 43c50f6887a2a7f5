"""What was hashed before: digests of files and records that need not be read again when a dataset is sealed anew.

A file is taken as unchanged when its size, times of modification and of change (ns) and inode are what they were. Files
that had been touched within seconds of being hashed are not remembered: a later write within the same tick of the clock
would not show. The cache lies in the user's cache folder and is as trustworthy as that; `bezoar seal --full` does without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bezoar import __version__
from bezoar.custody.seal.further import is_digest
from bezoar.custody.seal.hashing import CTIME, MTIME, Files, Stat
from bezoar.custody.seal.manifest import digests
from bezoar.custody.seal.records import Contents, Layout, Records, is_by_file

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.data import Dataset

RACY_NS = 3 * 10**9
MAX_BYTES = 4 << 30
_VERSION = 2  # of what is remembered of records
_FURTHER = "further."  # prefix of the columns with digests of what is further
_DIGEST = 32
_CHUNK = 65_536  # rows
_STATUS = ("size", "mtime", "ctime", "inode")  # as in `hashing.Stat`


class Cache:
    """The remembered digests of one dataset, read as `layout` says."""

    def __init__(self, folder: Path, layout: Layout, *, trusted: bool) -> None:
        self._folder, self._layout, self._trusted = folder, layout, trusted
        self._started = time.time_ns()
        table = _load(folder / "files", None) if trusted else None
        self._places: dict[str, int] = {}
        if table is not None:
            self._places = {path: place for place, path in enumerate(table["path"].to_pylist())}
            self._status = list(zip(*(table[name].to_pylist() for name in _STATUS), strict=True))
            self._sha256 = table["sha256"].to_pylist()

    @classmethod
    def open(cls, dataset: Path, layout: Layout, *, trusted: bool = True) -> Cache:
        """The cache of the dataset at this path; empty when nothing is remembered, or when it is not to be `trusted`."""
        name = hashlib.sha256(os.fsencode(dataset.resolve())).hexdigest()[:32]
        return cls(_cache_folder() / "seal" / name, layout, trusted=trusted)

    def digest(self, path: str, status: Stat) -> bytes | None:
        """The digest of a file that has not changed since, else None (`hashing.Known`)."""
        place = self._places.get(path)
        if place is None or self._status[place] != status:
            return None
        digest: bytes = self._sha256[place]
        return digest

    def contents(self, files: Files, dataset: Dataset) -> Contents | None:
        """The digests of a dataset's records when no file is another than then, else None (`records.KnownContents`)."""
        import numpy as np
        import pyarrow.compute as pc

        table = _load(self._folder / "records", self._fingerprint(files)) if self._trusted else None
        if table is None or table.num_rows != len(dataset):
            return None
        order = pc.sort_indices(dataset.keys)  # what is remembered is sorted by key
        back = np.empty(len(dataset), np.int64)
        back[order.to_numpy()] = np.arange(len(dataset))
        sha256 = np.frombuffer(b"".join(table["sha256"].to_pylist()), np.uint8).reshape(-1, 32)
        media_types = table["media_type"].combine_chunks().dictionary_encode().take(back)
        further = {
            name.removeprefix(_FURTHER): table[name].combine_chunks().take(back)
            for name in table.column_names
            if name.startswith(_FURTHER)
        }
        return Contents(sha256[back], table["size"].to_numpy()[back], media_types, further)

    def save(self, files: Files, records: Records) -> None:
        """Remember these digests. A cache that cannot be written is no error: the next seal reads everything."""
        import pyarrow as pa

        settled = files.status[:, [MTIME, CTIME]].max(axis=1) < self._started - RACY_NS
        columns = {name: pa.array(files.status[:, i]) for i, name in enumerate(_STATUS)}
        table = pa.table({"path": files.names, "sha256": digests(files.sha256), **columns})
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            _store(self._folder / "files", table if settled.all() else table.filter(pa.array(settled)), "")
            if settled.all() and not is_by_file(records):
                contents = {
                    "sha256": digests(records.sha256),
                    "size": records.sizes,
                    "media_type": records.media_types.cast(pa.string()),
                    **{_FURTHER + n: c.cast(pa.string()) for n, c in records.sources.items() if is_digest(n)},
                }
                table = pa.table(contents)
                _store(self._folder / "records", table, self._fingerprint(files))

    def _fingerprint(self, files: Files) -> str:
        """Names the exact files, and how their records are found."""
        total = hashlib.sha256(json.dumps([__version__, _VERSION, self._layout.description("")]).encode())
        for path, digest in files.digest_of_each():
            total.update(f"\0{path}\0".encode() + digest)
        return total.hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bezoar")


def _load(path: Path, fingerprint: str | None) -> pa.Table | None:
    """A table that `_store` wrote, with this fingerprint (None: with any); None for everything else that may lie there."""
    import pyarrow as pa

    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size - _DIGEST
            if not 0 < size <= MAX_BYTES:
                return None
            data = file.read(size)
            if hashlib.sha256(data).digest() != file.read(_DIGEST):
                return None
        table = pa.ipc.open_stream(data).read_all()
        table.validate(full=True)
    except (OSError, pa.ArrowException):
        return None
    found = (table.schema.metadata or {}).get(b"fingerprint", b"").decode("utf-8", "replace")
    return table if fingerprint in (None, found) else None


def _store(path: Path, table: pa.Table, fingerprint: str) -> None:
    """Put a table at `path` in one step, with its SHA-256 behind. Not fsynced: what a crash garbles is not loaded."""
    import pyarrow as pa

    schema = table.schema.with_metadata({"fingerprint": fingerprint})
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            sink = _HashingFile(file)
            with pa.ipc.new_stream(pa.PythonFile(sink, "w"), schema) as stream:
                stream.write_table(table.cast(schema), max_chunksize=_CHUNK)
            file.write(sink.total.digest())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class _HashingFile:
    """Passes on what is written, and hashes it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.total = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        """Write all of it."""
        self.total.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Nothing to do: the file flushes when it is closed."""
