"""One shard on its way: rows become requests, replies are judged in any order, what is kept is written in the order of the keys.

Nothing is in the output before the last row of the shard has come to its end; then the shard appears as a whole.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bezoar.acquire.finished import FinishedShard
from bezoar.acquire.http.exchange import Reply, Request
from bezoar.acquire.images.checking import Checked, Problem
from bezoar.acquire.judging import UNASKED, Judgement, judge
from bezoar.acquire.lists.columns import Malformed, digest_of
from bezoar.acquire.quarantine.held import Held, Settled
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.shards.naming import key_of
from bezoar.acquire.shards.provenance import provenance_table
from bezoar.acquire.shards.spool import Spool
from bezoar.acquire.shards.writing import Kept
from bezoar.acquire.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.acquire.lists.reading import Row
    from bezoar.acquire.workplace import Setup, Workplace

_SUCCESS, _NOT_DOWNLOADED, _NOT_RESIZED = "success", "failed_to_download", "failed_to_resize"  # img2dataset's
_STABLE = ("width", "height", "original_width", "original_height", "sha256", "verdict")


@dataclass(frozen=True)
class Task:
    """The rows of one shard. `again`: places of those that are fetched, the others stay as the shard has them. None: all."""

    number: int
    rows: list[Row]
    again: frozenset[int] | None = None


class ShardFetch:
    """The shard of one task, from its first request to its commit."""

    def __init__(self, task: Task, place: Workplace) -> None:
        self.number = task.number
        self._task, self._place = task, place
        self._started = time.time()
        self._provenance: dict[int, dict[str, Any]] = {}
        self._suffix: dict[int, str] = {}  # of what is kept
        self._expected: dict[int, bytes | None] = {}  # of what is asked for
        self._former: dict[int, str] = {}  # SHA-256 of what is in quarantine for rows that are fetched again
        self._settled: list[Settled] = []
        self._spool = Spool(place.setup.state.folder)
        if task.again is not None:
            self._take_over()
        self._sort_rows(range(len(task.rows)) if task.again is None else sorted(task.again))
        self._waiting = len(self._expected)

    @property
    def complete(self) -> bool:
        """Whether every row has come to its end."""
        return self._waiting == 0

    @property
    def known(self) -> Tally:
        """The rows that are not asked for."""
        return self._count(index for index in self._provenance if index not in self._expected)

    def requests(self) -> Iterator[Request]:
        """A request for each row that is to be fetched; its tag is this object and the row's place in the shard."""
        for index in self._expected:
            yield Request(self._task.rows[index].url, tag=(self, index))

    def take(self, index: int, reply: Reply) -> Judgement:
        """Judge the reply to the request for a row: keep it, or say why not."""
        setup = self._place.setup
        row = self._task.rows[index]
        judgement = judge(reply, self._expected[index], setup.hash_kind)
        checked: Checked | None = None
        if judgement.verdict is not Verdict.REJECTED:
            image = self._place.check(reply.body)
            if isinstance(image, Problem):
                judgement = Judgement(Verdict.REJECTED, image.reason, image.detail)
            else:
                checked = image
        found = self._found(index, row, judgement, reply, checked)
        self._provenance[index] = found
        if checked is not None:
            self._spool.put(index, checked.content)
            self._suffix[index] = checked.suffix
            self._settle(index)
        elif judgement.reason is Reason.HASH_MISMATCH:
            self._place.quarantine.put(self._held(row, found), reply.body)
        self._waiting -= 1
        return judgement

    def commit(self) -> Tally:
        """Write the shard; it is there as a whole, or not at all."""
        tally = self._count(self._provenance)
        self._place.quarantine.sync()
        write = self._place.write if self._task.again is None else self._place.rewrite
        write(self.number, self._kept(), self._table(), self._stats(tally))
        for settled in self._settled:
            self._place.quarantine.settle(settled)
        self._spool.close()
        return tally

    def _count(self, indices: Iterable[int]) -> Tally:
        tally = Tally()
        for index in indices:
            found = self._provenance[index]
            tally.count(found["verdict"], found["reason"], found["bytes"])
        return tally

    def _sort_rows(self, indices: Iterable[int]) -> None:
        """Which rows are asked for, and what is known already of those that are not."""
        setup = self._place.setup
        for index in indices:
            expected = asked(self._task.rows[index], setup)
            if isinstance(expected, Judgement):
                self._provenance[index] = self._found(index, self._task.rows[index], expected, None, None)
            else:
                self._expected[index] = expected

    def _take_over(self) -> None:
        """What the finished shard has of the rows that are not fetched again."""
        again = self._task.again or frozenset()
        state, options = self._place.setup.state, self._place.setup.options
        old = FinishedShard(state.out, self.number, options.output_format)
        places = {}
        for index, found in enumerate(old.provenance()):
            places[found["key"]] = index
            if index not in again:
                self._provenance[index] = found
            elif found["reason"] == Reason.HASH_MISMATCH:
                self._former[index] = found["source_sha256"]
        for key, suffix, content in old.contents():
            self._spool.put(places[key], content)
            self._suffix[places[key]] = suffix

    def _found(
        self, index: int, row: Row, judgement: Judgement, reply: Reply | None, checked: Checked | None
    ) -> dict[str, Any]:
        """The provenance of a row."""
        setup = self._place.setup
        found: dict[str, Any] = {
            "key": key_of(self.number, index, setup.options.per_shard),
            "url": row.url,
            "caption": row.caption,
            "status": _status(judgement),
            "error_message": judgement.detail if judgement.reason is not None else None,
            "expected": row.expected,
            "expected_by": setup.expected_by if row.expected else None,
            "verdict": judgement.verdict.value,
            "reason": None if judgement.reason is None else judgement.reason.value,
            "detail": judgement.detail,
            "bytes": 0,
            "shard_id": self.number,
            "run_id": setup.state.run_id,
            "attempts": 0,
        }
        if reply is not None:
            headers = reply.headers
            found |= {
                "http_status": reply.status,
                "final_url": reply.final_url,
                "redirects": list(reply.redirects),
                "peer": reply.peer,
                "tls_verified": reply.tls_verified,
                "fetched": int(reply.fetched * 1e6) if reply.fetched else None,
                "bytes": reply.size,
                "content_type": headers.get("content-type"),
                "etag": headers.get("etag"),
                "last_modified": headers.get("last-modified"),
                "sha256": reply.sha256.hex() if reply.reason is None else None,
                "source_sha256": reply.sha256.hex() if reply.reason is None else None,
                "attempts": reply.attempts,
            }
        if checked is not None and reply is not None:
            same = checked.content is reply.body
            found |= {
                "width": checked.width,
                "height": checked.height,
                "original_width": checked.original_width,
                "original_height": checked.original_height,
                "stored_sha256": found["sha256"] if same else hashlib.sha256(checked.content).hexdigest(),
            }
        return found

    def _kept(self) -> Iterator[Kept]:
        """What is kept, in the order of the keys."""
        for index in sorted(self._suffix):
            row, found = self._task.rows[index], self._provenance[index]
            content, suffix = self._spool.get(index), self._suffix[index]
            yield Kept(found["key"], row, content, suffix, stable_fields(found))

    def _table(self) -> pa.Table:
        """The provenance of all rows, in their order."""
        rows = self._task.rows
        ordered = [self._provenance[index] for index in range(len(rows))]
        return provenance_table(ordered, self._place.setup.extra_schema, [row.extra for row in rows])

    def _held(self, row: Row, found: dict[str, Any]) -> Held:
        """What a quarantine keeps of a row beside the bytes."""
        return Held(
            key=found["key"],
            url=row.url,
            reason=Reason.HASH_MISMATCH,
            detail=found["detail"],
            expected=row.expected,
            expected_by=found["expected_by"],
            sha256=found["sha256"],
            size=found["bytes"],
            fetched=(found["fetched"] or 0) / 1e6,
            status=found["http_status"],
            final_url=found["final_url"],
            redirects=tuple(found["redirects"]),
            peer=found["peer"],
            tls_verified=found["tls_verified"],
            content_type=found["content_type"] or "",
            run_id=found["run_id"],
            row=row.number,
            caption=row.caption,
            extra=row.extra,
            fields=stable_fields(found),
        )

    def _settle(self, index: int) -> None:
        """What came wrong the last time and right now is not in quarantine any more."""
        if index in self._former:
            key = self._provenance[index]["key"]
            settled = Settled(key, self._former[index], "refetched", "came as expected", time.time())
            self._settled.append(settled)

    def _stats(self, tally: Tally) -> dict[str, Any]:
        """img2dataset's figures, and ours."""
        end = time.time()
        states = Counter(found["status"] for found in self._provenance.values())
        messages = Counter(found["error_message"] or _SUCCESS for found in self._provenance.values())
        return {
            "count": len(self._provenance),
            "successes": states[_SUCCESS],
            "failed_to_download": states[_NOT_DOWNLOADED],
            "failed_to_resize": states[_NOT_RESIZED],
            "duration": end - self._started,
            "start_time": self._started,
            "end_time": end,
            "status_dict": dict(messages),
            "tally": tally.as_json(),
        }


def asked(row: Row, setup: Setup) -> bytes | Judgement | None:
    """The digest that a row's content must have (None: it has none), or why the row is not asked for."""
    if row.problem:
        return Judgement(Verdict.REJECTED, Reason.BAD_URL, row.problem)
    try:
        expected = digest_of(row.expected, setup.hash_kind)
    except Malformed as error:
        return Judgement(Verdict.REJECTED, Reason.HASH_MALFORMED, str(error))
    return UNASKED if expected is None and setup.options.require_hash else expected


def stable_fields(found: dict[str, Any]) -> dict[str, Any]:
    """What a sample's JSON says beside its row: it is the same whenever and however often the row is fetched."""
    return {name: found.get(name) for name in _STABLE}


def _status(judgement: Judgement) -> str:
    if judgement.reason is None:
        return _SUCCESS
    return _NOT_RESIZED if judgement.reason is Reason.DECODE_ERROR else _NOT_DOWNLOADED
