"""A server that speaks the hub's API, honest by default; every part of it can be made to lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from acquire.servers import Asked, page, page_404, ranged, redirect

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "fedcba9876543210fedcba9876543210fedcba98"


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def pointer(content: bytes) -> bytes:
    """The LFS pointer file that git keeps in place of the content."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def entry(path: str, content: bytes, *, lfs: bool) -> dict[str, Any]:
    if not lfs:
        return {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
    kept = pointer(content)
    about = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": len(kept)}
    return {"type": "file", "path": path, "size": len(content), "oid": git_oid(kept), "lfs": about}


@dataclass
class HubSite:
    """`files` in git, `lfs` behind a redirect to `cdn`; `sent` replaces what a file's download gives; `refs` by name."""

    files: dict[str, bytes] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, Callable[[Asked], Any]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, COMMIT: COMMIT})
    api: str = "/api/datasets/ann/signs"
    pages: str = "/datasets/ann/signs"
    page_size: int = 2
    token: str | None = None
    cdn: str = ""
    entries: list[dict[str, Any]] | None = None
    raw_link: str | None = None
    denied: int = 0

    def tree(self) -> list[dict[str, Any]]:
        if self.entries is not None:
            return self.entries
        folders = sorted({path.rpartition("/")[0] for path in (*self.files, *self.lfs)} - {""})
        return [
            *({"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders),
            *(entry(path, content, lfs=False) for path, content in self.files.items()),
            *(entry(path, content, lfs=True) for path, content in self.lfs.items()),
        ]

    def __call__(self, asked: Asked) -> Any:
        if self.denied:
            return page(b'{"error":"no"}', self.denied)
        if self.token is not None and asked.headers.get("authorization") != f"Bearer {self.token}":
            return page(b'{"error":"who are you?"}', 401)
        url = urlsplit(asked.target)
        if asked.path.startswith(self.api + "/revision/"):
            sha = self.refs.get(unquote(asked.path.removeprefix(self.api + "/revision/")))
            return (
                page_404(asked) if sha is None else json_page({"id": "ann/signs", "sha": sha, "siblings": []})
            )
        if asked.path.startswith(self.api + "/tree/"):
            return self._listing(asked, parse_qs(url.query))
        head, _, path = asked.path.removeprefix(self.pages + "/resolve/").partition("/")
        if not asked.path.startswith(self.pages + "/resolve/") or head not in self.refs.values():
            return page_404(asked)
        return self._content(asked, unquote(path))

    def _listing(self, asked: Asked, query: Mapping[str, list[str]]) -> bytes:
        start = int(query.get("cursor", ["0"])[0])
        tree = self.tree()
        links = {}
        if start + self.page_size < len(tree):
            host = asked.headers["host"]
            link = f"http://{host}{asked.path}?recursive=true&cursor={start + self.page_size}"
            links = {"link": f'<{self.raw_link or link}>; rel="next"'}
        return json_page(tree[start : start + self.page_size], **links)

    def _content(self, asked: Asked, path: str) -> Any:
        if path in self.sent:
            return self.sent[path](asked)
        if path in self.lfs:
            content = self.lfs[path]
            if self.cdn:
                return redirect(f"{self.cdn}/{hashlib.sha256(content).hexdigest()}?signature=s3cret")
            return ranged(content, etag=f'"{hashlib.sha256(content).hexdigest()}"')(asked)
        if path in self.files:
            return ranged(self.files[path], etag=f'"{git_oid(self.files[path])}"')(asked)
        return page_404(asked)


def json_page(value: Any, **headers: object) -> bytes:
    return page(json.dumps(value).encode(), content_type="application/json", **headers)
