"""Texts as evidence: quoted excerpts with the suspicious span marked. They come from the dataset, so they are hostile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bezoar.report.text import shown

_CONTEXT = 120  # characters on either side of the mark
_LONGEST = 240  # characters of a mark, or of a text without one


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is shown of one text: `before`, `marked` (may be empty) and `after`, without anything that a display obeys."""

    key: str
    label: str
    before: str
    marked: str
    after: str


def excerpts(details: Mapping[str, Any], limit: int) -> tuple[Excerpt, ...]:
    """The first `limit` of `details["examples"]`; what is not {"key", "label", "text", "mark"} is passed over."""
    rows = details.get("examples")
    if not isinstance(rows, list | tuple):
        return ()
    found = (_excerpt(row) for row in rows if isinstance(row, Mapping))
    return tuple(excerpt for excerpt in found if excerpt is not None)[:limit]


def _excerpt(row: Mapping[str, Any]) -> Excerpt | None:
    text = row.get("text")
    if not isinstance(text, str):
        return None
    key, label = shown(str(row.get("key", "")), 80), row.get("label")
    start, end = _span(row.get("mark"), len(text))
    if start == end:
        return Excerpt(key, "" if label is None else shown(str(label), 60), shown(text, _LONGEST), "", "")
    before, after = text[max(0, start - _CONTEXT) : start], text[end : end + _CONTEXT]
    return Excerpt(
        key,
        "" if label is None else shown(str(label), 60),
        ("…" if start > _CONTEXT else "") + shown(before, _CONTEXT),
        shown(text[start:end], _LONGEST),
        shown(after, _CONTEXT) + ("…" if end + _CONTEXT < len(text) else ""),
    )


def _span(mark: Any, length: int) -> tuple[int, int]:
    """Start and end of a mark within the text; (0, 0) where there is none or it makes no sense."""
    if not isinstance(mark, list | tuple) or len(mark) != 2 or not all(type(place) is int for place in mark):
        return 0, 0
    start, end = mark
    return (start, end) if 0 <= start < end <= length else (0, 0)
