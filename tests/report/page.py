"""A page as its elements, attributes and text, and what every page of Bezoar keeps to."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects the elements, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


_PAIRED = [
    "main",
    "section",
    "article",
    "details",
    "table",
    "figure",
    "ul",
    "dl",
    "p",
    "blockquote",
    "mark",
    "bdi",
    "span",
    "svg",
]
_BANNED = {"script", "iframe", "object", "embed", "a", "form", "base"}


def assert_inert(html: str) -> None:
    """No element that acts, no handler, no address, nothing that a display would obey."""
    for tag, attributes in Page(html).elements:
        assert tag not in _BANNED
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\ud800-\udfff\x00\x1b]", html)
    html.encode("utf-8")


def assert_asks_for_nothing(html: str) -> None:
    """A policy that forbids scripts and requests, and a style sheet without addresses."""
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "script-src" not in policy[1]
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def assert_well_formed(html: str) -> None:
    """Every element that is opened is closed."""
    for element in _PAIRED:
        opened, closed = len(re.findall(rf"<{element}[ >]", html)), html.count(f"</{element}>")
        assert opened == closed, element
