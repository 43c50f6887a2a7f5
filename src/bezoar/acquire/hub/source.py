"""What is meant by `hf://datasets/OWNER/NAME@REVISION/PATH`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from bezoar.acquire.archives.names import unsafe
from bezoar.errors import UsageError

SCHEME = "hf://"
_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_KINDS = {"datasets": "dataset", "models": "model"}


@dataclass(frozen=True)
class HubSource:
    """A part of a repository.

    Attributes:
        kind: `dataset` or `model`.
        repository: `OWNER/NAME`.
        revision: a branch, tag, `refs/pr/N` or commit; None where none was given.
        path: of a file or folder in it; "" for all.

    """

    kind: str
    repository: str
    revision: str | None
    path: str

    @classmethod
    def parse(cls, text: str) -> HubSource:
        """UsageError when `text` is not of that form."""
        rest = text.removeprefix(SCHEME)
        head, _, below = rest.partition("/")
        kind = _KINDS.get(head)
        if kind is not None:
            rest = below
        elif head == "spaces":
            raise UsageError(f"{text[:200]}: a space holds no data; give hf://datasets/OWNER/NAME")
        match = re.fullmatch(r"([^/@]*)/([^/@]*)(?:@([^/]*))?(?:/(.*))?", rest, re.DOTALL)
        if match is None or not _NAME.fullmatch(match[1]) or not _NAME.fullmatch(match[2]):
            raise UsageError(
                f"{text[:200]}: is no repository; give hf://datasets/OWNER/NAME[@REVISION][/PATH], or hf://OWNER/NAME for a model"
            )
        revision, path = match[3], (match[4] or "").strip("/")
        if revision == "refs":  # refs/pr/3 and refs/convert/parquet are one name
            parts = path.split("/", 2)
            revision, path = "/".join(["refs", *parts[:2]]), parts[2] if len(parts) > 2 else ""
        if revision is not None:
            revision = unquote(revision)
            if not _REVISION.fullmatch(revision) or ".." in revision:
                raise UsageError(
                    f"{text[:200]}: {revision[:80]!r} is no revision; give a branch, a tag or a commit"
                )
        if path and (why := unsafe(path)) is not None:
            raise UsageError(f"{text[:200]}: the path in the repository {why}")
        return cls(kind or "model", f"{match[1]}/{match[2]}", revision, path)

    @property
    def pinned(self) -> str | None:
        """The commit, where the revision is one."""
        return self.revision if self.revision is not None and is_commit(self.revision) else None

    @property
    def api(self) -> str:
        """The path of the repository in the API."""
        return f"/api/{self.kind}s/{self.repository}"

    def page(self) -> str:
        """The path of the repository's page."""
        return f"/datasets/{self.repository}" if self.kind == "dataset" else f"/{self.repository}"

    def file(self, commit: str, path: str) -> str:
        """The path of a file's content at a commit."""
        return f"{self.page()}/resolve/{commit}/{quote(path)}"

    def covers(self, path: str) -> bool:
        """Whether a path of the repository belongs to the part that is meant."""
        return not self.path or path == self.path or path.startswith(self.path + "/")

    def __str__(self) -> str:
        return f"{SCHEME}{'datasets/' if self.kind == 'dataset' else ''}{self.repository}"


def is_commit(text: str) -> bool:
    """Whether this is a whole git commit id."""
    return _COMMIT.fullmatch(text) is not None
