"""Fetching a repository of the hub: one commit, each file compared with what the pinned tree, a pin or a seal says it is.

Files appear in OUT one by one, each complete and right; `OUT.fetch/` holds what is on its way, what was set aside, and the
record of the commit. Nothing in OUT is taken for right because it is there: it is hashed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.hub.api import Hub
from bezoar.acquire.hub.record import HubRecord
from bezoar.acquire.hub.selection import Refusal, Selection, hold_against, select
from bezoar.acquire.hub.source import HubSource
from bezoar.acquire.hub.tree import TreeFile
from bezoar.acquire.placing import Place
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.run_state import locked, state_folder
from bezoar.acquire.transfers import Arrived, Wanted, transfer
from bezoar.errors import LimitError, OutputError, UsageError, VerificationError
from bezoar.progress import track

if TYPE_CHECKING:
    from bezoar.acquire.sealed_digests import Sealed

RECORD = "hub.json"


@dataclass(frozen=True)
class HubOptions:
    """What of a repository is fetched, and what is known of it beforehand.

    Attributes:
        include: patterns of paths; none: all.
        exclude: patterns of paths that are left out.
        pin: record of an earlier fetch, which says what the commit and its files are.
        sealed: digests of a seal, by whom one trusts.
        max_files: of the repository.
        max_bytes: of the files together.
        attempts: of one file, without progress.

    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    pin: HubRecord | None = None
    sealed: Sealed | None = None
    max_files: int = 5_000_000
    max_bytes: int = 1 << 42
    attempts: int = 5


@dataclass(frozen=True)
class HubReport:
    """What came of a fetch.

    Attributes:
        commit: that OUT is a copy of.
        verified: files that have the SHA-256 that the pin, the seal or the tree (LFS) says.
        by_git: files that have the git object id (SHA-1) that the tree says, where it says no more.
        size: of these, in bytes.
        fetched: how many of them came now; the others were there already.
        replaced: files in OUT that were not what they must be; they were set aside and fetched again.
        rejected: files that are not in OUT, with the reason.
        skipped: files that the seal says nothing of.
        foreign: files in OUT that are not of this repository.
        stray: one in OUT that nothing says is right, so that OUT should not be sealed; None when there is none.

    """

    commit: str
    verified: int
    by_git: int
    size: int
    fetched: int
    replaced: int
    rejected: Sequence[Refusal]
    skipped: int
    foreign: int
    stray: str | None


def fetch_hub(hub: Hub, source: HubSource, out: Path, options: HubOptions | None = None) -> HubReport:
    """Copy the files of `source` at one commit to the folder `out`, resuming what was begun there.

    Files that are not right are set aside and reported, not raised. Raises InputError when the repository cannot be read or its
    listing is malformed or unsafe, VerificationError when a branch has moved since `out` was begun or the hub tells another story
    than before, OutputError when `out` holds something else or cannot be written, LimitError beyond the caps.
    """
    options = options or HubOptions()
    with locked(out):
        record = _pinned(hub, source, out, options)
        selection = _selected(source, record, options)
        total = sum(file.size for file in selection.files)
        if total > options.max_bytes:
            raise LimitError(
                f"{source}: {total:,} bytes; at most {options.max_bytes:,} are fetched; raise --max-total-bytes if that is right"
            )
        place = Place(out)
        run = _Run(hub, source, place, record)
        with track(f"fetch {source.repository}", total) as bar:
            run.fetch(selection.files, options.attempts, bar.advance)
        record.with_digests(run.found).write(state_folder(out) / RECORD)
        return HubReport(
            record.commit,
            run.verified,
            run.by_git,
            run.size,
            run.fetched,
            run.replaced,
            [*selection.refused, *run.rejected],
            selection.skipped,
            len(place.foreign(file.path for file in record.files)),
            _stray(place, run.found, () if options.sealed is not None else record.files),
        )


def _pinned(hub: Hub, source: HubSource, out: Path, options: HubOptions) -> HubRecord:
    """The commit and its files: as the pin says, or as the hub does and did when `out` was begun."""
    path = state_folder(out) / RECORD
    earlier = HubRecord.read(path) if path.exists() else None
    if earlier is None and (out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir())))):
        raise OutputError(f"{out}: exists already and was not fetched from a hub; choose another output path")
    if earlier is not None and (earlier.kind, earlier.repository) != (source.kind, source.repository):
        raise OutputError(f"{out}: holds {earlier.repository}; choose another output path")
    pin = options.pin
    if pin is not None:
        _check_pin(pin, source, earlier, out)
        record = pin
    elif earlier is not None and source.pinned == earlier.commit:
        record = earlier
    else:
        commit = hub.resolve(source)
        revision = source.revision or "main"
        if earlier is not None and commit != earlier.commit:
            raise VerificationError(
                f"{source}: {revision} was commit {earlier.commit} when {out} was begun and is {commit} now; to go on, fetch "
                f"{source}@{earlier.commit}; to have the new one, look at what changed and fetch it into another folder"
            )
        files = hub.tree(source, commit, options.max_files)
        record = HubRecord(source.kind, source.repository, revision, commit, hub.endpoint, files)
        if earlier is not None:
            record = _same(earlier, record, source)
    out.mkdir(parents=True, exist_ok=True)
    record.write(path)
    return record


def _check_pin(pin: HubRecord, source: HubSource, earlier: HubRecord | None, out: Path) -> None:
    if (pin.kind, pin.repository) != (source.kind, source.repository):
        raise UsageError(f"{source}: the pin is of {pin.repository}; give the record of this repository")
    if source.revision not in (None, pin.revision, pin.commit):
        raise UsageError(
            f"{source}: the pin is of {pin.revision} ({pin.commit}), not of {source.revision}; leave out one of them"
        )
    if earlier is not None and earlier.commit != pin.commit:
        raise VerificationError(
            f"{out}: holds commit {earlier.commit}, the pin is of {pin.commit}; choose another output path"
        )


def _same(earlier: HubRecord, now: HubRecord, source: HubSource) -> HubRecord:
    """The earlier record; VerificationError unless the hub lists the same files for the same commit."""
    was, now_there = ({file.path: file for file in record.files} for record in (earlier, now))
    for path in sorted(was.keys() | now_there.keys()):
        before, after = was.get(path), now_there.get(path)
        same = (
            before is not None and after is not None and (before.size, before.oid) == (after.size, after.oid)
        )
        if not same or (after and before and after.sha256 not in (None, before.sha256)):
            raise VerificationError(
                f"{source}: for commit {now.commit} the hub tells another story of {path[:200]!r} than before; a commit cannot "
                "change, do not trust this hub"
            )
    return earlier


def _selected(source: HubSource, record: HubRecord, options: HubOptions) -> Selection:
    files = select(source, record.files, options.include, options.exclude)
    if options.sealed is None:
        return Selection(files)
    whole = not (source.path or options.include or options.exclude)
    return hold_against(options.sealed, files, whole=whole)


def _stray(place: Place, found: Mapping[str, bytes], others: Sequence[TreeFile]) -> str | None:
    """A file of the output that is neither one that was `found` right just now nor, hashed, one of these `others`."""
    by_path = {file.path: file for file in others}
    for path in place.foreign(found):
        file = by_path.get(path)
        if file is None or not place.is_right(path, file.size, file.sha256, file.oid):
            return path
    return None


@dataclass
class _Run:
    """Files on their way into an output."""

    hub: Hub
    source: HubSource
    place: Place
    record: HubRecord
    found: dict[str, bytes] = field(default_factory=dict)
    rejected: list[Refusal] = field(default_factory=list)
    verified: int = 0
    by_git: int = 0
    size: int = 0
    fetched: int = 0
    replaced: int = 0

    def fetch(self, files: Sequence[TreeFile], attempts: int, advance: Callable[[int], None]) -> None:
        """Bring all of them that are not there already."""
        by_path = {file.path: file for file in files}
        for arrived in transfer(
            self.hub.client, self._missing(files, advance), attempts=attempts, on_bytes=advance
        ):
            if arrived.verdict is Verdict.VERIFIED:
                self.place.keep(arrived)
                self.fetched += 1
                self._count(by_path[arrived.wanted.name], arrived.sha256)
            else:
                self._reject(arrived)

    def _missing(self, files: Sequence[TreeFile], advance: Callable[[int], None]) -> Iterator[Wanted]:
        for file in files:
            present, was_wrong = self.place.present(file.path, file.size, file.sha256, file.oid)
            self.replaced += was_wrong
            if present is None:
                yield self._wanted(file)
            else:
                advance(file.size)
                self._count(file, present)

    def _wanted(self, file: TreeFile) -> Wanted:
        digest = (file.sha256 or file.oid).hex()
        name = hashlib.sha256(f"{file.path}\0{digest}".encode()).hexdigest()[:40]
        return Wanted(
            name=file.path,
            url=self.hub.url(self.source, self.record.commit, file.path),
            part=self.place.parts / f"{name}.part",
            max_bytes=file.size,
            size=file.size,
            sha256=file.sha256,
            git_oid=None if file.sha256 is not None else file.oid,
            secret=self.hub.secret,
        )

    def _count(self, file: TreeFile, sha256: bytes) -> None:
        self.found[file.path] = sha256
        self.size += file.size
        if file.sha256 is not None:
            self.verified += 1
        else:
            self.by_git += 1

    def _reject(self, arrived: Arrived) -> None:
        reason, detail = arrived.reason or Reason.HASH_MISMATCH, arrived.detail
        if reason in (
            Reason.HASH_MISMATCH,
            Reason.TOO_LARGE,
        ):  # of others the part stays, and the next fetch goes on from there
            self.place.reject(arrived)
        if arrived.reply is not None and arrived.reply.status in (401, 403):
            detail = f"{detail}; set HF_TOKEN to a token that may read it"
        self.rejected.append(Refusal(arrived.wanted.name, reason, detail))
