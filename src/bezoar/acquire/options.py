"""What a fetch is asked for, and which of it decides what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.http.exchange import Limits, Policy
from bezoar.acquire.http.proxies import check_proxy
from bezoar.acquire.images.options import Reencode
from bezoar.acquire.quarantine.store import Cap
from bezoar.acquire.reasons import Reason

if TYPE_CHECKING:
    from bezoar.acquire.lists.reading import UrlList

_MAY_PASS = frozenset({Reason.CONNECTION, Reason.DEADLINE, Reason.TLS, Reason.TRUNCATED})
_MAY_PASS_STATUS = frozenset({408, 425, 429})  # and all from 500 on
_NEVER_ASKED = frozenset({Reason.HASH_MALFORMED, Reason.HASH_MISSING})


class Retry(StrEnum):
    """Which rows of finished shards are fetched again."""

    NOTHING = "nothing"
    PASSING = "passing"  # those that failed for a reason that may pass by itself
    ALL = "all"  # every row that is not kept

    def covers(self, reason: str | None, status: int | None) -> bool:
        """Whether a row that failed in this way is asked for again."""
        if self is Retry.NOTHING or reason is None or reason in _NEVER_ASKED:
            return False
        if self is Retry.ALL or reason in _MAY_PASS:
            return True
        passing = status is not None and (status >= 500 or status in _MAY_PASS_STATUS)
        return reason == Reason.HTTP_STATUS and passing


@dataclass(frozen=True)
class FetchOptions:
    """How a list is fetched. UsageError for a proxy that is none.

    Attributes:
        output_format: `webdataset`, `parquet`, `files`, or `dummy`, which writes nothing.
        per_shard: rows of the list in one shard.
        distributor: `multiprocessing`, processes of this machine; or `ray`, workers of a cluster that all see the output.
        processes: that fetch at a time, each with its own connections; None: chosen for this machine, or the whole cluster.
        limits: of each request; connections are those of one process.
        policy: where one may connect to, and whose wishes are respected.
        images: which are too small, too large or too long to be kept, and how they are encoded anew.
        reencode: decode them, in processes that may do nothing else, and encode them anew; else the bytes are kept as they came.
        require_hash: rows without an expected hash are rejected, and not asked for.
        proxy: URL of a proxy for all requests.
        ca_file: certificates that are trusted instead of the system's (PEM).
        cap: of the quarantine.
        retry: which rows of finished shards are fetched again.

    """

    output_format: str = "webdataset"
    per_shard: int = 10_000
    distributor: str = "multiprocessing"
    processes: int | None = None
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    images: Reencode = field(default_factory=Reencode)
    reencode: bool = False
    require_hash: bool = False
    proxy: str | None = None
    ca_file: Path | None = None
    cap: Cap = field(default_factory=Cap)
    retry: Retry = Retry.NOTHING

    def __post_init__(self) -> None:
        if self.proxy is not None:
            check_proxy(self.proxy)

    def shape(self, source: UrlList, expected_by: str | None) -> dict[str, Any]:
        """What must stay as it is for as long as an output is added to."""
        columns = source.columns
        return {
            "list": source.digest,
            "rows": len(source),
            "url column": columns.url,
            "caption column": columns.caption,
            "hash column": columns.hash,
            "hash kind": columns.hash_kind,
            "additional columns": list(columns.extra),
            "output format": self.output_format,
            "rows a shard": self.per_shard,
            **self._images(),
            "required hashes": self.require_hash,
            "signer of the list": expected_by,
        }

    def _images(self) -> dict[str, Any]:
        members = {name: str(value) for name, value in asdict(self.images).items()}
        bounds = ("min_size", "max_area", "max_aspect_ratio")
        pinned = members if self.reencode else {name: members[name] for name in bounds}
        return {"re-encoding": self.reencode, **{name.replace("_", " "): pinned[name] for name in pinned}}

    def admission(self) -> dict[str, Any]:
        """What decides which rows come in; a retry of failed rows may change it."""
        return {
            "largest body": self.limits.max_bytes,
            "redirects": self.limits.max_redirects,
            "allowed hosts": sorted(self.policy.allowed),
            "disallowed directives": sorted(self.policy.opt_outs),
            "user agent token": self.policy.token,
        }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first thing in which two pinned sets differ, for a person; None when they agree."""
    for name in (*now, *before):
        was, wanted = before.get(name), now.get(name)
        if was != wanted:
            return f"{name}: {_said(was)}, now {_said(wanted)}"
    return None


def _said(value: Any) -> str:
    if value is None or value == []:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
