"""Records that left under one key and came back under another: where the folder is the label, that is how one is relabelled."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bezoar.custody.seal.diffing import Difference
from bezoar.custody.seal.manifest import Row

MAX_REMEMBERED = 100_000  # removed records, and added ones


class Moves:
    """Pairs removed with added records of the same content, in the order of their keys, in bounded memory."""

    def __init__(self) -> None:
        self.complete = True  # False once there were more records than are remembered
        self._removed: list[Row] = []
        self._added: list[Row] = []

    def add(self, difference: Difference) -> None:
        """Take note of a record that came or went; others are no moves."""
        if difference.before is not None and difference.after is not None:
            return
        rows, row = (
            (self._removed, difference.before) if difference.before else (self._added, difference.after)
        )
        if row is None or len(rows) >= MAX_REMEMBERED:
            self.complete = False
        else:
            rows.append(row)

    def pairs(self) -> Iterator[tuple[Row, Row]]:
        """Each record that moved, as it was and as it is now."""
        by_content: dict[bytes, deque[Row]] = {}
        for row in self._added:
            by_content.setdefault(row.sha256, deque()).append(row)
        for row in self._removed:
            if arrived := by_content.get(row.sha256):
                yield row, arrived.popleft()
