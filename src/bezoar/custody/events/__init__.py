"""Events in the life of a dataset: signed statements in the custody log. Names are loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.custody.events.attesting import Attested, attest
    from bezoar.custody.events.building import Request
    from bezoar.custody.events.event import Event
    from bezoar.custody.events.life import RecordLife
    from bezoar.custody.events.query import Query

__all__ = ["Attested", "Event", "Query", "RecordLife", "Request", "attest"]

_HOME = {
    "Attested": "attesting",
    "Event": "event",
    "Query": "query",
    "RecordLife": "life",
    "Request": "building",
    "attest": "attesting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
