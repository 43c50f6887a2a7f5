"""Letting a row out of quarantine: a person says why, signs it, and the record goes where the fetch would have put it.

Its shard is written anew, with the record in the place that its key gives it, and replaces the old one; then the dataset is
sealed and the log is told. Killed at any moment, the same call completes what is missing. The row stays `unverified`: nobody
but the person vouches for it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.custody import Released, seal_and_log
from bezoar.acquire.finished import FinishedShard
from bezoar.acquire.foreign import foreign_to_shards, refuse_foreign
from bezoar.acquire.images.checking import Checked, Problem, check
from bezoar.acquire.lists.rows import Row
from bezoar.acquire.quarantine.held import RELEASED, Held, Releasing, Settled, Stored
from bezoar.acquire.quarantine.store import Quarantine
from bezoar.acquire.reasons import Verdict
from bezoar.acquire.replacing import finish_replacing, replacement
from bezoar.acquire.run_state import RunState, locked, pinned
from bezoar.acquire.shard_fetch import stable_fields
from bezoar.acquire.shards.naming import shard_name
from bezoar.acquire.shards.provenance import PROVENANCE_FOLDER, PROVENANCE_SCHEMA, provenance_table
from bezoar.acquire.shards.spool import Spool
from bezoar.acquire.shards.stats import is_complete, read_stats
from bezoar.acquire.shards.writers import writer_of
from bezoar.acquire.shards.writing import Kept, ShardWriter
from bezoar.acquire.tally import Tally
from bezoar.errors import InputError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.acquire.images.options import Reencode
    from bezoar.custody.seal.reading import Seal
    from bezoar.custody.signing.signers import Signer
    from bezoar.custody.tlog.log import CustodyLog
    from bezoar.custody.tlog.note import NoteSigner


@dataclass(frozen=True)
class Release:
    """What was released, and the seal of the dataset that holds it."""

    released: tuple[Held, ...]
    seal: Seal


def release(
    out: Path, names: Sequence[str], reason: str, signer: Signer, *, log: CustodyLog, log_signer: NoteSigner
) -> Release:
    """Put the entries `names` (keys, or SHA-256 of what came) into the output `out`, seal it and log the release.

    InputError, and nothing is changed, when a name is in no entry or in several, when an entry has no bytes, when these are no
    picture that a fetch would keep, or when `out` holds a file that the fetch did not bring.
    """
    if not reason.strip():
        raise UsageError("a release says why; give a reason")
    run = _Run.of(out)
    with locked(out):
        state = RunState(out, "")
        finish_replacing(state.staged, out)
        store = Quarantine.at(state.quarantine)
        there = store.entries()
        entries = list({each.identity: each for each in (named(there, name, out) for name in names)}.values())
        if len({entry.key for entry in entries}) < len(entries):
            raise UsageError("two of the entries are of the same row of the list; a row has one picture")
        images = {entry.key: _image(entry, store, run) for entry in entries}
        refuse_foreign(out, foreign_to_shards(out, run.output_format, -(-run.rows // run.per_shard)))
        _put_back(out, state, store, run, {entry.key: entry for entry in entries}, images, reason)
        seal = seal_and_log(
            out, signer, log=log, log_signer=log_signer, origin=f"released from {store.folder.parent.name}",
            reason=reason, releases={entry.key: Released(entry.sha256, reason) for entry in entries},
        )  # fmt: skip
        for entry in entries:
            store.settle(Settled(entry.key, entry.sha256, RELEASED, reason, time.time()))
    return Release(tuple(entries), seal)


def named(entries: Sequence[Held], name: str, out: Path) -> Held:
    """The one entry that `name` (its key, or the SHA-256 of what came) means."""
    found = [entry for entry in entries if name in (entry.key, entry.sha256)]
    if not found:
        raise InputError(
            f"{out}: has no entry {name[:100]!r} in quarantine; `bezoar quarantine ls` lists them"
        )
    if len(found) > 1:
        which = ", ".join(
            sorted({entry.key if name == entry.sha256 else entry.sha256 for entry in found})[:4]
        )
        raise InputError(
            f"{out}: {len(found)} entries in quarantine are called {name[:100]!r}; say which: {which}"
        )
    return found[0]


@dataclass(frozen=True)
class _Run:
    """How the fetch lays its output out, and which pictures it keeps."""

    rows: int
    per_shard: int
    output_format: str
    images: Reencode
    reencode: bool

    @classmethod
    def of(cls, out: Path) -> _Run:
        """As `run.json` has it."""
        shape = pinned(out)["shape"]
        try:
            rows, per_shard, form, reencode = (
                shape[name] for name in ("rows", "rows a shard", "output format", "re-encoding")
            )
            if (
                not all(type(each) is int and each > 0 for each in (rows, per_shard))
                or type(reencode) is not bool
            ):
                raise ValueError("its rows, its rows a shard or its re-encoding")
            return cls(rows, per_shard, writer_of(form).name, _images(shape), reencode)
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise InputError(f"{out}: run.json of its fetch is malformed ({error})") from error


def _images(shape: Mapping[str, Any]) -> Reencode:
    """The options of pictures that decided the result; `FetchOptions.shape` wrote them as texts."""
    from bezoar.acquire.images.options import Reencode

    read: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": "True".__eq__, "str": str}
    given: dict[str, Any] = {}
    for each in fields(Reencode):
        text = shape.get(each.name.replace("_", " "))
        if text is not None:
            given[each.name] = read[str(each.type)](text)
    return Reencode(**given)


def _image(entry: Held, store: Quarantine, run: _Run) -> Checked:
    """What came, as the dataset keeps pictures."""
    if entry.stored is not Stored.KEPT:
        raise InputError(
            f"{entry.key}: its bytes were not kept ({entry.stored.value}); fetch it again instead"
        )
    made = _made(store.content(entry.sha256), run)
    if isinstance(made, Problem):
        raise InputError(
            f"{entry.key}: is no picture that a fetch would keep ({made.detail}); it stays in quarantine"
        )
    return made


def _made(content: bytes, run: _Run) -> Checked | Problem:
    from bezoar.acquire.images.options import unsuitable

    if run.reencode:
        from bezoar.acquire.images.workshop import Workshop

        with Workshop(run.images, workers=1) as workshop:
            return workshop.reencode(content)
    image = check(content)
    if isinstance(image, Checked) and (why := unsuitable(image.width, image.height, run.images)):
        return Problem(why)
    return image


def _put_back(
    out: Path,
    state: RunState,
    store: Quarantine,
    run: _Run,
    entries: Mapping[str, Held],
    images: Mapping[str, Checked],
    reason: str,
) -> None:
    """Write anew each shard that lacks one of the entries."""
    shards: dict[int, list[Held]] = {}
    for entry in entries.values():
        if entry.row is None:
            raise InputError(f"{entry.key}: its row in the list is not known; it cannot be put back")
        shards.setdefault(entry.row // run.per_shard, []).append(entry)
    writer = writer_of(run.output_format, run.images.encode_format if run.reencode else "jpg")
    for number, chosen in sorted(shards.items()):
        if not is_complete(out, number, writer):
            raise InputError(
                f"{out}: shard {shard_name(number)} is missing or damaged; run the fetch again, then the release"
            )
        shard = _Shard(FinishedShard(out, number, run.output_format), run.per_shard, chosen)
        if shard.lacks(chosen):
            for entry in chosen:
                store.begin_release(Releasing(entry.key, entry.sha256))
            shard.rewrite(state, writer, {entry.key: images[entry.key] for entry in chosen}, entries, reason)


class _Shard:
    """A finished shard that gets further records."""

    def __init__(self, old: FinishedShard, per_shard: int, entries: Sequence[Held]) -> None:
        self._old, self._first = old, old.number * per_shard
        self._table = _provenance(old)
        self._found: list[dict[str, Any]] = self._table.to_pylist()
        known = {name for entry in entries for name in entry.extra}
        columns = self._table.schema.names[len(PROVENANCE_SCHEMA) :]
        self._listed = {name: name if name in known else _listed(name) for name in columns}
        self._place = {found["key"]: place for place, found in enumerate(self._found)}

    def lacks(self, entries: Sequence[Held]) -> bool:
        """Whether one of the entries is not kept in it; a release that was killed may have put it there."""
        for entry in entries:
            found = self._found[self._place[entry.key]] if entry.key in self._place else {}
            if found.get("url") != entry.url:
                raise InputError(f"{self._old.folder}: has no row {entry.key!r} with the URL of the entry")
        rows = [(self._found[self._place[entry.key]], entry) for entry in entries]
        kept = [
            (found["source_sha256"] == entry.sha256, entry.key)
            for found, entry in rows
            if found["status"] == "success"
        ]
        if other := next((key for same, key in kept if not same), None):
            raise InputError(
                f"{self._old.folder}: holds another picture as {other!r}; its entry in quarantine is out of date"
            )
        return len(kept) < len(rows)

    def rewrite(
        self,
        state: RunState,
        writer: ShardWriter,
        images: Mapping[str, Checked],
        entries: Mapping[str, Held],
        reason: str,
    ) -> None:
        """The shard with these pictures in it, over the old one."""
        for key, image in images.items():
            self._found[self._place[key]] |= _released(entries[key], image, reason)
        number = self._old.number
        with Spool(state.folder) as spool, replacement(state.staged, state.out, number) as folder:
            suffixes = {}
            for key, suffix, content in self._old.contents():
                spool.put(key, content)
                suffixes[key] = suffix
            for key, image in images.items():
                spool.put(key, image.content)
                suffixes[key] = image.suffix
            rows = [self._row(place) for place in range(len(self._found))]
            provenance = provenance_table(self._found, self._extra(), [row.extra for row in rows])
            writer.write(folder, number, self._kept(spool, suffixes), provenance, self._stats())

    def _kept(self, spool: Spool, suffixes: Mapping[str, str]) -> Iterator[Kept]:
        for key in sorted(suffixes, key=self._place.__getitem__):
            place = self._place[key]
            yield Kept(
                key, self._row(place), spool.get(key), suffixes[key], stable_fields(self._found[place])
            )

    def _row(self, place: int) -> Row:
        """The row of the list, as the provenance has it."""
        found = self._found[place]
        extra = {listed: found[name] for name, listed in self._listed.items()}
        return Row(self._first + place, found["url"], found["caption"], found["expected"], extra)

    def _extra(self) -> pa.Schema:
        """The list's further columns, under the names that they have there."""
        import pyarrow as pa

        return pa.schema(
            [self._table.schema.field(name).with_name(listed) for name, listed in self._listed.items()]
        )

    def _stats(self) -> dict[str, Any]:
        """The old figures, with the rows counted anew."""
        tally = Tally()
        for found in self._found:
            tally.count(found["verdict"], found["reason"], found["bytes"])
        states = [found["status"] for found in self._found]
        names = ("failed_to_download", "failed_to_resize")
        before = read_stats(self._old.folder, self._old.number) or {}
        return {
            **{name: value for name, value in before.items() if name not in ("files", "output_format")},
            "successes": states.count("success"),
            **{name: states.count(name) for name in names},
            "tally": tally.as_json(),
        }


def _released(entry: Held, image: Checked, reason: str) -> dict[str, Any]:
    """What the provenance says of a row from now on."""
    return {
        "status": "success",
        "error_message": None,
        "verdict": Verdict.UNVERIFIED.value,
        "reason": None,
        "detail": f"released from quarantine ({entry.reason.value}): {reason}",
        "width": image.width,
        "height": image.height,
        "original_width": image.original_width,
        "original_height": image.original_height,
        "stored_sha256": hashlib.sha256(image.content).hexdigest(),
        "sha256": entry.sha256,
        "source_sha256": entry.sha256,
        "bytes": entry.size,
    }


def _provenance(shard: FinishedShard) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = shard.folder / PROVENANCE_FOLDER if shard.output_format == "parquet" else shard.folder
    path = folder / f"{shard.name}.parquet"
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if table.schema.names[: len(PROVENANCE_SCHEMA)] != PROVENANCE_SCHEMA.names:
        raise InputError(f"{path}: is not the provenance of a fetch of this version")
    return table


def _listed(name: str) -> str:
    """`list_width` is the list's own `width`, whose name was taken."""
    while (
        name.startswith("list_")
        and name.removeprefix("list_").removeprefix("list_") in PROVENANCE_SCHEMA.names
    ):
        name = name.removeprefix("list_")
    return name
