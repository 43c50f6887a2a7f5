"""Walking a tree and hashing its files, safely: nothing outside the tree is read, and nothing is read that cannot be signed.

Folders are opened component by component without following links, files by descriptor relative to their folder, so that
nobody can put a link in the way between looking and reading. What cannot be part of a signed tree (links, special files,
unreadable files, names that are not UTF-8, names that differ by letter case only, files that change while they are read) is
handed to `refuse` with its path.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
import unicodedata
from array import array
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from bezoar.errors import InputError, LimitError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

WHOLE = "."  # the path of a tree that is a single file, as in OpenSSF Model Signing
Refuse = Callable[[str, str], None]  # full path, why
Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode
SIZE, MTIME, CTIME, INODE = range(4)

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
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


def refuse(path: str, why: str) -> NoReturn:
    """Raise the InputError that names what cannot be signed."""
    raise InputError(f"{path}: {why}")


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
        for folder in _folders(root, ignored, on_refused):
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


def list_tree(root: Path, *, ignored: Collection[str] = (), on_refused: Refuse = refuse) -> list[str]:
    """Relative paths of the files of the tree at `root`, in code-point order; nothing is read."""
    folders = _folders(root, ignored, on_refused)
    return sorted(folder.prefix + name for folder in folders for name in folder.names)


def open_files(
    root: Path, *, ignored: Collection[str] = (), on_refused: Refuse = refuse
) -> Iterator[tuple[str, int]]:
    """The files of the tree at `root`: relative path and a descriptor, which is closed when the next one is asked for."""
    for folder in _folders(root, ignored, on_refused):
        for name in folder.names:
            try:
                handle = os.open(folder.real(name), _FILE, dir_fd=folder.handle)
            except OSError as error:
                on_refused(folder.shown(name), _unreadable(error))
                continue
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    yield folder.prefix + name, handle
                else:
                    on_refused(folder.shown(name), _CHANGED)
            finally:
                os.close(handle)


def changed_since(files: Files, ignored: Collection[str] = ()) -> str | None:
    """The path of a file that is no longer as it was when it was hashed, or is new or gone; None when all are."""
    found = {}
    for folder in _folders(files.root, ignored, refuse):
        for name in folder.names:
            entry = os.stat(folder.real(name), dir_fd=folder.handle, follow_symlinks=False)
            found[folder.prefix + name] = _status(entry)
    for path, status in zip(files.paths, files.status.tolist(), strict=True):
        if found.pop(path, None) != tuple(status):
            return path
    return next(iter(found), None)


@dataclass(frozen=True)
class _Folder:
    """An open folder: its descriptor, the prefix of its files' relative paths, their names."""

    root: Path
    handle: int
    prefix: str
    names: list[str]
    single: str = ""  # the real name of the file, when it is the whole tree

    def real(self, name: str) -> str:
        """The name of a file within the folder."""
        return self.single or name

    def shown(self, name: str) -> str:
        """The full path of a file, for messages."""
        return str(self.root) if self.single else os.path.join(self.root, self.prefix + name)


def _folders(root: Path, ignored: Collection[str], on_refused: Refuse) -> Iterator[_Folder]:
    """The folders of the tree, each open until the next one is asked for."""
    try:
        # The tree itself may be named through links: it is what the caller points at.
        base = os.open(root.resolve(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror}); check the path") from error
    try:
        if not stat.S_ISDIR(os.fstat(base).st_mode):
            yield from _single(root)
            return
        pending = [""]
        while pending:
            prefix = pending.pop()
            try:
                handle = _open_folder(base, prefix)
            except OSError as error:
                on_refused(os.path.join(root, prefix), _unreadable(error))
                continue
            try:
                names, below = _entries(root, handle, prefix, ignored, on_refused)
                pending += [f"{prefix}{name}/" for name in reversed(below)]
                yield _Folder(root, handle, prefix, names)
            finally:
                os.close(handle)
    finally:
        os.close(base)


def _single(root: Path) -> Iterator[_Folder]:
    """The folder of a tree that is one file, under the name WHOLE."""
    real = root.resolve()
    handle = os.open(real.parent, _FOLDER)
    try:
        yield _Folder(root, handle, "", [WHOLE], real.name)
    finally:
        os.close(handle)


def _open_folder(base: int, prefix: str) -> int:
    handle = os.dup(base)
    for part in prefix.split("/")[:-1]:
        try:
            below = os.open(part, _FOLDER, dir_fd=handle)
        finally:
            os.close(handle)
        handle = below
    return handle


def _entries(
    root: Path, handle: int, prefix: str, ignored: Collection[str], on_refused: Refuse
) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder, sorted."""
    names: list[str] = []
    below: list[str] = []
    with os.scandir(handle) as entries:
        for entry in entries:
            name = entry.name
            if ignored and prefix + name in ignored:
                continue
            if entry.is_file(follow_symlinks=False):
                kind = names
            elif entry.is_dir(follow_symlinks=False):
                kind = below
            else:
                on_refused(os.path.join(root, prefix + name), _odd(entry))
                continue
            if not name.isascii() and not _is_utf8(name):
                where = os.path.join(root, prefix + name).encode("utf-8", "backslashreplace").decode()
                on_refused(where, "the name is not valid UTF-8; rename it")
                continue
            kind.append(name)
    names.sort()
    below.sort()
    _check_case(root, prefix, [*names, *below], on_refused)
    return names, below


def _odd(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "is a symbolic link; put the file itself in its place"
    return "is neither a file nor a folder; remove it"


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_case(root: Path, prefix: str, names: list[str], on_refused: Refuse) -> None:
    """Two names that a Mac or Windows machine takes for one cannot both be signed."""
    folded = [_folded(name) for name in names]
    if len(set(folded)) == len(names):
        return
    first: dict[str, str] = {}
    for name, fold in zip(names, folded, strict=True):
        other = first.setdefault(fold, name)
        if other != name:
            why = f"differs from {other!r} by letter case only, which other systems do not keep apart; rename one"
            on_refused(os.path.join(root, prefix + name), why)


def _folded(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


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

    def folder(self, folder: _Folder) -> None:
        """Hash the files of a folder."""
        for name in folder.names:
            if self._wanted is not None and not self._wanted(folder.real(folder.prefix + name)):
                continue
            try:
                self._file(folder, name)
            except OSError as error:
                self._on_refused(folder.shown(name), _unreadable(error))
            except _ChangedError:
                self._on_refused(folder.shown(name), _CHANGED)

    def finish(self) -> None:
        """Wait for the threads."""
        for place, shown, future in self._pending:
            try:
                self.digests[32 * place : 32 * place + 32] = future.result()
            except OSError as error:
                self.lost.append(place)
                self._on_refused(shown, _unreadable(error))
            except _ChangedError:
                self.lost.append(place)
                self._on_refused(shown, _CHANGED)
        self._pending.clear()

    def _file(self, folder: _Folder, name: str) -> None:
        path, real = folder.prefix + name, folder.real(name)
        if self._known is not None:
            status = _status(os.stat(real, dir_fd=folder.handle, follow_symlinks=False))
            digest = self._known.digest(path, status)
            if digest is not None:
                self._add(path, status, digest)
                return
        handle = os.open(real, _FILE, dir_fd=folder.handle)
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


_CHANGED = "changes while it is read; wait until nobody writes to it"


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


def _unreadable(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR):
        return _CHANGED
    return f"cannot be read ({error.strerror or error}); check its permissions"
