"""Lists that are text: one URL a line, CSV (RFC 4180), TSV.

A row that is malformed is given as such and costs only itself; a file whose rows cannot be told apart is refused.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from bezoar.acquire.lists.files import Cells
from bezoar.acquire.lists.streams import MAX_LINE, capped_lines, opened
from bezoar.errors import InputError, LimitError

TOO_LONG = f"is longer than {MAX_LINE:,} bytes"
_UTF8 = "is not valid UTF-8"
_SEPARATORS = {"csv": ",", "tsv": "\t"}


class UrlLines:
    """One URL a line; empty lines are no rows."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> tuple[str, ...]:
        """One column."""
        return ("url",)

    def count(self) -> int:
        """Lines that are not empty."""
        with opened(self._file) as stream:
            return sum(1 for _ in filled(stream))

    def rows(self, start: int, columns: tuple[str, ...]) -> Iterator[Cells]:
        """Skipped lines are not decoded."""
        with opened(self._file) as stream:
            for line in islice(filled(stream), start, None):
                try:
                    yield {"url": line.decode().strip()} if line else TOO_LONG
                except UnicodeDecodeError:
                    yield _UTF8


class Delimited:
    """CSV or TSV with a header row."""

    def __init__(self, file: Path, kind: str) -> None:
        self._file, self._separator = file, _SEPARATORS[kind]

    def names(self) -> tuple[str, ...]:
        """Of the header row."""
        with opened(self._file) as stream:
            header = next(self._records(stream), None)
        if not header:
            raise InputError(f"{self._file}: is empty; a header row that names the columns is expected")
        if any(map(_is_broken, header)):
            raise InputError(f"{self._file}: its header {_UTF8}")
        return tuple(header)

    def count(self) -> int:
        """Records behind the header."""
        with opened(self._file) as stream:
            return sum(1 for _ in self._records(stream)) - 1

    def rows(self, start: int, columns: tuple[str, ...]) -> Iterator[Cells]:
        """Skipped records are split into fields, for a quoted field may hold line ends, and dropped."""
        names = self.names()
        places = [(name, names.index(name)) for name in columns]
        with opened(self._file) as stream:
            for record in islice(self._records(stream), start + 1, None):
                if len(record) != len(names):
                    yield f"has {len(record)} fields where the header has {len(names)}"
                    continue
                cells = {name: record[place] for name, place in places}
                yield _UTF8 if any(map(_is_broken, cells.values())) else cells

    def _records(self, stream: BinaryIO) -> Iterator[list[str]]:
        """Records that are not empty lines; bytes that are no UTF-8 become lone surrogates."""
        source = _Counted(stream, self._file)
        csv.field_size_limit(
            max(csv.field_size_limit(), MAX_LINE)
        )  # of the whole process: raised, never lowered
        reader = csv.reader(source, delimiter=self._separator)
        try:
            for record in reader:
                source.size = 0
                if record:
                    yield record
        except csv.Error as error:
            why = str(error).partition(" - ")[0]  # advice for programmers follows
            raise InputError(f"{self._file}, line {reader.line_num}: is malformed ({why})") from error


class _Counted:
    """Decoded lines; LimitError when those that make one record are too long: where it ends, only its end could tell."""

    def __init__(self, stream: BinaryIO, file: Path) -> None:
        self._lines, self._file, self.size = capped_lines(stream), file, 0

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._lines, 1):
            self.size += len(line)
            if not line or self.size > MAX_LINE:
                raise LimitError(
                    f"{self._file}, line {number}: the row {TOO_LONG}; is a quotation mark not closed?"
                )
            yield line.decode("utf-8", "surrogateescape")


def filled(stream: BinaryIO) -> Iterator[bytes]:
    """Lines that are not empty; b"" in the place of one that is too long."""
    return (line for line in capped_lines(stream) if not line.isspace())


def _is_broken(text: str) -> bool:
    """Whether it holds a byte that was no UTF-8."""
    return not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text)
