"""TOML read strictly: a table is asked for its keys by type; what nobody asked for is an error that names its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bezoar.errors import InputError, LimitError

MAX_BYTES = 256 << 10
MAX_LINE = 8192  # bytes; a dotted name costs the reader the square of its parts
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=""")
_QUOTES = re.compile(r"\"\"\"|\'\'\'")


class Table:
    """One table of a document; `path` names it (`signer 2`)."""

    def __init__(
        self, values: Mapping[str, Any], path: str, where: str, lines: Mapping[tuple[str, str], int]
    ) -> None:
        self._values, self._path, self._where, self._lines = values, path, where, lines
        self._asked: set[str] = set()

    @classmethod
    def parse(cls, data: bytes, where: str) -> Table:
        """The document in `data`; InputError when it is no TOML, LimitError beyond 256 KiB."""
        if len(data) > MAX_BYTES:
            raise LimitError(f"{where}: {len(data):,} bytes; at most {MAX_BYTES:,} are read")
        long = next(
            (number for number, line in enumerate(data.split(b"\n"), 1) if len(line) > MAX_LINE), None
        )
        if long is not None:
            raise LimitError(f"{where}:{long}: a line of more than {MAX_LINE:,} bytes")
        try:
            text = data.decode("utf-8")
            return cls(tomllib.loads(text), "", where, _lines(text))
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: not UTF-8 at byte {error.start}") from error
        except RecursionError as error:
            raise InputError(f"{where}: nested too deeply") from error
        except ValueError as error:  # TOMLDecodeError is one; it names the line
            raise InputError(f"{where}: not TOML ({error})") from error

    def at(self, key: str) -> str:
        """Where a key is, for messages: file, line, table and key."""
        line = self._lines.get((self._path, key))
        name = f"{self._path}: {key[:60]}" if self._path else key[:60]
        return f"{self._where}:{line}: {name}" if line else f"{self._where}: {name}"

    def done(self) -> None:
        """InputError when the table has a key that nobody asked for."""
        if unknown := sorted(set(self._values) - self._asked):
            known = ", ".join(sorted(self._asked))
            raise InputError(f"{self.at(unknown[0])}: unknown key; known here: {known}")

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._asked.add(key)
        return key in self._values

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty text; InputError when it is missing and there is no default."""
        value = self._get(key, default)
        if not isinstance(value, str) or not value:
            raise InputError(f"{self.at(key)}: expected a non-empty text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of different non-empty texts; empty when the key is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise InputError(f"{self.at(key)}: expected a list of non-empty texts")
        if len(set(value)) < len(value):
            raise InputError(f"{self.at(key)}: the same text twice")
        return tuple(value)

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise InputError(f"{self.at(key)}: expected a whole number from {low:,} to {high:,}")
        return value

    def flag(self, key: str) -> bool:
        """True or false; false when the key is missing."""
        value = self._get(key, False)
        if not isinstance(value, bool):
            raise InputError(f"{self.at(key)}: expected true or false")
        return value

    def time(self, key: str) -> datetime | None:
        """An instant with its time zone; None when the key is missing."""
        value = self._get(key, None) if self.has(key) else None
        if key not in self._values:
            return None
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise InputError(f"{self.at(key)}: expected a time with its zone, such as 2026-11-25T00:00:00Z")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise InputError(f"{self.at(key)}: out of range") from error

    def table(self, key: str) -> Table:
        """A table; an empty one when the key is missing."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise InputError(f"{self.at(key)}: expected a table, [{key}]")
        return Table(value, f"{self._path}.{key}".lstrip("."), self._where, self._lines)

    def tables(self, key: str) -> list[Table]:
        """The tables of a list, [[key]]; empty when the key is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise InputError(f"{self.at(key)}: expected a list of tables, [[{key}]]")
        return [
            Table(item, f"{key} {number}", self._where, self._lines) for number, item in enumerate(value, 1)
        ]

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key not in self._values and default is None:
            raise InputError(
                f"{self._where}: {f'{self._path}: ' if self._path else ''}no {key!r}; it is required"
            )
        return self._values.get(key, default)


def _lines(text: str) -> dict[tuple[str, str], int]:
    """The line of every key that is written on a line of its own, by the name of its table. For messages only."""
    found: dict[tuple[str, str], int] = {}
    counts: dict[str, int] = {}
    path, quoted = "", ""
    for number, line in enumerate(text.split("\n"), 1):
        if not quoted and (header := _HEADER.fullmatch(line)):
            name = header[1].strip("\"'")
            found.setdefault(("", name), number)
            counts[name] = counts.get(name, 0) + 1
            path = f"{name} {counts[name]}" if line.lstrip().startswith("[[") else name
        elif not quoted and (key := _KEY.match(line)):
            found.setdefault((path, key[1].strip("\"'").split(".")[0]), number)
        for quotes in _QUOTES.findall(line):
            if not quoted or quoted == quotes:
                quoted = "" if quoted else quotes
    return found
