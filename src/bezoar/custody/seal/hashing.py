"""Hashing the files of a tree, each as it is at one moment: a file that changes while it is read is refused.

Small files are read with one call; large ones are hashed in threads. What is found is kept in flat arrays, so that hundreds
of thousands of files take tens of megabytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from array import array
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bezoar.custody.seal.walk import CHANGED, FILE, WHOLE, Folder, Refuse, open_folders, refuse, unreadable
from bezoar.errors import LimitError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
SIZE, MTIME, CTIME, INODE = range(4)

_BLOCK = 1 << 20
_LARGE = 1 << 18  # bytes; beyond, a thread is worth its while
_SOME = 4096  # texts made at a time
_MAX_NAMES = 2**31 - 1  # bytes
_PENDING = 32  # large files open at a time
_SETTLED_NS = 50_000_000  # a file's times come from a clock of its own, which may be some ticks behind


class Known(Protocol):
    """Digests from an earlier time."""

    def digest(self, path: str, status: Stat) -> bytes | None:
        """The SHA-256 of the file at `path` if it surely has not changed since."""
        ...


@dataclass(frozen=True)
class Files:
    """The N files of a tree: relative `names` (Arrow) in code-point order, `sha256` uint8 (N, 32), `status` int64 (N, 4)."""

    root: Path
    names: pa.StringArray
    sha256: NDArray[np.uint8]
    status: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def single(self) -> bool:
        """Whether the tree is a single file."""
        return len(self) == 1 and self.names[0].as_py() == WHOLE

    @property
    def paths(self) -> list[str]:
        """The relative paths."""
        return self.names.to_pylist()  # type: ignore[no-any-return]

    def digest_of_each(self) -> Iterator[tuple[str, bytes]]:
        """Each path with its digest, in order; a Python text is made for some at a time only."""
        digests = self.digests()
        for start in range(0, len(self), _SOME):
            yield from zip(self.names.slice(start, _SOME).to_pylist(), digests, strict=False)

    def digests(self) -> Iterator[bytes]:
        """The digests in order."""
        raw = self.sha256.tobytes()
        return (raw[start : start + 32] for start in range(0, len(raw), 32))


def hash_tree(
    root: Path,
    *,
    ignored: Collection[str] = (),
    wanted: Callable[[str], bool] | None = None,
    known: Known | None = None,
    on_refused: Refuse = refuse,
) -> Files:
    """Walk the tree (or single file) at `root` and hash its files.

    `ignored` are relative paths that are left out with all below them, `wanted` chooses among the others; `known` gives the
    digests of files that need not be read. A file that `on_refused` lets pass is left out.
    """
    hasher = _Hasher(wanted, known, on_refused)
    with hasher.pool:
        for folder in open_folders(root, ignored, on_refused):
            hasher.folder(folder)
        # here, because the threads are hashing large files meanwhile
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        hasher.finish()
    offsets = pa.py_buffer(hasher.offsets)
    names = pa.StringArray.from_buffers(len(hasher), offsets, pa.py_buffer(hasher.names))
    order = pc.sort_indices(names)  # bytes of UTF-8 sort as code points do
    rows = order.to_numpy()
    if hasher.lost:
        rows = rows[~np.isin(rows, hasher.lost)]
    sha256 = np.frombuffer(hasher.digests, np.uint8).reshape(-1, 32)
    status = np.frombuffer(hasher.status, np.int64).reshape(-1, 4)
    return Files(root, names.take(pa.array(rows)), sha256[rows], status[rows])


def changed_since(files: Files, ignored: Collection[str] = ()) -> str | None:
    """The path of a file that is no longer as it was when it was hashed, or is new or gone; None when all are."""
    found = {}
    for folder in open_folders(files.root, ignored, refuse):
        for name in folder.names:
            entry = os.stat(folder.real(name), dir_fd=folder.handle, follow_symlinks=False)
            found[folder.prefix + name] = _status(entry)
    for path, status in zip(files.paths, files.status.tolist(), strict=True):
        if found.pop(path, None) != tuple(status):
            return path
    return next(iter(found), None)


class _Hasher:
    """Hashes files one after the other, large ones in threads, and keeps what was found in flat arrays."""

    def __init__(self, wanted: Callable[[str], bool] | None, known: Known | None, on_refused: Refuse) -> None:
        self.names = (
            bytearray()
        )  # the paths in UTF-8, one after the other: texts would take four times the memory
        self.offsets = array("i", [0])
        self.digests = bytearray()
        self.status = array("q")
        self.lost: list[int] = []  # places of files that turned out to be unreadable
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1)  # starts threads only when it gets work
        self._wanted, self._known, self._on_refused = wanted, known, on_refused
        self._pending: list[tuple[int, str, Future[bytes]]] = []
        self._block = bytearray(_LARGE)
        self._settled = time.time_ns() - _SETTLED_NS

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def folder(self, folder: Folder) -> None:
        """Hash the files of a folder."""
        for name in folder.names:
            if self._wanted is not None and not self._wanted(folder.real(folder.prefix + name)):
                continue
            try:
                self._file(folder, name)
            except OSError as error:
                self._on_refused(folder.shown(name), unreadable(error))
            except _ChangedError:
                self._on_refused(folder.shown(name), CHANGED)

    def finish(self) -> None:
        """Wait for the threads."""
        for place, shown, future in self._pending:
            try:
                self.digests[32 * place : 32 * place + 32] = future.result()
            except OSError as error:
                self.lost.append(place)
                self._on_refused(shown, unreadable(error))
            except _ChangedError:
                self.lost.append(place)
                self._on_refused(shown, CHANGED)
        self._pending.clear()

    def _file(self, folder: Folder, name: str) -> None:
        path, real = folder.prefix + name, folder.real(name)
        if self._known is not None:
            status = _status(os.stat(real, dir_fd=folder.handle, follow_symlinks=False))
            digest = self._known.digest(path, status)
            if digest is not None:
                self._add(path, status, digest)
                return
        handle = os.open(real, FILE, dir_fd=folder.handle)
        try:
            # Most files fit into one block: one read is one moment. A file that was touched after the walk began, or that
            # does not fit, is read with a look at its status before and after.
            count = os.readv(handle, [self._block])
            entry = os.fstat(handle)
            status = _status(entry)
            if not stat.S_ISREG(entry.st_mode):
                raise _ChangedError
            if count == status[SIZE] < _LARGE and status[CTIME] < self._settled:
                self._add(path, status, hashlib.sha256(memoryview(self._block)[:count]).digest())
                return
            os.lseek(handle, 0, os.SEEK_SET)
            self._later(path, folder.shown(name), status, os.dup(handle))
        finally:
            os.close(handle)

    def _add(self, path: str, status: Stat, digest: bytes) -> None:
        self.names += path.encode()
        if len(self.names) > _MAX_NAMES:
            raise LimitError(
                f"{path}: one file too many: the names alone exceed {_MAX_NAMES:,} bytes; pack the files in shards"
            )
        self.offsets.append(len(self.names))
        self.status.extend(status)
        self.digests += digest

    def _later(self, path: str, shown: str, status: Stat, handle: int) -> None:
        if len(self._pending) >= _PENDING:
            self.finish()
        self._pending.append((len(self), shown, self.pool.submit(_hash_large, handle, status)))
        self._add(path, status, bytes(32))


class _ChangedError(Exception):
    """A file is not what it was a moment ago."""


def _hash_large(handle: int, status: Stat) -> bytes:
    total, left = hashlib.sha256(), status[SIZE]
    block = memoryview(bytearray(min(_BLOCK, left)))
    with open(handle, "rb", buffering=0) as file:
        while count := file.readinto(block):
            total.update(block[:count])
            left -= count
        if left or _status(os.fstat(handle)) != status:
            raise _ChangedError
    return total.digest()


def _status(entry: os.stat_result) -> Stat:
    return entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns, entry.st_ino & (2**63 - 1)
