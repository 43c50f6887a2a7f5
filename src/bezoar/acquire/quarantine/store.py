"""The quarantine of a fetch: bytes that are not what was promised, and a table of what is known of each.

    OUT.fetch/quarantine/
        entries.jsonl           append-only: one line an entry (held.py), or that an earlier one is released, or how it ended
        objects/ab/ab12…ef      the bytes, named by their SHA-256

Nothing here is ever decoded. An object has no suffix and begins with a line of ours, so that neither a glob for images nor a
viewer that looks at the first bytes takes it for a picture. Folders are 0700, files 0600. What does not fit is recorded without
its bytes, and the entry says so.

A crash leaves at most a torn last line, which the next writer takes away, and an object without an entry. `put` is safe against a
killed process; `sync` makes all puts so far safe against a power cut, and belongs before the commit of a shard.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from bezoar.acquire.quarantine.held import (
    MAX_LINE,
    RELEASED,
    Held,
    Releasing,
    Settled,
    Stored,
    parse_line,
)
from bezoar.errors import InputError, LimitError, OutputError, VerificationError
from bezoar.files import read_file, sync_folder

HEADER = b"bezoar quarantine: not for training, see entries.jsonl\n"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_TABLE, _OBJECTS = "entries.jsonl", "objects"


@dataclass(frozen=True, slots=True)
class Cap:
    """The most bytes of one object, and of all."""

    object_bytes: int = 64 << 20
    total_bytes: int = 8 << 30


class Quarantine:
    """The store in one folder. Several processes may put; each holds the total cap for what was there when it began."""

    def __init__(self, folder: Path, cap: Cap) -> None:
        self.folder = folder
        self.cap = cap
        self._total: int | None = None
        self._unsynced: set[Path] = set()

    @classmethod
    def at(cls, folder: Path, cap: Cap = Cap()) -> Quarantine:
        """The quarantine in `folder`, which need not be there yet: the first put makes it."""
        return cls(Path(folder), cap)

    def put(self, held: Held, content: bytes) -> None:
        """Keep what came, and what is known of it. The same again changes nothing; OutputError when the disk is full."""
        with _as_output_error(self.folder):
            self._append(replace(held, stored=self._keep(held, content)).to_line())

    def sync(self) -> None:
        """Make what was put so far durable."""
        with _as_output_error(self.folder):
            for path in sorted(
                self._unsynced, key=lambda path: -len(path.parts)
            ):  # files, then their folders
                if path.is_dir():
                    sync_folder(path)
                else:
                    _sync(path)
        self._unsynced.clear()

    def begin_release(self, releasing: Releasing) -> None:
        """Record, durably, that an entry is let into the dataset; it stays open until it is settled."""
        self._append_durably(releasing.to_line())

    def settle(self, settled: Settled) -> None:
        """Record, durably, how an entry came to its end. Its bytes stay, and the same may be put again later."""
        self._append_durably(settled.to_line())

    def entries(self) -> list[Held]:
        """What is held and not settled, in the order in which it came; of equal entries the last.

        InputError for a malformed table.
        """
        found: dict[tuple[str, str, str], Held] = {}
        for line in self._parsed():
            if isinstance(line, Settled):
                for identity in [each for each in found if each[:2] == (line.key, line.sha256)]:
                    del found[identity]
            elif isinstance(line, Held):
                found.pop(line.identity, None)
                found[line.identity] = line
        return list(found.values())

    def settled(self) -> list[Settled]:
        """How entries came to their end, in order."""
        return [line for line in self._parsed() if isinstance(line, Settled)]

    def let_in(self) -> frozenset[tuple[str, str]]:
        """Key and SHA-256 of what a person put into the dataset, or began to: a release that was killed may be half done."""
        found: set[tuple[str, str]] = set()
        for line in self._parsed():
            if isinstance(line, Releasing) or (isinstance(line, Settled) and line.how == RELEASED):
                found.add((line.key, line.sha256))
            elif isinstance(line, Settled):
                found.discard((line.key, line.sha256))
        return frozenset(found)

    def content(self, sha256: str) -> bytes:
        """The bytes of an object; InputError when the store has none, VerificationError when they are others."""
        if not _SHA256.match(sha256):
            raise InputError(f"{sha256[:80]!r}: is no SHA-256 in 64 lowercase hexadecimal digits")
        path = self._path(sha256)
        try:
            data = read_file(path, self.cap.object_bytes + len(HEADER))
        except LimitError:
            raise
        except InputError as error:
            raise InputError(f"{self.folder}: has no bytes with SHA-256 {sha256}") from error
        content = data[len(HEADER) :]
        if not data.startswith(HEADER) or hashlib.sha256(content).hexdigest() != sha256:
            raise VerificationError(f"{path}: is not what was put into quarantine; the file was changed")
        return content

    def _keep(self, held: Held, content: bytes) -> Stored:
        if not content:
            return Stored.NONE
        if hashlib.sha256(content).hexdigest() != held.sha256:
            return Stored.PARTIAL
        if len(content) > self.cap.object_bytes:
            return Stored.TOO_LARGE
        path = self._path(held.sha256)
        if _is_whole(path, len(content)):
            return Stored.KEPT
        if self._total is None:
            self._total = _total(self.folder / _OBJECTS)
        if self._total + len(content) > self.cap.total_bytes:
            return Stored.FULL
        self._write(path, content)
        self._total += len(content)
        return Stored.KEPT

    def _write(self, path: Path, content: bytes) -> None:
        self._make(path.parent)
        temporary = path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            with _create(temporary, os.O_WRONLY | os.O_EXCL) as file:
                file.write(HEADER)
                file.write(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        self._unsynced |= {path, path.parent}

    def _append_durably(self, line: bytes) -> None:
        with _as_output_error(self.folder):
            self._append(line)
        self.sync()

    def _append(self, line: bytes) -> None:
        self._make(self.folder)
        path = self.folder / _TABLE
        with _create(path, os.O_RDWR) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(_end_of_whole_lines(file))
            file.truncate()
            file.write(line)
            file.flush()
        self._unsynced |= {path, self.folder}

    def _parsed(self) -> Iterator[Held | Settled | Releasing]:
        """Whole lines; a torn last one was never put."""
        path = self.folder / _TABLE
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
        with file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
                if len(line) > MAX_LINE:
                    raise InputError(f"{path}: line {number} is longer than {MAX_LINE:,} bytes")
                if line.endswith(b"\n"):
                    yield parse_line(line, f"{path}: line {number}")

    def _make(self, folder: Path) -> None:
        """A folder of ours and those above it, up to the first that is there."""
        if folder.is_dir():
            return
        missing = [folder]
        while not missing[-1].parent.is_dir():
            missing.append(missing[-1].parent)
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            self._unsynced.add(each.parent)

    def _path(self, sha256: str) -> Path:
        return self.folder / _OBJECTS / sha256[:2] / sha256


def _is_whole(path: Path, size: int) -> bool:
    """Whether the object is there. A crash may have left a short one after a power cut: that is written again."""
    try:
        return path.stat().st_size == size + len(HEADER)
    except FileNotFoundError:
        return False


def _total(objects: Path) -> int:
    """Bytes of all objects; a file that another process is about to rename is none yet."""
    total = 0
    for folder, _, names in os.walk(objects):
        for name in names:
            with suppress(FileNotFoundError):
                total += max(0, os.stat(os.path.join(folder, name)).st_size - len(HEADER))
    return total


def _end_of_whole_lines(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"\n", b""):
        return end
    start = max(0, end - MAX_LINE)
    file.seek(start)
    return start + file.read(MAX_LINE).rfind(b"\n") + 1


def _create(path: Path, flags: int) -> BinaryIO:
    """A file of 0600, opened, made where it is missing; never through a link."""
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return os.fdopen(handle, "r+b" if flags & os.O_RDWR else "wb")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _as_output_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else f"may not be written ({error.strerror or error})"
        raise OutputError(f"{folder}: {why}; what was put before is safe") from error
