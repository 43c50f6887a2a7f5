"""Where logs and seals are read from: a folder on this machine or a URL (fsspec; the `remote` extra). Read-only, bounded.

Paths are those of C2SP tlog-tiles: relative, with '/', of ordinary characters. Anything else is an InputError, and so is a
symlink that leads out of the folder.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any, Protocol

from bezoar.custody.tlog.http_read import read_url
from bezoar.errors import InputError, LimitError, MissingExtraError, UsageError

_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_MAX_PATH = 1024
_HTTP = ("http://", "https://")
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class Storage(Protocol):
    """Files by relative path."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The bytes of a file; None when it is not there; LimitError when it has more than `limit` bytes, InputError
        when the path is not one that a log may have or the file cannot be read.
        """
        ...


def storage(location: str | Path) -> Storage:
    """The storage at a URL (`https://…`, `s3://…`) or in a folder of this machine."""
    if isinstance(location, str) and "://" in location:
        scheme, _, path = location.partition("://")
        return Folder(Path(path)) if scheme.lower() in ("file", "local") else Remote(location)
    return Folder(Path(location))


class Folder:
    """Files of a folder on this machine; it need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, path: str, limit: int) -> bytes | None:
        """See `Storage.read`. Anything but an ordinary file within the folder is an InputError."""
        _check_path(path)
        place = self.folder / path
        try:
            # non-blocking: opening a named pipe must not wait for a writer
            handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise _unreadable(place, error) from error
        except ValueError as error:  # a zero byte in its name
            raise InputError(f"{str(place)!r}: cannot be read ({error})") from error
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InputError(f"{place}: not an ordinary file")
            if not place.resolve().is_relative_to(self.folder.resolve()):
                raise InputError(
                    f"{place}: a link that leads out of {self.folder}; nothing outside it is read"
                )
            with open(handle, "rb", closefd=False) as file:
                return _within(file.read(limit + 1), limit, str(place))
        except OSError as error:
            raise _unreadable(place, error) from error
        finally:
            os.close(handle)


class Remote:
    """Files below a URL, read through fsspec: HTTP(S), S3 and whatever file systems are installed."""

    def __init__(self, url: str) -> None:
        if "::" in url or "?" in url or "#" in url:
            raise UsageError(f"{url}: a plain URL of a folder is needed, without '?', '#' and '::'")
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]
        except ImportError as error:
            raise MissingExtraError(f"{url}: reading from a URL", "remote") from error
        scheme, _, rest = url.partition("://")
        self.url = f"{scheme.lower()}://{rest.rstrip('/')}"
        host = rest.partition("/")[0]
        if "@" in host and self.url.startswith(_HTTP):  # messages and signed statements name the place
            raise UsageError(
                f"{host.rpartition('@')[2]}: the URL has a user name or password, which all statements would repeat; leave it out"
            )
        self._files: Any
        try:
            self._files, root = url_to_fs(self.url)
        except ImportError as error:
            raise MissingExtraError(f"{url}: reading from this kind of URL", "remote") from error
        except ValueError as error:
            raise UsageError(f"{url}: {error}") from error
        except Exception as error:  # each file system has errors of its own, and some connect at once
            raise InputError(f"{url}: cannot be opened ({_line(error)}); check the address") from error
        self._root = str(root).rstrip("/")

    def read(self, path: str, limit: int) -> bytes | None:
        """See `Storage.read`. No more than `limit` + 1 bytes are asked for; nothing is cached."""
        _check_path(path)
        place = f"{self._root}/{path}"
        try:
            data = self._read(place, limit + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # each file system has errors of its own
            raise InputError(
                f"{self.url}/{path}: cannot be read ({_line(error)}); check the address"
            ) from error
        return _within(data, limit, f"{self.url}/{path}")

    def _read(self, place: str, length: int) -> bytes:
        if self.url.startswith(_HTTP):
            return read_url(self._files, place, length)
        return bytes(self._files.cat_file(place, start=0, end=length))


def _check_path(path: str) -> None:
    if len(path) > _MAX_PATH or not _PATH.fullmatch(path):
        raise InputError(f"{path[:200]!r}: not a path within a log; '/', '..' and odd characters are refused")


def _within(data: bytes, limit: int, where: str) -> bytes:
    if len(data) > limit:
        raise LimitError(f"{where}: more than {limit:,} bytes; it is damaged, or not what its name says")
    return data


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _unreadable(place: Path, error: OSError) -> InputError:
    return InputError(f"{place}: cannot be read ({error.strerror or error})")
