"""Replacing files so that neither a reader nor a crash sees half of one, and the lock that serialises writers.

`bezoar.files` writes what does not exist yet; a log replaces what does. A file is written beside its place, fsynced and
renamed over it. Whoever holds the lock of a folder is the only writer there, so that the temporary name is a fixed one and
what a crash leaves under it is overwritten.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bezoar.errors import OutputError
from bezoar.files import sync_folder

_WAIT_S = 300.0


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, alone among threads and processes; OutputError after five minutes of waiting."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=_WAIT_S):
            yield
    except Timeout as error:
        raise OutputError(
            f"{path}: another process has held this lock for {_WAIT_S:.0f} s; end it and try again"
        ) from error


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whatever lies there; when this returns it has reached the disk, name and all."""
    put_file(path, data)
    sync_folders([path.parent])


def put_file(path: Path, data: bytes) -> None:
    """As `replace_file`, but the name reaches the disk only with `sync_folders`: one for many files."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with create(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{path}: the disk is full; the log stays as it was") from error
        raise


def create(path: Path) -> BinaryIO:
    """A new file, open for writing, in place of whatever lies at `path`: never written through a link or into a pipe."""
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb")


def sync_folders(folders: Iterable[Path]) -> None:
    """Make the names within these folders durable."""
    for folder in folders:
        sync_folder(folder)
