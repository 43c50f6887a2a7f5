"""Replacing a folder by another in one step, so that whoever looks sees the old one or the new one, complete.

The new folder is built beside its place, its files are fsynced, and then the two exchange names (`renameat2` with
RENAME_EXCHANGE on Linux, `renamex_np` with RENAME_SWAP on macOS): a crash leaves one of the two under the name, never none.
Where a file system cannot exchange, the old folder first steps aside as `.<name>.previous`; `current` finds it there if a
crash comes between. What a crash leaves of a folder under construction is removed by the next writer; a writer holds a lock
on its own, so that it is not taken for such a remnant.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from bezoar.errors import OutputError
from bezoar.files import sync_folder

_AT_FDCWD = -100
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_PARTIAL = ".partial"


def current(path: Path) -> Path:
    """Where the folder lies: at `path`, or aside after a crash in the middle of a replacement that took two steps."""
    aside = _aside(path)
    return aside if not path.exists() and aside.is_dir() else path


@contextmanager
def replaced_folder(path: Path, synced: Collection[str] = ()) -> Iterator[Path]:
    """A folder to fill; it takes the place of what is at `path` when the block ends without an error.

    `synced` are the names of folders within it that whoever fills them has brought to the disk already. OutputError when `path`
    is not a folder, or cannot be written.
    """
    path = path.absolute()
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError(f"{path}: exists already and is not a folder; choose another place")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder to write into; create it first")
    with _as_output_error(path):
        _remove_remnants(path)
        temporary, lock = _new_folder(path)
    try:
        yield temporary
        with _as_output_error(path):
            _sync(temporary, synced)
            _put(temporary, path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # after an exchange this is the old folder
        os.close(lock)
    shutil.rmtree(_aside(path), ignore_errors=True)


def _put(new: Path, path: Path) -> None:
    if not path.exists():
        try:
            os.rename(new, path)
        except OSError as error:
            if error.errno not in (
                errno.ENOTEMPTY,
                errno.EEXIST,
            ):  # another writer was first: replace its folder
                raise
        else:
            return
    if not _exchange(new, path):
        aside = _aside(path)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(path, aside)
        os.rename(new, path)


def _exchange(one: Path, two: Path) -> bool:
    """Exchange the names of two folders in one step; False where that cannot be done."""
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(os.fsencode(one), os.fsencode(two), _EXCHANGE)
        else:
            failed = library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(two), _EXCHANGE)
    except AttributeError:  # a C library from before 2018
        return False
    if failed and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(two))
    return not failed


def _new_folder(path: Path) -> tuple[Path, int]:
    """A new folder beside `path`, and the descriptor through which it is locked."""
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}{_PARTIAL}"
        temporary.mkdir()
        try:
            lock = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another writer took it for a remnant; below, before it was locked
            continue
        with contextlib.suppress(OSError):  # a network file system may have no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():
            return temporary, lock
        os.close(lock)


def _remove_remnants(path: Path) -> None:
    for remnant in path.parent.glob(f".{glob.escape(path.name)}.????????{_PARTIAL}"):
        with contextlib.suppress(OSError):
            handle = os.open(remnant, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(remnant, ignore_errors=True)
            finally:
                os.close(handle)


def _aside(path: Path) -> Path:
    return path.parent / f".{path.name}.previous"


def _sync(folder: Path, synced: Collection[str]) -> None:
    for where, below, names in os.walk(folder):
        if where == str(folder):
            below[:] = [name for name in below if name not in synced]
        for name in names:
            handle = os.open(os.path.join(where, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(where))


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (
            "the disk is full"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else f"cannot be written ({error.strerror})"
        )
        raise OutputError(f"{path}: {reason}; what was there is unchanged") from error
