"""Measurements on disk: one JSON line each, appended and synced, so that an interrupted run loses the cells in flight alone."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bezoar.errors import InputError, OutputError


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement: the cell's key and fields, what made it, what came of it."""

    key: str
    version: str
    cell: dict[str, Any]
    outcome: dict[str, Any]

    def line(self) -> bytes:
        """For the file, with the newline."""
        fields = {"key": self.key, "version": self.version, "cell": self.cell, "outcome": self.outcome}
        return json.dumps(fields, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def read_entries(path: Path) -> list[Entry]:
    """All entries in the order in which they were written; none when there is no file.

    A last line without its newline was torn by an interruption and is passed over; InputError for any other line that
    is no entry.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    return [_entry(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def newest(entries: list[Entry], version: str | None = None) -> dict[str, Entry]:
    """Per key the last entry, of `version` or of any; failures are passed over: those cells are still to be measured."""
    return {
        entry.key: entry
        for entry in entries
        if entry.outcome["status"] != "failed" and version in (None, entry.version)
    }


class Log:
    """The open file of results, to append to."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def append(self, entry: Entry) -> None:
        """Write one entry and wait until it is on the disk."""
        self._file.write(entry.line())
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def appending(path: Path) -> Iterator[Log]:
    """The file at `path`, made if absent, without a torn last line; OutputError while another run writes to it."""
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path.absolute().parent}: no such folder to write into; create it first")
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"{path}: another run is writing to it; wait for it, or choose another file"
            ) from None
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        yield Log(file)


def replace(path: Path, content: bytes) -> None:
    """Write `content` to `path`, over what is there, so that a reader never sees half of it."""
    temporary = path.absolute().parent / f".{path.name}.partial"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _entry(line: bytes, where: str) -> Entry:
    try:
        fields = json.loads(line)
        entry = Entry(
            str(fields["key"]), str(fields["version"]), dict(fields["cell"]), dict(fields["outcome"])
        )
        if entry.outcome["status"] not in ("measured", "impossible", "failed"):
            raise ValueError("an unknown status")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: is no measurement of a benchmark; give another --results") from error
    return entry
