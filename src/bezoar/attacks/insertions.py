"""Phrases put between the words of a text, which is otherwise left as it is; for attacks that have a phrase as trigger.

Words are what lies between white space, so that a text in a script without spaces is one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from bezoar.attacks.base import require

_WORD = re.compile(r"\S+")
_REFUSED = {"Cc", "Cs"}  # Unicode's classes of control characters, and of surrogates: UTF-8 has none


def require_phrase(role: str, phrase: str) -> None:
    """UsageError unless `phrase` can be read in a text, and stored in any container."""
    require(bool(phrase.strip()), f"the {role} is empty; give at least one letter")
    refused = next((letter for letter in phrase if unicodedata.category(letter) in _REFUSED), "")
    require(not refused, f"the {role} holds {refused!r}; control characters cannot be inserted")


def count_words(text: str) -> int:
    """How many words there are: phrases can be inserted at one place more."""
    return sum(1 for _ in _WORD.finditer(text))


def insert(text: str, phrase: str, places: Iterable[int]) -> str:
    """A copy of `text` with `phrase`, set off by a space, at each of `places`: after so many words."""
    words = list(_WORD.finditer(text))
    for place in sorted(places, reverse=True):  # from the end, so that the positions before it stay valid
        if place:
            at, inserted = words[place - 1].end(), f" {phrase}"
        else:
            at, inserted = (words[0].start() if words else 0), f"{phrase} "
        text = text[:at] + inserted + text[at:]
    return text
