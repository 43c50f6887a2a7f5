"""Parts of generated pages: Markdown in which nothing that comes from outside is alive."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from bezoar.report.text import percent, shown


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Cells as they are: make them `inert` first."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def inert(words: str) -> str:
    """Untrusted words inert in Markdown and in HTML, also within a table."""
    return re.sub(r"([\\`*_{}\[\]|~$#!])", r"\\\1", escape(shown(words, 300), quote=False))


def code(words: str) -> str:
    """For within backquotes: such as a version."""
    return re.sub(r"[^\w.+-]", "?", words)


def share(value: dict[str, Any] | None) -> str:
    """`97.0 % [91.2, 99.1]`."""
    if value is None:
        return ""
    low, high = (percent(value[end]).removesuffix(" %") for end in ("low", "high"))
    return f"{percent(value['value'])} [{escape(low)}, {escape(high)}]"
