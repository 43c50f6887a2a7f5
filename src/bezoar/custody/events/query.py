"""Which records an event is about: conditions joined by commas, all of which hold.

```
key=GLOB   label=NAME   source.COLUMN=GLOB   origin=GLOB
```
A GLOB is compared with the whole text, letter case counts: `*` any characters (also `/`), `?` one, `[abc]` one of these. A label
is a name, not a pattern. There is no escaping: a comma in a pattern is written `?`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate

from bezoar.errors import UsageError

MAX_QUERY = 4096  # characters
_SOURCE = "source."
_GRAMMAR = "key=GLOB, label=NAME, source.COLUMN=GLOB, origin=GLOB, joined by commas"


@dataclass(frozen=True)
class _Condition:
    field: str
    text: str
    pattern: re.Pattern[str] | None  # None: the text itself, a label

    def holds(self, value: str | None) -> bool:
        if value is None:
            return False
        return value == self.text if self.pattern is None else self.pattern.match(value) is not None


@dataclass(frozen=True)
class Query:
    """A parsed query; `text` is how it was written."""

    text: str
    conditions: tuple[_Condition, ...]

    @classmethod
    def parse(cls, text: str) -> Query:
        """The query that `text` spells; UsageError when it is malformed."""
        if not text or len(text) > MAX_QUERY:
            raise UsageError(f"a query of records has 1 to {MAX_QUERY} characters: {_GRAMMAR}")
        conditions = tuple(_condition(part, text) for part in text.split(","))
        fields = [condition.field for condition in conditions]
        if twice := next((field for field in fields if fields.count(field) > 1), None):
            raise UsageError(
                f"query {text[:80]!r}: {twice[:40]} is asked for twice; all conditions must hold"
            )
        return cls(text, conditions)

    def matches(
        self, key: str, label: str | None, source: Mapping[str, str], origins: Iterable[str] = ()
    ) -> bool:
        """Whether a record meets all conditions; a label, column or origin that it does not have meets none.

        Of several origins, which a record has that was made from others, one has to meet the condition.
        """
        return all(
            any(map(condition.holds, _values(condition.field, key, label, source, origins)))
            for condition in self.conditions
        )


def _condition(part: str, query: str) -> _Condition:
    field, equals, text = part.partition("=")
    known = field in ("key", "label", "origin") or (field.startswith(_SOURCE) and field != _SOURCE)
    if not known or not equals or not text:
        raise UsageError(f"query {query[:80]!r}: {part[:60]!r} is no condition; write {_GRAMMAR}")
    if field == "label":
        return _Condition(field, text, None)
    try:
        return _Condition(field, text, re.compile(translate(text)))
    except re.error as error:
        raise UsageError(f"query {query[:80]!r}: {text[:60]!r} is no pattern ({error})") from error


def _values(
    field: str, key: str, label: str | None, source: Mapping[str, str], origins: Iterable[str]
) -> Iterable[str | None]:
    if field == "origin":
        return origins
    if field == "key":
        return (key,)
    return (label,) if field == "label" else (source.get(field.removeprefix(_SOURCE)),)
