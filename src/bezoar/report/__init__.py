"""Showing a scan: JSON, SARIF, HTML and terminal, and the folder that holds them.

The names are loaded on first use: the command line needs `report.text` alone for its one-line errors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bezoar.report.folder import read_scan, write_scan
    from bezoar.report.html import to_html
    from bezoar.report.json import from_json, to_json
    from bezoar.report.sarif import to_sarif
    from bezoar.report.terminal import to_terminal

__all__ = ["from_json", "read_scan", "to_html", "to_json", "to_sarif", "to_terminal", "write_scan"]

_HOME = {
    "from_json": "bezoar.report.json",
    "read_scan": "bezoar.report.folder",
    "to_html": "bezoar.report.html",
    "to_json": "bezoar.report.json",
    "to_sarif": "bezoar.report.sarif",
    "to_terminal": "bezoar.report.terminal",
    "write_scan": "bezoar.report.folder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
