"""Downloads of whole files, large ones too: hashed on their way, resumed where they stopped, compared with what they must be.

A file arrives under another name (`part`). What lies there from an earlier attempt is hashed, not trusted, and the rest is asked
for with a range request (RFC 9110, section 14). Only the caller moves the part to its place, and only when it is right.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.http.exchange import Reply, Request
from bezoar.acquire.reasons import Reason, Verdict
from bezoar.errors import OutputError
from bezoar.files import sync_folder

if TYPE_CHECKING:
    from bezoar.acquire.http.client import Client
    from bezoar.acquire.quarantine.store import Quarantine

FIRST_PAUSE_S = 0.5  # before files that broke are asked for again; doubled each time
SLOWEST = 64 << 10  # bytes a second; a transfer that is slower for long is given up, and resumed
_BASE_S, _MOST_S = 60.0, 86400.0
_BLOCK = 1 << 20
_MAY_PASS = frozenset({Reason.CONNECTION, Reason.DEADLINE, Reason.TRUNCATED})
_NO_RANGE = frozenset({200, 206, 416})
_MAY_PASS_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        name: in messages, and for the caller to know it by.
        url: http or https.
        part: where it arrives.
        max_bytes: that are taken.
        size: in bytes, where it is known.
        sha256: 32 bytes that it must have.
        git_oid: 20 bytes that it must have as a git blob, when no SHA-256 is known; needs `size`.
        secret: headers for the origin of `url` only.

    """

    name: str
    url: str
    part: Path
    max_bytes: int
    size: int | None = None
    sha256: bytes | None = None
    git_oid: bytes | None = None
    secret: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrived:
    """What came of it: with the verdict `verified` or `unverified` the part is whole. `sha256` is of what lies in the part."""

    wanted: Wanted
    verdict: Verdict
    sha256: bytes
    size: int
    reason: Reason | None = None
    detail: str = ""
    reply: Reply | None = None


def transfer(
    client: Client,
    wanted: Iterable[Wanted],
    *,
    attempts: int = 5,
    on_bytes: Callable[[int], None] = lambda _: None,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Arrived]:
    """Fetch files, several at a time, in order of arrival; of each, `attempts` without progress are made.

    The client must not retry by itself. `on_bytes` hears of bytes as they come. A wrong file is an `Arrived` with the verdict
    `rejected`; OutputError when the disk is full.
    """
    queue: Iterable[_Job] = (_Job(each, on_bytes) for each in wanted)
    number = 0
    while True:
        again: list[_Job] = []
        done: list[Arrived] = []
        for reply in client.exchange(_requests(queue, done)):
            job: _Job = reply.request.tag
            arrived = job.finish(reply, attempts)
            if arrived is None:
                again.append(job)
            else:
                done.append(arrived)
            yield from done
            done.clear()
        yield from done
        if not again:
            return
        pause(min(FIRST_PAUSE_S * 2**number, 30.0))
        queue, number = again, number + 1


def hash_file(path: Path, size: int) -> tuple[bytes, bytes]:
    """SHA-256, and the git object id of the content as a blob of `size` bytes, of an ordinary file (never through a link)."""
    hashes = _Hashes(size)
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            hashes.update(block)
    return hashes.sha256.digest(), hashes.git.digest()


def commit(part: Path, target: Path) -> None:
    """Move a whole part to its place, durably; what was there is replaced."""
    try:
        handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(part, target)
        sync_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written ({error.strerror or error}); check the path"
        ) from error


def without_query(url: str) -> str:
    """A URL as it may be recorded and shown: a signature or token in its query is a secret for as long as it is valid."""
    return url.split("?", 1)[0]


def set_aside(quarantine: Quarantine, arrived: Arrived, run_id: str = "") -> None:
    """Put a rejected file into quarantine and remove its part; of one that is larger than the quarantine's cap only the entry."""
    from bezoar.acquire.quarantine.held import Held

    wanted, reply = arrived.wanted, arrived.reply
    content = b""
    if arrived.size <= quarantine.cap.object_bytes and wanted.part.is_file():
        content = wanted.part.read_bytes()
    expected = wanted.sha256 or wanted.git_oid
    held = Held(
        key=wanted.name,
        url=without_query(wanted.url),
        reason=arrived.reason or Reason.HASH_MISMATCH,
        detail=arrived.detail,
        expected=expected.hex() if expected else None,
        sha256=arrived.sha256.hex() if arrived.size else "",
        size=arrived.size,
        fetched=reply.fetched if reply else 0.0,
        status=reply.status if reply else None,
        final_url=without_query(reply.final_url) if reply else "",
        redirects=tuple(without_query(url) for url in reply.redirects) if reply else (),
        peer=reply.peer if reply else "",
        tls_verified=reply.tls_verified if reply else None,
        content_type=reply.headers.get("content-type", "") if reply else "",
        run_id=run_id,
    )
    quarantine.put(held, content)
    quarantine.sync()
    wanted.part.unlink(missing_ok=True)


def _requests(queue: Iterable[_Job], done: list[Arrived]) -> Iterator[Request]:
    for job in queue:
        arrived = job.start()
        if arrived is None:
            yield job.request()
        else:
            done.append(arrived)


class _Hashes:
    """SHA-256 and git's object id of the same bytes."""

    def __init__(self, size: int | None) -> None:
        self.sha256 = hashlib.sha256()
        self.git = hashlib.sha1(b"blob %d\0" % (size or 0), usedforsecurity=False)
        self._with_git = size is not None

    def update(self, data: bytes) -> None:
        self.sha256.update(data)
        if self._with_git:
            self.git.update(data)


class _Job:
    """One file on its way. Its part is open only while a request is under way."""

    def __init__(self, wanted: Wanted, on_bytes: Callable[[int], None]) -> None:
        self.wanted = wanted
        self._on_bytes = on_bytes
        self._failures = 0
        self._resumed = False  # whether what lies there has bytes of an earlier request
        self._overflown = False
        self._best = 0  # bytes that were here after some attempt
        self._handle = -1
        self._offset = self._size = self._told = 0
        self._hashes = self._new_hashes()

    @property
    def _limit(self) -> int:
        """Bytes that are taken."""
        return self.wanted.max_bytes if self.wanted.size is None else self.wanted.size

    def start(self) -> Arrived | None:
        """Open the part and hash what is there; what came of it when that is all already."""
        wanted = self.wanted
        try:
            wanted.part.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(wanted.part, flags, 0o600)
            self._rewind()
            while block := os.read(self._handle, _BLOCK):
                self._hashes.update(block)
                self._size += len(block)
        except OSError as error:
            raise _unwritable(wanted.part, error) from error
        if self._size > self._limit or (wanted.sha256 is None and wanted.git_oid is None):
            self._restart()  # without a digest, nobody would notice two halves of different files
        self._offset, self._resumed = self._size, self._size > 0
        self._tell()
        if wanted.size is not None and self._size == wanted.size:
            if self._matches() or not wanted.size:
                return self._judge(None)
            self._restart()
        return None

    def request(self) -> Request:
        """What is still missing."""
        wanted, limit = self.wanted, self._limit - self._offset
        headers = {"Accept-Encoding": "identity"}  # the digest is of the file, not of a compressed form of it
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
        return Request(
            wanted.url,
            tag=self,
            headers=headers,
            secret=wanted.secret,
            receive=self._receive,
            max_bytes=max(limit, 1),
            deadline_s=min(_BASE_S + limit / SLOWEST, _MOST_S),
        )

    def finish(self, reply: Reply, attempts: int) -> Arrived | None:
        """What came of a request; None when it is to be made again."""
        os.close(self._handle)
        reason, detail, wanted = reply.reason, reply.detail, self.wanted
        if self._overflown:
            reason, detail = Reason.TOO_LARGE, f"more than {self._limit:,} bytes"
        if reason is None and wanted.size is not None and self._size < wanted.size:
            reason = Reason.TRUNCATED
            detail = f"{self._size:,} bytes came of {wanted.size:,}"
        if reason is None and (self._matches() or not self._resumed or self._failures > attempts):
            return self._judge(reply)
        if reason is None or (self._offset and reason is Reason.HTTP_STATUS and reply.status in _NO_RANGE):
            # two halves of different files, perhaps, or a server that gives no such range: once more, from the start
            wanted.part.unlink(missing_ok=True)
            self._failures += 1
            return None
        self._failures = 0 if self._progress(reason) else self._failures + 1
        self._best = max(self._best, self._size)
        may_pass = reason in _MAY_PASS or (reason is Reason.HTTP_STATUS and reply.status in _MAY_PASS_STATUS)
        if may_pass and not self._overflown and self._failures < attempts:
            return None
        return Arrived(
            wanted, Verdict.REJECTED, self._hashes.sha256.digest(), self._size, reason, detail, reply
        )

    def _progress(self, reason: Reason) -> bool:
        """Whether a failed attempt brought the file so much further that it does not count."""
        size = self.wanted.size
        return size is not None and reason is not Reason.DEADLINE and self._size - self._best > size // 1000

    def _receive(self, piece: bytes) -> None:
        wanted = self.wanted
        room = self._limit - self._size
        if len(piece) > room:
            self._overflown = True
            piece = piece[:room]
        self._hashes.update(piece)
        self._size += len(piece)
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            raise _unwritable(wanted.part, error) from error
        self._tell()

    def _judge(self, reply: Reply | None) -> Arrived:
        wanted, sha256 = self.wanted, self._hashes.sha256.digest()
        if self._handle >= 0 and reply is None:
            os.close(self._handle)
        if wanted.sha256 is None and wanted.git_oid is None:
            return Arrived(wanted, Verdict.UNVERIFIED, sha256, self._size, reply=reply)
        if self._matches():
            return Arrived(wanted, Verdict.VERIFIED, sha256, self._size, reply=reply)
        if wanted.sha256 is not None:
            detail = f"sha256 is {sha256.hex()}, not {wanted.sha256.hex()}"
        else:
            detail = f"git object id is {self._hashes.git.hexdigest()}, not {(wanted.git_oid or b'').hex()}"
        return Arrived(wanted, Verdict.REJECTED, sha256, self._size, Reason.HASH_MISMATCH, detail, reply)

    def _matches(self) -> bool:
        wanted = self.wanted
        if wanted.size is not None and self._size != wanted.size:
            return False
        if wanted.sha256 is not None:
            return self._hashes.sha256.digest() == wanted.sha256
        return wanted.git_oid is not None and self._hashes.git.digest() == wanted.git_oid

    def _new_hashes(self) -> _Hashes:
        return _Hashes(self.wanted.size if self.wanted.git_oid is not None else None)

    def _rewind(self) -> None:
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._hashes, self._size = self._new_hashes(), 0

    def _restart(self) -> None:
        """Begin with an empty part."""
        try:
            os.ftruncate(self._handle, 0)
            self._rewind()
        except OSError as error:
            raise _unwritable(self.wanted.part, error) from error
        self._offset, self._resumed = 0, False
        self._tell()

    def _tell(self) -> None:
        """A bar hears only of bytes that are new to it, also when some come twice."""
        self._on_bytes(self._size - self._told)
        self._told = self._size


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot be written ({error.strerror or error}); what came so far is kept, try again"
    )
