"""The report in headless Chromium: it renders, makes no request, and runs no script."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from bezoar.report import to_html
from report.builders import scan_result, trigger_finding
from report.test_html import hostile_result

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

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def _chromium(tmp_path: Path, page: Path, *options: str) -> str:
    assert CHROMIUM
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    argv = [CHROMIUM, *QUIET, profile, "--host-resolver-rules=MAP * ~NOTFOUND", *options, page.as_uri()]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


def _save(tmp_path: Path, html: str) -> Path:
    page = tmp_path / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    dom = _chromium(tmp_path, _save(tmp_path, to_html(hostile_result())), "--dump-dom")
    assert "<title>Poisoned: " in dom
    assert "owned" not in dom.split("</title>")[0]
    assert "<script" not in dom
    assert "onerror=" not in dom.replace("onerror=alert(1)&gt;", "")
    assert dom.count("<main>") == 1


def _hosts(tmp_path: Path, html: str) -> set[str]:
    """Hosts that Chromium tried to reach while it showed this page."""
    log = tmp_path / "net.json"
    _chromium(tmp_path, _save(tmp_path, html), "--dump-dom", f"--log-net-log={log}")
    text = log.read_text(encoding="utf-8", errors="replace")
    try:
        events = json.loads(text)["events"]
    except ValueError:  # Chromium may stop before it closes the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    urls = [urlsplit(event.get("params", {}).get("url", "")) for event in events]
    hosts = {url.hostname or "" for url in urls if url.scheme in ("http", "https", "ws", "wss")}
    return {host for host in hosts if not host.endswith(BROWSERS_OWN)}


def test_makes_no_request(tmp_path: Path) -> None:
    control = '<img src="http://evil.invalid/pixel.png">'
    assert _hosts(tmp_path, control) == {"evil.invalid"}  # the log does show what a page asks for
    assert _hosts(tmp_path, to_html(hostile_result())) == set()


@pytest.mark.parametrize("width", [400, 1200])
def test_renders_without_overflow(tmp_path: Path, width: int) -> None:
    from PIL import Image

    html = to_html(scan_result((trigger_finding(np.arange(0, 30, 3)),)))
    shot = tmp_path / "shot.png"
    _chromium(tmp_path, _save(tmp_path, html), f"--screenshot={shot}", f"--window-size={width},900")
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
        assert image.width == width
    assert colours
    assert len(colours) > 50  # not a blank page
