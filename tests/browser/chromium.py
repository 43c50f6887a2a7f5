"""Headless Chromium: what it makes of a page, and whom it asks for more."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
BROWSERS_OWN = (".google.com", ".googleapis.com", ".gstatic.com")  # what Chromium asks of its maker by itself

BROWSER = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


def chromium(tmp_path: Path, page: Path, *options: str) -> str:
    """What it prints of a page."""
    assert CHROMIUM
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    argv = [CHROMIUM, *QUIET, profile, "--host-resolver-rules=MAP * ~NOTFOUND", *options, page.as_uri()]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


def save(tmp_path: Path, html: str) -> Path:
    """A page as a file."""
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


def hosts(tmp_path: Path, html: str) -> set[str]:
    """Hosts that Chromium tried to reach while it showed this page."""
    log = tmp_path / "net.json"
    chromium(tmp_path, save(tmp_path, html), "--dump-dom", f"--log-net-log={log}")
    text = log.read_text(encoding="utf-8", errors="replace")
    try:
        events = json.loads(text)["events"]
    except ValueError:  # Chromium may stop before it closes the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    urls = [urlsplit(event.get("params", {}).get("url", "")) for event in events]
    hosts = {url.hostname or "" for url in urls if url.scheme in ("http", "https", "ws", "wss")}
    return {host for host in hosts if not host.endswith(BROWSERS_OWN)}
