"""Fetching one file, and unpacking it where it is an archive: verified as a whole before a byte of it is parsed.

What the file must be is said by its SHA-256, or by a seal of what is in it. With neither it is refused, unless one asks for it
unverified; then its digest is recorded, so that it can be demanded the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.acquire.archives.extracting import Unpacking, extract
from bezoar.acquire.archives.limits import DEFAULT, ArchiveLimits
from bezoar.acquire.placing import Place
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.acquire.run_state import locked, state_folder
from bezoar.acquire.transfers import Arrived, Wanted, commit, transfer, without_query
from bezoar.errors import InputError, LimitError, UsageError, VerificationError
from bezoar.files import atomic_file, refuse_existing
from bezoar.progress import track

if TYPE_CHECKING:
    from bezoar.acquire.http.client import Client
    from bezoar.acquire.sealed_digests import Sealed

RECORD = "archive.json"
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".zip")
MAX_FILE = 1 << 42  # bytes
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Promise:
    """What a file must be: its SHA-256 (32 bytes), a seal of its content, both, or by the user's own wish nothing."""

    sha256: bytes | None = None
    sealed: Sealed | None = None
    nothing: bool = False

    def check(self, source: str) -> None:
        """UsageError when nothing is promised and the user did not say that this is meant."""
        if self.sha256 is None and self.sealed is None and not self.nothing:
            raise UsageError(
                f"{source}: nothing says what it must be; give --sha256 HEX, or --seal SEAL with --seal-key PUB; --unverified "
                "takes whatever comes and records its digest"
            )


@dataclass(frozen=True)
class OneFile:
    """What came: SHA-256 (hex) and size of the file, what is known of it, what it unpacked to (None: it is kept as it is)."""

    sha256: str
    size: int
    verdict: Verdict
    unpacking: Unpacking | None


def is_archive(name: str) -> bool:
    """Whether a path or URL ends like an archive."""
    return name.split("?", 1)[0].split("#", 1)[0].lower().endswith(SUFFIXES)


def fetch_archive(
    client: Client, url: str, out: Path, promise: Promise, limits: ArchiveLimits = DEFAULT
) -> OneFile:
    """Download the archive at `url` and unpack it into the new folder `out`; a broken download is resumed the next time.

    VerificationError when it is not what was promised (what came lies in quarantine then), InputError when it cannot be
    fetched or is hostile, LimitError beyond the limits, OutputError when `out` exists.
    """
    return _fetched(client, url, out, promise, limits, limits.total_bytes)


def fetch_file(client: Client, url: str, out: Path, promise: Promise, max_bytes: int = MAX_FILE) -> OneFile:
    """Download the file at `url` to the new file `out`, as it is. Raises as `fetch_archive` does."""
    if promise.sealed is not None:
        raise UsageError(
            f"{url}: a seal says what is in an archive; give the digest of a single file with --sha256"
        )
    return _fetched(client, url, out, promise, None, max_bytes)


def unpack_archive(archive: Path, out: Path, promise: Promise, limits: ArchiveLimits = DEFAULT) -> OneFile:
    """Unpack an archive of this machine into the new folder `out`. Raises as `fetch_archive` does; the archive stays as it is."""
    promise.check(str(archive))
    refuse_existing(out)
    with locked(out):
        sha256, size = _hash(archive)
        if promise.sha256 not in (None, sha256):
            raise VerificationError(_mismatch(str(archive), sha256, promise.sha256))
        return _finish(archive, str(archive), out, promise, limits, sha256, size, {})


def _fetched(
    client: Client, url: str, out: Path, promise: Promise, limits: ArchiveLimits | None, max_bytes: int
) -> OneFile:
    promise.check(without_query(url))
    refuse_existing(out)
    with locked(out):
        arrived = download(client, url, out, promise.sha256, max_bytes)
        return finish(arrived, without_query(url), out, promise, limits)


def download(client: Client, url: str, out: Path, sha256: bytes | None, max_bytes: int) -> Arrived:
    """Bring what is at `url` to a part in the state of `out`, verified or unverified; raises otherwise. The lock must be held."""
    place = Place(out)
    name = hashlib.sha256(f"{url}\0{(sha256 or b'').hex()}".encode()).hexdigest()[:40]
    wanted = Wanted(out.name, url, place.parts / f"{name}.part", max_bytes, sha256=sha256)
    with track(f"fetch {out.name}") as bar:
        [arrived] = transfer(client, [wanted], on_bytes=bar.advance)
    if arrived.verdict is not Verdict.REJECTED:
        return arrived
    if arrived.reason is Reason.HASH_MISMATCH:
        place.reject(arrived)
        raise VerificationError(
            _mismatch(without_query(url), arrived.sha256, sha256)
            + f"; what came is in {place.quarantine.folder}"
        )
    if arrived.reason is Reason.TOO_LARGE:
        wanted.part.unlink(missing_ok=True)
        raise LimitError(
            f"{without_query(url)[:300]}: is larger than {max_bytes:,} bytes; raise --max-total-bytes if that is right"
        )
    hint = (
        "; name the host with --allow-host if you trust it"
        if arrived.reason is Reason.BLOCKED_ADDRESS
        else ""
    )
    raise InputError(
        f"{without_query(url)[:300]}: cannot be fetched ({arrived.reason}: {arrived.detail}){hint}"
    )


def finish(
    arrived: Arrived, source: str, out: Path, promise: Promise, limits: ArchiveLimits | None
) -> OneFile:
    """Unpack (or, without `limits`, move) a part that arrived right; the lock must be held.

    An archive whose content is not what the seal says goes into quarantine; VerificationError.
    """
    part, reply = arrived.wanted.part, arrived.reply
    about = {} if reply is None else {
        "final_url": without_query(reply.final_url),
        "peer": reply.peer,
        "tls_verified": reply.tls_verified,
        "fetched": round(reply.fetched, 3),
    }  # fmt: skip
    try:
        found = _finish(part, source, out, promise, limits, arrived.sha256, arrived.size, about)
    except VerificationError as error:
        Place(out).reject(replace(arrived, reason=Reason.HASH_MISMATCH, detail=str(error)))
        raise
    part.unlink(missing_ok=True)
    return found


def _finish(
    file: Path,
    source: str,
    out: Path,
    promise: Promise,
    limits: ArchiveLimits | None,
    sha256: bytes,
    size: int,
    about: dict[str, Any],
) -> OneFile:
    """Unpack or move a file that is what was promised, and record it."""
    unpacking = None
    if limits is None:
        commit(file, out)
    else:
        sealed = promise.sealed
        unpacking = extract(
            file,
            out,
            limits=limits,
            name=source.rpartition("/")[2],
            expected=None if sealed is None else sealed.files,
            ignored=frozenset() if sealed is None else sealed.ignored,
        )
    promised = promise.sha256 is not None or promise.sealed is not None
    found = OneFile(sha256.hex(), size, Verdict.VERIFIED if promised else Verdict.UNVERIFIED, unpacking)
    _record(out, found, source, promise, about)
    return found


def _record(out: Path, found: OneFile, source: str, promise: Promise, about: dict[str, Any]) -> None:
    value = {
        "version": 1,
        "source": source,
        "sha256": found.sha256,
        "size": found.size,
        "verdict": found.verdict,
        "sealed_by": None if promise.sealed is None else promise.sealed.signer,
        "files": 1 if found.unpacking is None else found.unpacking.files,
        **about,
    }
    path = state_folder(out) / RECORD
    path.unlink(missing_ok=True)  # of an output that was removed since
    with atomic_file(path) as file:
        file.write(json.dumps(value, indent=1).encode() + b"\n")


def _hash(path: Path) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file, track(f"hash {path.name}", os.fstat(file.fileno()).st_size) as bar:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
                bar.advance(len(block))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from error
    return digest.digest(), size


def _mismatch(source: str, found: bytes, expected: bytes | None) -> str:
    return (
        f"{source[:300]}: sha256 is {found.hex()}, not {(expected or b'').hex()}; it is not what was promised"
    )
