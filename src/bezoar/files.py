"""Reading small files up to a cap, and writing files so that a reader never sees half of one: temporary name, fsync, rename.

`atomic_file` writes one file, `atomic_directory` a whole tree. Either appears complete under its final name or not
at all: a full disk, an exception or Ctrl-C leaves nothing behind. An existing path is never overwritten.
"""

from __future__ import annotations

import errno
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from bezoar.errors import InputError, LimitError, OutputError


def read_file(path: str | Path, limit: int) -> bytes:
    """The bytes of an ordinary file, at most `limit`; InputError when it is none or unreadable, LimitError for a larger one."""
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'not an ordinary file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > limit:
        raise LimitError(f"{path}: larger than {limit:,} bytes, the most that is read of such a file")
    return data


def plain(value: Any) -> Any:
    """JSON values: NumPy types are replaced by Python's, and numbers that are not finite by None. TypeError for anything else."""
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars, without importing it
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def refuse_existing(path: Path) -> None:
    """OutputError when something lies at `path` already, or when its parent folder is missing."""
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path}: exists already; choose another output path or remove it first")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path.absolute().parent}: no such folder to write into; create it first")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path`, complete and fsynced, when the block ends without an error."""
    refuse_existing(path)
    temporary = _temporary_name(path)
    try:
        with _as_output_error(path), temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _as_output_error(path):
            temporary.rename(path)
            sync_folder(path.absolute().parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A folder to fill; it appears at `path`, its files fsynced, when the block ends without an error."""
    refuse_existing(path)
    temporary = _temporary_name(path)
    try:
        with _as_output_error(path):
            temporary.mkdir()
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    _sync_file(Path(folder, name))
                sync_folder(Path(folder))
            temporary.rename(path)
            sync_folder(path.absolute().parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary_name(path: Path) -> Path:
    return path.absolute().parent / f".{path.name}.{secrets.token_hex(4)}.partial"


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{path}: the disk is full; nothing was written") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(
                f"{path}: may not be written ({error.strerror}); nothing was written"
            ) from error
        raise


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names within a folder durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
