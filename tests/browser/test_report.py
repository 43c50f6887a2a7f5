"""The report in headless Chromium: it renders, makes no request, and runs no script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bezoar.report import to_html
from browser.chromium import BROWSER, chromium, hosts, save
from report.builders import scan_result, trigger_finding
from report.test_html import hostile_result

pytestmark = BROWSER


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    dom = chromium(tmp_path, save(tmp_path, to_html(hostile_result())), "--dump-dom")
    assert "<title>Poisoned: " in dom
    assert "owned" not in dom.split("</title>")[0]
    assert "<script" not in dom
    assert "onerror=" not in dom.replace("onerror=alert(1)&gt;", "")
    assert dom.count("<main>") == 1


def test_makes_no_request(tmp_path: Path) -> None:
    control = '<img src="http://evil.invalid/pixel.png">'
    assert hosts(tmp_path, control) == {"evil.invalid"}  # the log does show what a page asks for
    assert hosts(tmp_path, to_html(hostile_result())) == set()


@pytest.mark.parametrize("width", [400, 1200])
def test_renders_without_overflow(tmp_path: Path, width: int) -> None:
    from PIL import Image

    html = to_html(scan_result((trigger_finding(np.arange(0, 30, 3)),)))
    shot = tmp_path / "shot.png"
    chromium(tmp_path, save(tmp_path, html), f"--screenshot={shot}", f"--window-size={width},900")
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
        assert image.width == width
    assert colours
    assert len(colours) > 50  # not a blank page
