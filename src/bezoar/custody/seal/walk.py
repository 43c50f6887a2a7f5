"""Walking a tree safely: nothing outside the tree is read, and nothing is read that cannot be signed.

Folders are opened component by component without following links, files by descriptor relative to their folder, so that
nobody can put a link in the way between looking and reading. What cannot be part of a signed tree (links, special files,
unreadable files, names that are not UTF-8, names that differ by letter case only, files that change while they are read) is
handed to `refuse` with its path.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bezoar.errors import InputError

WHOLE = "."  # the path of a tree that is a single file, as in OpenSSF Model Signing
Refuse = Callable[[str, str], None]  # full path, why

FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
CHANGED = "changes while it is read; wait until nobody writes to it"


def refuse(path: str, why: str) -> NoReturn:
    """Raise the InputError that names what cannot be signed."""
    raise InputError(f"{path}: {why}")


def list_tree(root: Path, *, ignored: Collection[str] = (), on_refused: Refuse = refuse) -> list[str]:
    """Relative paths of the files of the tree at `root`, in code-point order; nothing is read."""
    folders = open_folders(root, ignored, on_refused)
    return sorted(folder.prefix + name for folder in folders for name in folder.names)


def open_files(
    root: Path, *, ignored: Collection[str] = (), on_refused: Refuse = refuse
) -> Iterator[tuple[str, int]]:
    """The files of the tree at `root`: relative path and a descriptor, which is closed when the next one is asked for."""
    for folder in open_folders(root, ignored, on_refused):
        for name in folder.names:
            try:
                handle = os.open(folder.real(name), FILE, dir_fd=folder.handle)
            except OSError as error:
                on_refused(folder.shown(name), unreadable(error))
                continue
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    yield folder.prefix + name, handle
                else:
                    on_refused(folder.shown(name), CHANGED)
            finally:
                os.close(handle)


@dataclass(frozen=True)
class Folder:
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


def open_folders(root: Path, ignored: Collection[str], on_refused: Refuse) -> Iterator[Folder]:
    """The folders of the tree at `root`, each open until the next one is asked for."""
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
                on_refused(os.path.join(root, prefix), unreadable(error))
                continue
            try:
                names, below = _entries(root, handle, prefix, ignored, on_refused)
                pending += [f"{prefix}{name}/" for name in reversed(below)]
                yield Folder(root, handle, prefix, names)
            finally:
                os.close(handle)
    finally:
        os.close(base)


def _single(root: Path) -> Iterator[Folder]:
    """The folder of a tree that is one file, under the name WHOLE."""
    real = root.resolve()
    handle = os.open(real.parent, _FOLDER)
    try:
        yield Folder(root, handle, "", [WHOLE], real.name)
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


def unreadable(error: OSError) -> str:
    """Why a file cannot be signed that the system does not give."""
    if error.errno in (errno.ELOOP, errno.ENOENT, errno.ENOTDIR):
        return CHANGED
    return f"cannot be read ({error.strerror or error}); check its permissions"
