"""Measurements on disk: one JSON line each, appended and synced, so that an interrupted run loses the cells in flight alone."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bezoar.bench.plan import Cell
from bezoar.bench.settings import SETTINGS
from bezoar.errors import InputError, OutputError

_BEGINNING = b'{"key":'
_REQUIRED = {
    "attack": {
        "potency",
        "scan_seconds",
        "planted",
        "flagged_planted",
        "clean",
        "flagged_clean",
        "detected",
        "auroc",
        "peak_mib",
    },
    "clean": {"verdict", "records", "flagged", "mislabelled", "scan_seconds"},
    "power": {"canaries"},
}  # of a measured outcome, beside "seconds"
_NUMBERS = {
    "seconds",
    "scan_seconds",
    "planted",
    "flagged_planted",
    "clean",
    "flagged_clean",
    "records",
    "flagged",
    "mislabelled",
    "clean_accuracy",
}
_REQUIRED_TRIAL = {"attack", "poisoning_seconds", "potency", "potency_seconds", "trial"}
_REQUIRED_POTENCY = {"took", "clean_accuracy", "attack_success"}
_REQUIRED_CANARY = {"kind", "rate", "found"}


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


def read_entries(path: Path, check: Callable[[Entry], None] | None = None) -> list[Entry]:
    """All entries in the order in which they were written; none when there is no file.

    A last line without its newline was torn by an interruption and is passed over; InputError for any other line that
    is no entry, and for a file that is no log. `check` raises ValueError, KeyError or TypeError for an entry that lacks
    what its readers need; without it they are cells of the matrix.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = content[: _whole(content, path)].splitlines()
    return [
        _entry(line, f"{path}, line {number}", check or _check) for number, line in enumerate(lines, start=1)
    ]


def newest(entries: list[Entry], version: str | None = None) -> dict[str, Entry]:
    """Per key the last entry, of `version` or of any, in the order in which these were written.

    Passed over are failures and trials that still wait for their scan.
    """
    last: dict[str, Entry] = {}
    for entry in entries:
        if _finished(entry.outcome) and version in (None, entry.version):
            last.pop(entry.key, None)
            last[entry.key] = entry
    return last


def trials(entries: list[Entry], version: Callable[[str], str]) -> dict[str, Entry]:
    """Per key the last entry that says how the trial went, by today's `version` of what its setting poisons and trains with."""
    return {
        entry.key: entry
        for entry in entries
        if "trial" in entry.outcome
        and entry.cell["setting"] in SETTINGS  # others are no more
        and entry.outcome["trial"] == version(entry.cell["setting"])
    }


def failed_to_take(outcome: dict[str, Any]) -> bool:
    """Whether the attack was tried and did not take: such a trial does not count, so that it needs no scan."""
    potency = outcome.get("potency")
    return isinstance(potency, dict) and potency.get("took") is False


def _finished(outcome: dict[str, Any]) -> bool:
    return outcome["status"] in ("measured", "impossible") or failed_to_take(outcome)


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
    """The file at `path`, made if absent, without a torn last line.

    OutputError while another run writes to it; InputError, and nothing is cut off, when it is no log.
    """
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
        file.truncate(_whole(file.read(), path))
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


def _whole(content: bytes, path: Path) -> int:
    """Bytes of `content` up to a torn last line; InputError when that is no part of an entry."""
    whole = content.rfind(b"\n") + 1
    torn = content[whole:]
    if not torn.startswith(_BEGINNING[: len(torn)]):
        raise InputError(
            f"{path}: is no log of a benchmark (its last line is no measurement); give another --results"
        )
    return whole


def _entry(line: bytes, where: str, check: Callable[[Entry], None]) -> Entry:
    try:
        fields = json.loads(line)
        entry = Entry(
            str(fields["key"]), str(fields["version"]), dict(fields["cell"]), dict(fields["outcome"])
        )
        check(entry)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{where}: is no measurement of a benchmark; give another --results") from error
    return entry


def _check(entry: Entry) -> None:
    """ValueError, KeyError or TypeError for an entry that lacks what its readers need."""
    cell, outcome = Cell(**entry.cell), entry.outcome
    if cell.key != entry.key:
        raise ValueError("the key is another cell's")
    if "potency" in outcome:
        _require(outcome["potency"], _REQUIRED_POTENCY)
    if "trial" in outcome:
        _require(outcome, _REQUIRED_TRIAL)
    match outcome["status"]:
        case "measured":
            _require(outcome, _REQUIRED[cell.kind] | {"seconds"})
            if cell.kind == "attack":
                _require(outcome["auroc"], set())
            for canary in outcome["canaries"] if cell.kind == "power" else ():
                _require(canary, _REQUIRED_CANARY)
        case "trained" if cell.kind == "attack":
            _require(outcome, {"trial", "seconds"})
        case "impossible":
            _require(outcome, {"reason"})
        case "failed":
            pass
        case _:
            raise ValueError("an unknown status")


def _require(fields: dict[str, Any], names: set[str]) -> None:
    if missing := names - dict(fields).keys():
        raise ValueError(f"lacks {missing}")
    for name in names & _NUMBERS:
        if not isinstance(fields[name], int | float):
            raise TypeError(f"{name} is no number")
