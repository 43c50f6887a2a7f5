"""The report of an inspection in headless Chromium: it renders, makes no request, and runs no script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bezoar.report.inspection_html import inspection_to_html
from browser.chromium import BROWSER, chromium, hosts, save
from report.inspection_builders import backdoor, inspection, shortcut
from report.test_inspection_html import hostile_inspection

pytestmark = BROWSER


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    dom = chromium(tmp_path, save(tmp_path, inspection_to_html(hostile_inspection())), "--dump-dom")
    assert "<title>Backdoored: " in dom
    assert "owned" not in dom.split("</title>")[0]
    assert "<script" not in dom
    assert "onerror=" not in dom.replace("onerror=alert(1)&gt;", "")
    assert dom.count("<main>") == 1


def test_makes_no_request(tmp_path: Path) -> None:
    assert hosts(tmp_path, inspection_to_html(hostile_inspection())) == set()


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("K", [2, 1000])
def test_renders_without_overflow_and_draws_the_labels(tmp_path: Path, width: int, K: int) -> None:
    names = tuple(f"a label with a long name {n}" for n in range(K))
    html = inspection_to_html(inspection((backdoor(), shortcut(target=0, sources=(1,))), names=names))
    shot = tmp_path / "shot.png"
    chromium(tmp_path, save(tmp_path, html), f"--screenshot={shot}", f"--window-size={width},4000")
    with Image.open(shot) as image:
        pixels = np.array(image.convert("RGB"))
    assert pixels.shape[1] == width
    red = (pixels == (179, 38, 30)).all(2)  # the bar and the ticks of the target, the bar of its success
    assert red.sum() > 1_000
    outer = pixels[:, -10:]  # nothing sticks out to the right of the page's margin
    assert len(np.unique(outer.reshape(-1, 3), axis=0)) == 1
