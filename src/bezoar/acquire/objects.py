"""Objects of a store (`s3://`, `gs://` and whatever else fsspec knows), copied to a folder and hashed on their way.

A store says nothing that would prove its objects: an ETag is no digest. So what they must be is said by a seal, or by the record
of an earlier copy (`OUT.fetch/objects.json`); with neither they are copied only when one asks for them unverified.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bezoar.acquire.archives.fetching import MAX_FILE, OneFile, Promise, finish
from bezoar.acquire.archives.limits import ArchiveLimits
from bezoar.acquire.archives.names import Names
from bezoar.acquire.placing import Place
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.run_state import locked, state_folder
from bezoar.acquire.sealed_digests import Sealed
from bezoar.acquire.stores import Store, Stored
from bezoar.acquire.transfers import Arrived
from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError, LimitError, OutputError, UsageError, VerificationError
from bezoar.files import atomic_file, read_file, refuse_existing
from bezoar.progress import track

RECORD = "objects.json"
MAX_RECORD = 1 << 30
_THREADS = 8
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ObjectOptions:
    """What is known beforehand: SHA-256 by path in `expected`, or a seal; `nothing`: neither is meant. And the caps."""

    expected: Mapping[str, bytes] | None = None
    sealed: Sealed | None = None
    nothing: bool = False
    max_objects: int = 5_000_000
    max_bytes: int = 1 << 42


@dataclass(frozen=True)
class CopyReport:
    """Numbers of files in OUT by verdict, of those that came now, their bytes, and what was rejected: (path, reason, detail).

    `foreign` files in OUT are not of the store; `stray` is one that was not compared or copied by this call, None without any.
    """

    verified: int
    unverified: int
    copied: int
    size: int
    rejected: Sequence[tuple[str, Reason, str]]
    skipped: int
    foreign: int
    stray: str | None


def copy_objects(store: Store, out: Path, options: ObjectOptions) -> CopyReport:
    """Copy all objects below the store's URL to the folder `out`, going on with what was begun there.

    Objects that are not right are set aside and reported, not raised. UsageError when nothing says what they must be, InputError
    when the store cannot be read or a name is unsafe, OutputError when `out` holds something else or cannot be written.
    """
    if options.expected is None and options.sealed is None and not options.nothing:
        raise UsageError(
            f"{store.source}: nothing says what it must be; give --seal SEAL with --seal-key PUB, or --pin FILE of an earlier "
            "copy; --unverified takes whatever comes and records the digests"
        )
    with locked(out):
        earlier = _begun(store, out)
        objects = store.objects(options.max_objects)
        total = sum(each.size for each in objects)
        if total > options.max_bytes:
            raise LimitError(
                f"{store.source}: {total:,} bytes; at most {options.max_bytes:,} are copied (--max-total-bytes)"
            )
        out.mkdir(parents=True, exist_ok=True)
        run = _Copy(store, Place(out), options, earlier)
        with track(f"copy {out.name}", total) as bar:
            run.copy(objects, bar.advance)
        _write(state_folder(out) / RECORD, store.source, run.kept)
        return run.report(objects)


def copy_object(store: Store, out: Path, promise: Promise, max_bytes: int = MAX_FILE) -> OneFile:
    """Copy the single object of a store to the new file `out`.

    VerificationError when it is not what was promised, LimitError when it has more than `max_bytes`.
    """
    if promise.sealed is not None:
        raise UsageError(
            f"{store.source}: a seal says what is in an archive; give the digest of a single object with --sha256"
        )
    return _one(store, out, promise, None, max_bytes)


def unpack_object(store: Store, out: Path, promise: Promise, limits: ArchiveLimits) -> OneFile:
    """Copy the single object of a store, an archive, and unpack it into the new folder `out`; as `archives.fetch_archive`."""
    return _one(store, out, promise, limits, limits.total_bytes)


def _one(store: Store, out: Path, promise: Promise, limits: ArchiveLimits | None, max_bytes: int) -> OneFile:
    promise.check(store.source)
    refuse_existing(out)
    with locked(out):
        place, size = Place(out), store.size()
        if size > max_bytes:
            raise LimitError(
                f"{store.source}: has {size:,} bytes; at most {max_bytes:,} are copied; raise --max-total-bytes if that is right"
            )
        with track(f"copy {out.name}", size) as bar:
            arrived = store.bring(
                Stored(store.root, out.name, size), place.parts / "object.part", promise.sha256, bar.advance
            )
        if arrived.reason is not None:
            place.reject(arrived)
            raise VerificationError(
                f"{store.source}: {arrived.detail}; what came is in {place.quarantine.folder}"
            )
        return finish(arrived, store.source, out, promise, limits)


def read_record(path: Path) -> dict[str, bytes]:
    """SHA-256 by path, from the record of an earlier copy; InputError when it is malformed."""
    where = str(path)
    value = parse_object(read_file(path, MAX_RECORD), where, MAX_RECORD)
    if value.get("version") != 1 or not isinstance(value.get("objects"), dict):
        raise InputError(f"{where}: is no record of a copy of objects")
    names, found = Names(where), {}
    for name, digest in value["objects"].items():
        if not isinstance(digest, str) or not _HEX.fullmatch(digest):
            raise InputError(f"{where}: {name[:200]!r} has no SHA-256")
        found[names.file(name)] = bytes.fromhex(digest)
    return found


class _Copy:
    """Objects on their way into an output."""

    def __init__(
        self, store: Store, place: Place, options: ObjectOptions, earlier: Mapping[str, bytes]
    ) -> None:
        self._store, self._place, self._options, self._earlier = store, place, options, earlier
        self.kept: dict[str, bytes] = {}
        self._rejected: list[tuple[str, Reason, str]] = []
        self._verified = self._copied = self._size = self._skipped = 0

    def copy(self, objects: Sequence[Stored], advance: Callable[[int], None]) -> None:
        """All of them that are not there already, several at a time."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(
                0, len(objects), 64 * _THREADS
            ):  # so many at most are waited for when one raises
                some = [each for each in objects[start : start + 64 * _THREADS] if self._is_wanted(each)]
                for arrived in pool.map(lambda each: self._bring(each, advance), some):
                    self._take(arrived)
        self._missing({each.path for each in objects})

    def report(self, objects: Sequence[Stored]) -> CopyReport:
        """What came of it."""
        return CopyReport(
            self._verified,
            len(self.kept) - self._verified,
            self._copied,
            self._size,
            self._rejected,
            self._skipped,
            len(self._place.foreign(each.path for each in objects)),
            next(iter(self._place.foreign(self.kept)), None),
        )

    def _is_wanted(self, stored: Stored) -> bool:
        """Whether an object must be copied: it may, and is not there yet."""
        expected, sealed = self._expected(stored.path), self._options.sealed
        if sealed is not None and expected is None and not sealed.covers(stored.path):
            self._skipped += 1
            return False
        if expected is None and not self._options.nothing:
            self._rejected.append((stored.path, Reason.HASH_MISSING, "nothing says what it must be"))
            return False
        known = expected or self._earlier.get(stored.path)
        if known is None:
            return True
        found, _ = self._place.present(stored.path, stored.size, known)
        if found is not None:
            self._count(stored.path, found, stored.size, known=expected is not None)
        return found is None

    def _expected(self, path: str) -> bytes | None:
        sealed, pinned = self._options.sealed, self._options.expected
        if sealed is not None:
            return sealed.files.get(path)
        return None if pinned is None else pinned.get(path)

    def _bring(self, stored: Stored, advance: Callable[[int], None]) -> Arrived:
        part = self._place.parts / (hashlib.sha256(stored.path.encode()).hexdigest()[:40] + ".part")
        return self._store.bring(stored, part, self._expected(stored.path), advance)

    def _take(self, arrived: Arrived) -> None:
        if arrived.verdict is Verdict.REJECTED:
            reason = arrived.reason or Reason.HASH_MISMATCH
            self._place.reject(arrived)
            self._rejected.append((arrived.wanted.name, reason, arrived.detail))
            return
        self._place.keep(arrived)
        self._copied += 1
        self._count(
            arrived.wanted.name, arrived.sha256, arrived.size, known=arrived.verdict is Verdict.VERIFIED
        )

    def _count(self, path: str, sha256: bytes, size: int, *, known: bool) -> None:
        self.kept[path] = sha256
        self._size += size
        self._verified += known

    def _missing(self, there: set[str]) -> None:
        """What is promised and not in the store."""
        sealed = self._options.sealed
        promised = sealed.files if sealed is not None else self._options.expected or {}
        self._rejected += [
            (path, Reason.HASH_MISMATCH, "is promised, and not in the store")
            for path in sorted(promised)
            if path not in there
        ]


def _begun(store: Store, out: Path) -> Mapping[str, bytes]:
    """The record of this output, empty when it is new; OutputError when the output is something else."""
    path = state_folder(out) / RECORD
    if path.exists():
        value = parse_object(read_file(path, MAX_RECORD), str(path), MAX_RECORD)
        if value.get("source") != store.source:
            raise OutputError(
                f"{out}: holds objects of {str(value.get('source'))[:200]}; choose another output path"
            )
        return read_record(path)
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise OutputError(
            f"{out}: exists already and was not copied from a store; choose another output path"
        )
    _write(path, store.source, {})
    return {}


def _write(path: Path, source: str, objects: Mapping[str, bytes]) -> None:
    value = {
        "version": 1,
        "source": source,
        "objects": {name: digest.hex() for name, digest in sorted(objects.items())},
    }
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with atomic_file(fresh) as file:
        file.write(json.dumps(value, indent=1).encode() + b"\n")
    os.replace(fresh, path)
