"""Downloads that cannot be tampered with: lists of URLs, hub repositories and archives, verified while they arrive.

Names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.acquire.fetching import FetchReport, Interrupted, fetch
    from bezoar.acquire.http.exchange import Limits, Policy
    from bezoar.acquire.images.options import Reencode
    from bezoar.acquire.lists.reading import Columns, UrlList
    from bezoar.acquire.options import FetchOptions, Retry
    from bezoar.acquire.reasons import Reason, Verdict

__all__ = [
    "Columns",
    "FetchOptions",
    "FetchReport",
    "Interrupted",
    "Limits",
    "Policy",
    "Reason",
    "Reencode",
    "Retry",
    "UrlList",
    "Verdict",
    "fetch",
]

_HOME = {
    "Columns": "lists.reading",
    "FetchOptions": "options",
    "FetchReport": "fetching",
    "Interrupted": "fetching",
    "Limits": "http.exchange",
    "Policy": "http.exchange",
    "Reason": "reasons",
    "Reencode": "images.options",
    "Retry": "options",
    "UrlList": "lists.reading",
    "Verdict": "reasons",
    "fetch": "fetching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
