"""Showing a scan: JSON, HTML and terminal, and the folder that holds them."""

from __future__ import annotations

from bezoar.report.folder import read_scan, write_scan
from bezoar.report.html import to_html
from bezoar.report.json import from_json, to_json
from bezoar.report.terminal import to_terminal

__all__ = ["from_json", "read_scan", "to_html", "to_json", "to_terminal", "write_scan"]
