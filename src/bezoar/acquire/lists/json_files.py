"""Lists that are JSON: one object a line (https://jsonlines.org), or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from bezoar.acquire.lists.files import Cells
from bezoar.acquire.lists.streams import opened
from bezoar.acquire.lists.text_files import TOO_LONG, filled
from bezoar.errors import InputError, LimitError

MAX_ARRAY = 64 * 2**20  # bytes; lines may be as many as one likes
_SAMPLE = 1000  # rows whose keys are the columns


class JsonRows:
    """JSON Lines, or an array where the first character is `[`; empty lines are no rows."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> tuple[str, ...]:
        """The keys of the first thousand rows, in order of appearance."""
        names: dict[str, None] = {}
        for cells in islice(self.rows(0, ()), _SAMPLE):
            names |= {} if isinstance(cells, str) else dict.fromkeys(cells)
        if not names:
            raise InputError(f"{self._file}: has no rows that are JSON objects")
        return tuple(names)

    def count(self) -> int:
        """Lines are counted, elements of an array parsed: only that tells where one ends."""
        with opened(self._file) as stream:
            return sum(1 for _ in self._parts(stream))

    def rows(self, start: int, columns: tuple[str, ...]) -> Iterator[Cells]:
        """Skipped lines are not parsed. Without `columns` all cells are given; one that is absent is null."""
        with opened(self._file) as stream:
            for part in islice(self._parts(stream), start, None):
                yield _chosen(part, columns)

    def _parts(self, stream: BinaryIO) -> Iterator[Any]:
        """Lines as bytes, or elements of an array."""
        return _elements(stream, self._file) if _is_array(stream) else filled(stream)


def _chosen(part: Any, columns: tuple[str, ...]) -> Cells:
    if part == b"":
        return TOO_LONG
    if isinstance(part, bytes):
        try:
            text = part.decode()
            part = json.loads(text)
            if "\\ud" in text or "\\uD" in text:
                json.dumps(part, ensure_ascii=False).encode()
        except UnicodeDecodeError:
            return "is not valid UTF-8"
        except UnicodeEncodeError:
            return "has half of a surrogate pair, which no UTF-8 can hold"
        except (ValueError, RecursionError) as error:
            return f"is not valid JSON ({error})"
    if not isinstance(part, dict):
        return "is not a JSON object"
    return {name: part.get(name) for name in columns} if columns else part


def _is_array(stream: BinaryIO) -> bool:
    peek = stream.peek(64)[:64] if hasattr(stream, "peek") else b""
    return peek.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _elements(stream: BinaryIO, file: Path) -> Iterator[Any]:
    """The elements of an array, which is read as a whole: up to a size that leaves memory bounded."""
    content = stream.read(MAX_ARRAY + 1)
    if len(content) > MAX_ARRAY:
        raise LimitError(
            f"{file}: is one JSON array of more than {MAX_ARRAY:,} bytes; write one object a line (.jsonl)"
        )
    try:
        value = json.loads(content)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not valid JSON ({' '.join(str(error).split())[:160]})") from error
    yield from value
