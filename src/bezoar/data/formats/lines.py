"""CSV and JSON Lines files as tables whose rows can be copied byte for byte, or with some fields changed.

CSV per RFC 4180 (UTF-8, a header row, commas); JSON Lines per https://jsonlines.org.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.errors import InputError, LimitError

MAX_ROW = 64 * 2**20  # bytes
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineTable:
    """A file of rows: `columns` (without the one that was left out), and where each row's bytes lie."""

    file: Path
    names: tuple[str, ...]
    columns: pa.Table
    starts: NDArray[np.int64]  # N + 1 offsets
    header: bytes  # what precedes the first row

    def raw(self, row: int) -> bytes:
        """The bytes of a row with its line end."""
        with self.file.open("rb") as file:
            return self._raw(file, row)

    def field(self, rows: NDArray[np.int64], name: str) -> Iterator[str | None]:
        """One field of `rows`, read from the file."""
        with self.file.open("rb") as file:
            for row in rows.tolist():
                value = self._parse(self._raw(file, row)).get(name)
                yield value if value is None or isinstance(value, str) else json.dumps(value)

    def row(self, row: int, fields: Mapping[str, Any]) -> bytes:
        """The row's own bytes where these fields agree with it already; else written anew with them."""
        raw = self.raw(row)
        old = self._parse(raw)
        if all(_same(old.get(name), value) for name, value in fields.items()):
            return raw if raw.endswith(b"\n") else raw + b"\n"
        return encode_row({**old, **fields}, self.names, self.file.suffix)

    def _raw(self, file: Any, row: int) -> bytes:
        start, end = int(self.starts[row]), int(self.starts[row + 1])
        file.seek(start)
        content: bytes = file.read(end - start)
        return content

    def _parse(self, raw: bytes) -> dict[str, Any]:
        text = raw.decode("utf-8", "replace")
        if self.file.suffix == ".csv":
            return dict(zip(self.names, next(csv.reader(io.StringIO(text, newline=""))), strict=False))
        value = json.loads(text)
        return value if isinstance(value, dict) else {}


def read(file: Path, leave_out: str | None = None) -> LineTable:
    """Index a `.csv` or `.jsonl` file; values of the column `leave_out` are not kept."""
    return _read_csv(file, leave_out) if file.suffix == ".csv" else _read_jsonl(file, leave_out)


def columns_of(file: Path) -> tuple[str, ...]:
    """Names of the columns, from the first row."""
    with file.open("rb") as stream:
        first = stream.readline(MAX_ROW)
    try:
        if file.suffix == ".csv":
            return tuple(next(csv.reader(io.StringIO(first.removeprefix(_BOM).decode(), newline="")), ()))
        value = json.loads(first)
        return tuple(value) if isinstance(value, dict) else ()
    except (ValueError, csv.Error, RecursionError) as error:
        raise InputError(f"{file}: its first row is malformed ({error})") from error


def encode_row(fields: Mapping[str, Any], names: tuple[str, ...], kind: str) -> bytes:
    """One row of a `.csv` or `.jsonl` file."""
    if kind == ".csv":
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerow(
            ["" if (v := fields.get(n)) is None else v for n in names]
        )
        return out.getvalue().encode()
    return json.dumps(dict(fields), ensure_ascii=False).encode() + b"\n"


def _read_csv(file: Path, leave_out: str | None) -> LineTable:
    names = columns_of(file)
    if len(set(names)) < len(names):
        raise InputError(f"{file}: two columns have the same name; columns: {', '.join(names)}")
    kept: dict[str, list[str | None]] = {name: [] for name in names if name != leave_out}
    places = [(names.index(name), values) for name, values in kept.items()]
    starts: list[int] = []
    csv.field_size_limit(MAX_ROW)
    with file.open("rb") as stream:
        lines = _CountedLines(stream, file)
        reader = csv.reader(lines, strict=True)
        try:
            next(reader)
            starts.append(lines.offset)
            for row in reader:
                if len(row) != len(names):
                    raise InputError(
                        f"{file}, line {reader.line_num}: {len(row)} fields, the header has {len(names)}"
                    )
                for place, values in places:
                    values.append(row[place] or None)
                starts.append(lines.offset)
        except csv.Error as error:
            raise InputError(f"{file}, line {reader.line_num}: is not valid CSV ({error})") from error
    columns = pa.table({name: _typed(values) for name, values in kept.items()})
    return LineTable(file, names, columns, np.array(starts, np.int64), _head(file, starts[0]))


def _read_jsonl(file: Path, leave_out: str | None) -> LineTable:
    names: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    starts = [0]
    with file.open("rb") as stream:
        lines = _CountedLines(stream, file)
        for line in lines:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{file}, line {len(rows) + 1}: is not valid JSON ({error})") from error
            if not isinstance(value, dict):
                raise InputError(f"{file}, line {len(rows) + 1}: is not a JSON object")
            names |= dict.fromkeys(value)
            value.pop(leave_out, None)
            rows.append(value)
            starts.append(lines.offset)
    columns = pa.table(
        {name: json_column([row.get(name) for row in rows]) for name in names if name != leave_out}
    )
    return LineTable(file, tuple(names), columns, np.array(starts, np.int64), b"")


class _CountedLines:
    """Decoded lines of a stream; `offset` is where the next one begins."""

    def __init__(self, stream: Any, file: Path) -> None:
        self._stream, self._file, self.offset = stream, file, 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(MAX_ROW):
            if len(line) == MAX_ROW:
                raise LimitError(f"{self._file}: a line exceeds the limit of {MAX_ROW} bytes")
            text = line.removeprefix(_BOM) if self.offset == 0 else line
            self.offset += len(line)
            try:
                yield text.decode()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self._file}: is not valid UTF-8 ({error.reason} near byte {self.offset})"
                ) from error


def _head(file: Path, size: int) -> bytes:
    with file.open("rb") as stream:
        return stream.read(size)


def _typed(values: list[str | None]) -> pa.Array:
    """CSV fields as integers where all of them are plain integers, else strings."""
    strings = pa.array(values, pa.string())
    try:
        numbers = strings.cast(pa.int64())
    except pa.ArrowInvalid:
        return strings
    # "007" is a name, not a number
    return numbers if numbers.cast(pa.string()).equals(strings) else strings


def json_column(values: list[Any]) -> pa.Array:
    """JSON values as a column; as strings where they are of several types."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array(
            [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string()
        )


def _same(old: Any, new: Any) -> bool:
    return bool(old == new) or (new is None and old == "") or (isinstance(old, str) and str(new) == old)
