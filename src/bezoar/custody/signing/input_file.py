"""Reading the small file that a person names, a key or a password, without ever waiting for ever.

Ordinary files are read, and pipes that somebody writes to: `<(pass show key)` in a shell is one. A pipe without a writer, a
device and a folder are refused.
"""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from bezoar.errors import InputError

_PATIENCE_S = 60.0  # somebody may have to unlock what writes to the pipe


def read_input(path: str | Path, limit: int) -> bytes:
    """The first `limit` bytes of the file or pipe at `path`.

    InputError when it is neither, cannot be read, or is a pipe through which nothing comes or that is not closed in a minute.
    """
    try:
        # non-blocking: opening a named pipe must not wait for a writer
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in its name
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        kind = os.fstat(handle).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise InputError(f"{path}: not an ordinary file")
        data = _read(handle, limit, str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    finally:
        os.close(handle)
    if not data and stat.S_ISFIFO(kind):
        raise InputError(f"{path}: a pipe that nobody writes to; give an ordinary file")
    return data


def _read(handle: int, limit: int, where: str) -> bytes:
    """Up to `limit` bytes, as they come."""
    end = time.monotonic() + _PATIENCE_S
    data = b""
    while len(data) < limit:
        try:
            piece = os.read(handle, limit - len(data))
        except BlockingIOError:
            left = end - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise InputError(
                    f"{where}: nobody closed this pipe within {_PATIENCE_S:.0f} s; give an ordinary file"
                ) from None
            continue
        if not piece:
            break
        data += piece
    return data
