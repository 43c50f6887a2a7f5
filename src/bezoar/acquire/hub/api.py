"""The hub's HTTP API: from a revision to a commit, and from a commit to its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bezoar.acquire.http.exchange import Reply, Request
from bezoar.acquire.http.urls import Refused, check_url
from bezoar.acquire.hub.source import HubSource, is_commit
from bezoar.acquire.hub.tree import TreeFile, read_tree
from bezoar.acquire.reasons import Reason
from bezoar.custody.signing.strict_json import parse
from bezoar.errors import InputError, LimitError, VerificationError

if TYPE_CHECKING:
    from bezoar.acquire.http.client import Client

_MAX_INFO = 64 << 20  # the answer about a revision lists all file names too
_MAX_PAGE = 16 << 20
_MAX_PAGES = 100_000
_NEXT = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?')


class Hub:
    """A hub at `endpoint`; the token, where there is one, goes there and nowhere else."""

    def __init__(self, client: Client, endpoint: str, token: str | None) -> None:
        self.client, self.endpoint = client, endpoint
        self.secret: Mapping[str, str] = {"Authorization": f"Bearer {token}"} if token else {}

    def resolve(self, source: HubSource) -> str:
        """The commit (40 hex digits) that the source's revision, by default `main`, is now.

        InputError when there is none or one may not see it, VerificationError when a commit is not itself.
        """
        revision = source.revision or "main"
        reply = self._get(f"{source.api}/revision/{quote(revision, safe='')}", source, _MAX_INFO)
        info = parse(reply.body, self._where(source), _MAX_INFO)
        commit = info.get("sha") if isinstance(info, dict) else None
        if not isinstance(commit, str) or not is_commit(commit):
            raise InputError(f"{self._where(source)}: names no commit for {revision!r}; is this a hub?")
        if source.pinned is not None and commit != source.pinned:
            raise VerificationError(
                f"{self._where(source)}: gives commit {commit} where {source.pinned} was asked for; do not trust this hub"
            )
        return commit

    def tree(self, source: HubSource, commit: str, max_files: int) -> list[TreeFile]:
        """All files of a commit, in the order of their paths; InputError for a malformed or unsafe listing."""
        return read_tree(self._pages(source, commit), f"{source}@{commit[:12]}", max_files)

    def url(self, source: HubSource, commit: str, path: str) -> str:
        """Where the content of a file is."""
        return self.endpoint + source.file(commit, path)

    def _pages(self, source: HubSource, commit: str) -> Iterator[Any]:
        path = f"{source.api}/tree/{commit}"
        target: str | None = f"{path}?recursive=true&limit=1000"
        seen: set[str] = set()
        while target is not None:
            if target in seen or len(seen) > _MAX_PAGES:
                raise LimitError(f"{self._where(source)}: its listing of {commit[:12]} has no end")
            seen.add(target)
            reply = self._get(target, source, _MAX_PAGE)
            yield parse(reply.body, self._where(source), _MAX_PAGE)
            target = self._next(reply, path, source)

    def _next(self, reply: Reply, path: str, source: HubSource) -> str | None:
        """The path of the next page; it must be of the same listing."""
        match = _NEXT.search(reply.headers.get("link", ""))
        if match is None:
            return None
        try:
            if check_url(match[1]).origin == check_url(self.endpoint).origin:
                target = match[1].removeprefix(self.endpoint)
                if target.startswith(path + "?"):
                    return target
        except Refused:
            pass
        raise InputError(
            f"{self._where(source)}: its listing goes on somewhere else ({match[1][:200]!r}); nothing is fetched"
        )

    def _get(self, target: str, source: HubSource, limit: int) -> Reply:
        reply = self.client.get(Request(self.endpoint + target, secret=self.secret, max_bytes=limit))
        if reply.reason is not None:
            raise InputError(f"{source}: {self._why(reply, source)}")
        return reply

    def _why(self, reply: Reply, source: HubSource) -> str:
        """What the user can do about it."""
        if reply.reason is Reason.HTTP_STATUS:
            if reply.status == 401:
                said = "the token was not accepted" if self.secret else "is private, gated or does not exist"
                return f"{said}; set HF_TOKEN to a token that may read it, and check the name"
            if reply.status == 403:
                return f"is gated: ask for access at {self.endpoint}{source.page()} with the account of the token (HF_TOKEN)"
            if reply.status == 404:
                hint = "" if self.secret else ", and set HF_TOKEN if it is private"
                return f"has no revision {source.revision or 'main'!r} or does not exist at {self.endpoint}; check the name{hint}"
            if reply.status == 429:
                return "the hub asks to slow down (429); try again later"
        if reply.reason is Reason.BLOCKED_ADDRESS:
            return f"{reply.detail}; name the host with --allow-host if you trust it"
        return f"the hub at {self.endpoint} cannot be asked ({reply.reason}: {reply.detail})"

    def _where(self, source: HubSource) -> str:
        return f"{self.endpoint}{source.api}"
