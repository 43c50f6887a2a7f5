"""The table of what was tried: what was expected and what came."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field


def note(text: str) -> None:
    """A line about what is going on, to standard error."""
    if text:
        sys.stderr.write(f"{text}\n")


@dataclass(frozen=True)
class Row:
    what: str
    party: str
    expected: str
    found: str

    @property
    def holds(self) -> bool:
        return self.expected == self.found


@dataclass
class Table:
    """Rows under headings."""

    parts: list[tuple[str, list[Row]]] = field(default_factory=list)

    def heading(self, text: str) -> None:
        self.parts.append((text, []))
        note(f"... {text}")

    def row(self, what: str, party: str, expected: str, found: str) -> None:
        self.parts[-1][1].append(Row(what, party, expected, found))

    @property
    def rows(self) -> list[Row]:
        return [row for _, rows in self.parts for row in rows]

    @property
    def holds(self) -> bool:
        return bool(self.rows) and all(row.holds for row in self.rows)

    def text(self) -> str:
        widths = [max(len(value) for value in column) for column in zip(*(
            (row.what, row.party, row.expected, row.found) for row in self.rows
        ), strict=True)]  # fmt: skip
        lines = []
        for heading, rows in self.parts:
            lines += ["", heading, "-" * len(heading)]
            for row in rows:
                cells = zip((row.what, row.party, row.expected, row.found), widths, strict=True)
                mark = "ok" if row.holds else "MISMATCH"
                lines.append("  ".join(text.ljust(width) for text, width in cells) + f"  {mark}")
        wrong = sum(not row.holds for row in self.rows)
        lines += ["", f"{len(self.rows)} checks, {wrong} mismatches"]
        return "\n".join(lines[1:])
