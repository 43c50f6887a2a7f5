"""One row of a list, and the values of its columns made plain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """What a list says of one record.

    Attributes:
        number: 0-based position in the whole list.
        url: as written; empty where it is missing or the row is malformed.
        caption: None when the list has no captions, "" when only this row has none.
        expected: the digest as written, not yet checked; None where there is none.
        extra: the columns that are carried along, by name.
        problem: why this row cannot be used, one line; empty when it can.

    """

    number: int
    url: str
    caption: str | None = None
    expected: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def text(value: object) -> str | None:
    """A cell as text: strings as they are, bytes (a binary digest) in hexadecimal, null as None."""
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)
