"""Times as RFC 3339 texts in UTC, with seconds: `2026-11-25T01:02:03Z`. One instant has one spelling."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bezoar.errors import InputError, UsageError

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


def time_text(time: datetime) -> str:
    """The text of an instant, its fractions of a second dropped; UsageError when it has no time zone."""
    if time.tzinfo is None:
        raise UsageError("a time needs a time zone; give it in UTC")
    return time.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def parse_time(text: object, where: str) -> datetime:
    """The instant that `text` spells; InputError for any other spelling."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise InputError(f"{where}: expected a time such as 2026-11-25T01:02:03Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{where}: {text} is no time ({error})") from error


def now() -> datetime:
    """The present, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
