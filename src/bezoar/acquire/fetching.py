"""A list of URLs into shards: every byte is compared with what the list promises before it is kept.

Carlini et al., "Poisoning Web-Scale Training Datasets is Practical" (2023): whoever controls a page, a lapsed domain or the wire
changes what a list of URLs brings. `fetch` keeps what has the listed digest, keeps as `unverified` what has none listed, and sets
aside or rejects everything else, with one reason for each row.

A fetch may be killed at any moment: a shard is there as a whole or not at all, and the same call goes on with the first that is
missing. What is there is not trusted for being there: its stats say what it must be, and the list what these may say.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bezoar.acquire import ray_workers
from bezoar.acquire.foreign import foreign_to_shards, refuse_foreign
from bezoar.acquire.lists.reading import UrlList
from bezoar.acquire.lists.signing import IndexSignature
from bezoar.acquire.options import FetchOptions
from bezoar.acquire.rechecking import Recheck
from bezoar.acquire.replacing import finish_replacing
from bezoar.acquire.run_state import locked, open_run
from bezoar.acquire.shard_fetch import Task
from bezoar.acquire.shards.writers import writer_of
from bezoar.acquire.tally import Tally
from bezoar.acquire.worker import Done, Progress, run_tasks
from bezoar.acquire.workers import Workers
from bezoar.acquire.workplace import Setup, client_of
from bezoar.errors import MissingExtraError, UsageError, VerificationError
from bezoar.progress import track

_DISTRIBUTORS = ("multiprocessing", "ray")


@dataclass(frozen=True)
class FetchReport:
    """What a fetch came to.

    Attributes:
        out: the output.
        state: `OUT.fetch`, with the quarantine in it.
        list_digest: SHA-256 of the list (hex).
        run_id: of the fetch; resumed, it is the same.
        output_format: of the shards.
        tally: of all rows, also of those that an earlier call fetched.
        shards: in the output.
        resumed: of these, how many were there already.
        seconds: of this call.

    """

    out: Path
    state: Path
    list_digest: str
    run_id: str
    output_format: str
    tally: Tally
    shards: int
    resumed: int
    seconds: float

    def refuse_foreign(self) -> None:
        """InputError that names a file in the output that is of none of the shards; before the output is sealed."""
        refuse_foreign(self.out, foreign_to_shards(self.out, self.output_format, self.shards))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a fetch: so many shards are finished and safe."""

    def __init__(self, shards: int, of: int) -> None:
        super().__init__(shards, of)
        self.shards, self.of = shards, of


def fetch(
    source: UrlList,
    out: str | Path,
    options: FetchOptions = FetchOptions(),  # noqa: B008 - frozen
    signed: IndexSignature | None = None,
) -> FetchReport:
    """Fetch what `source` lists into shards in the folder `out`; go on where an earlier call with the same list ended.

    With `signed`, a list that was verified just now, only rows are fetched that are those that were signed.

    Beside `out` comes `OUT.fetch`: the state, and the quarantine. Rows that fail do not raise, they are counted. InputError when
    the list is malformed or `out` was begun with another one or with other options, OutputError when `out` cannot be written or
    another fetch is at work there, VerificationError when the list is not the signed one, UsageError for options that make no
    sense, Interrupted after Ctrl-C.
    """
    out = Path(os.path.normpath(out))
    started = time.monotonic()
    _check(options)
    if signed is not None and signed.digest != source.digest:
        raise VerificationError(
            f"{source.path}: is not the list that was signed; open it and verify it again"
        )
    by = None if signed is None else signed.signer
    shape = options.shape(
        source, by
    )  # reads the list through: a malformed one is refused before anything is written
    with locked(out) as lock:
        state = open_run(out, shape, options)
        finish_replacing(state.staged, state.out)
        setup = Setup(options, state, source.columns.hash_kind, source.extra_schema, by)
        run = _Run(source, setup, signed)
        try:
            run.go(lock)
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # the next call removes them, too
                state.remove_remnants()  # of workers, which end at once
            raise Interrupted(run.finished, run.shards) from None
        finish_replacing(state.staged, state.out)
        return FetchReport(
            out=out,
            state=state.folder,
            list_digest=source.digest,
            run_id=state.run_id,
            output_format=options.output_format,
            tally=run.tally,
            shards=run.finished,
            resumed=run.resumed,
            seconds=time.monotonic() - started,
        )


def default_processes(options: FetchOptions) -> int:
    """One for two cores, which takes 5,000 small pictures a second (benchmarks/fetch.py); where they are decoded, one a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores if options.reencode else max(1, cores // 2), 16)


class _Run:
    """The shards of one call."""

    def __init__(self, source: UrlList, setup: Setup, signed: IndexSignature | None) -> None:
        self._source, self._setup, self._options, self._signed = source, setup, setup.options, signed
        self.rows = len(source)
        self.shards = -(-self.rows // setup.options.per_shard)
        self.tally = Tally()
        self.finished = self.resumed = 0

    def go(self, lock: int) -> None:
        """Fetch what is missing, and what is to be fetched again."""
        with track("fetch", self.rows) as bar:
            self._bar, self._shown = bar, _Shown()
            for event in self._events(lock):
                if isinstance(event, Done):
                    self.tally.add(event.tally)
                    self.finished += 1
                else:
                    self._show(event.tally)

    def _events(self, lock: int) -> Iterator[Progress | Done]:
        if self._options.distributor == "ray":
            with ray_workers.RayWorkers(self._options.processes, self._setup) as cluster:
                yield from cluster.run(self._tasks())
            return
        count = min(self._options.processes or default_processes(self._options), max(self.shards, 1))
        if count == 1:
            yield from run_tasks(self._tasks(), self._setup)
            return
        with Workers(count, self._setup, lock) as workers:
            yield from workers.run(self._tasks())

    def _tasks(self) -> Iterator[Task]:
        """The shards that are not there as a whole, and those of which rows are to be fetched again."""
        recheck = Recheck(self._setup)
        for number, rows in self._source.slices(self._options.per_shard):
            there = self._setup.finished(number)
            listed = rows()
            if self._signed is not None:
                self._signed.check_unchanged()  # after the rows were read: they are the signed ones
            tally = None if there is None else recheck.tally(there, listed)
            again = None if there is None or tally is None else there.failed(self._options.retry)
            if tally is None or again:
                yield Task(number, listed, again)
                continue
            self.tally.add(tally)
            self.finished += 1
            self.resumed += 1
            self._show(tally)

    def _show(self, new: Tally) -> None:
        self._shown.add(new)
        self._bar.advance(new.rows, str(self._shown))


class _Shown:
    """The figures beside the bar."""

    def __init__(self) -> None:
        self._tally, self._since = Tally(), time.monotonic()

    def add(self, new: Tally) -> None:
        self._tally.add(new)

    def __str__(self) -> str:
        tally, seconds = self._tally, max(time.monotonic() - self._since, 1e-3)
        rejected = tally.rows - tally.kept
        rate, size = f"{tally.rows / seconds:,.0f}/s", f"{tally.bytes / 1e6:,.1f} MB"
        kept = f"{tally.verified:,} verified, {tally.unverified:,} unverified"
        return f"{rate}, {size}, {kept}, {rejected:,} rejected ({tally.quarantined:,} quarantined)"


def _check(options: FetchOptions) -> None:
    """UsageError or InputError for what makes no sense, MissingExtraError for what is not installed; nothing is written yet."""
    if options.per_shard < 1:
        raise UsageError(f"{options.per_shard} rows a shard: give at least 1")
    if options.processes is not None and options.processes < 1:
        raise UsageError(f"{options.processes} processes: give at least 1")
    writer_of(options.output_format)
    token = options.policy.token
    if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", token):
        raise UsageError(f"{token!r}: is no user agent token; give up to 64 letters, digits, - and _")
    if options.distributor not in _DISTRIBUTORS:
        raise UsageError(f"no distributor {options.distributor!r}; known: {', '.join(_DISTRIBUTORS)}")
    if find_spec("pycurl") is None:
        raise MissingExtraError("fetching", "fetch")
    if options.distributor == "ray" and find_spec("ray") is None:
        raise MissingExtraError("fetching on a Ray cluster", "ray")
    with client_of(options):
        pass
