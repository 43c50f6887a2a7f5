"""Files that appear under their names complete and on the disk, hashed while they are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import OutputError
from bezoar.files import sync_folder

_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: SHA-256 in hexadecimal, size in bytes."""

    sha256: str
    size: int


class HashedFile:
    """A file that is written once, from beginning to end."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._out = os.fdopen(os.open(path, flags, 0o666), "wb", _BLOCK)
        self._hash, self._size = hashlib.sha256(), 0
        self.closed = False  # pyarrow asks

    def write(self, data: bytes) -> int:
        """Append."""
        self._hash.update(data)
        self._size += len(data)
        return self._out.write(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._size

    def flush(self) -> None:
        """Nothing: `finish` does it."""

    def finish(self) -> Written:
        """Bring it to the disk."""
        self._out.flush()
        os.fsync(self._out.fileno())
        return Written(self._hash.hexdigest(), self._size)

    def close(self) -> None:
        """Close it."""
        self.closed = True
        self._out.close()


@contextmanager
def replaced(path: Path, written: dict[str, Written]) -> Iterator[HashedFile]:
    """A file that takes the place of `path` when the block ends without an error; `written` then tells of it by its name.

    The temporary name is always the same: what a crash leaves is overwritten by the next attempt. One writes at a time.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with as_output_error(path):
            file = HashedFile(temporary)
            try:
                yield file
                done = file.finish()
            finally:
                file.close()
            os.replace(temporary, path)
            sync_folder(path.parent)
        written[path.name] = done
    finally:
        temporary.unlink(missing_ok=True)


def refuse_link(path: Path) -> None:
    """OutputError when a link lies where a folder of an output belongs."""
    if path.is_symlink():
        raise OutputError(f"{path}: is a link; files would land elsewhere, remove it")


def own_folder(path: Path) -> None:
    """Make a folder of an output; OutputError when a link lies there."""
    refuse_link(path)
    with as_output_error(path):
        path.mkdir(exist_ok=True)


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """A disk that is full or may not be written, as an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); this shard is not kept"
        ) from error
