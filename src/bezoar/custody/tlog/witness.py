"""A witness of logs (C2SP tlog-witness): it cosigns a checkpoint only if that extends the last one it cosigned.

State per origin is the last cosigned checkpoint, with the signatures of log and witness. It is on the disk before they leave,
under a lock that holds across threads, processes and restarts, so that no fork and no rollback is ever cosigned.
Losing the state folder means forgetting that: it is never made anew on its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bezoar.custody.tlog.checkpoint import Checkpoint
from bezoar.custody.tlog.durable import lock, replace_file
from bezoar.custody.tlog.merkle import EMPTY_ROOT, verify_consistency
from bezoar.custody.tlog.note import Note, NoteSigner, VerifierKey, sign_note, verify_note
from bezoar.custody.tlog.serving import Answer
from bezoar.custody.tlog.state import MAX_CHECKPOINT
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.strict import decimal, decode, unbase64_hash
from bezoar.errors import BezoarError, InputError, UsageError, VerificationError

MAX_REQUEST = 64 << 10
SIZE_TYPE = "text/x.tlog.size"
_MAX_PROOF = 63


@dataclass(frozen=True)
class Request:
    """An add-checkpoint request: the size last cosigned, the consistency proof from there, the checkpoint's signed note."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def to_bytes(self) -> bytes:
        """The body of the request."""
        lines = [f"old {self.old}\n", *(base64.b64encode(each).decode() + "\n" for each in self.proof), "\n"]
        return "".join(lines).encode() + self.note

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """InputError for anything but an old size, up to 63 hashes, an empty line and a checkpoint."""
        if len(body) > MAX_REQUEST:
            raise InputError(f"a request of {len(body):,} bytes; at most {MAX_REQUEST:,} are read")
        head, separator, note = body.partition(b"\n\n")
        first, *lines = decode(head, "request", MAX_REQUEST).split("\n")
        if not separator or not first.startswith("old "):
            raise InputError("the request does not begin with `old N`, a proof and an empty line")
        if len(lines) > _MAX_PROOF:
            raise InputError(f"a proof of {len(lines)} hashes; at most {_MAX_PROOF} are allowed")
        proof = tuple(unbase64_hash(line, "a hash of the proof") for line in lines)
        return cls(decimal(first.removeprefix("old "), "the old size"), proof, note)


class Witness:
    """Cosigns the checkpoints of the logs with `log_keys` by `signers`; its state lies in the folder `state`."""

    def __init__(self, log_keys: Iterable[VerifierKey], signers: Sequence[NoteSigner], state: Path) -> None:
        self._keys: dict[str, list[VerifierKey]] = {}
        for key in dict.fromkeys(log_keys):
            self._keys.setdefault(key.name, []).append(key)
        if not signers or not self._keys:
            raise UsageError("a witness needs a key of its own and the key of at least one log")
        if any(len({key.key_id for key in keys}) < len(keys) for keys in self._keys.values()):
            raise UsageError("two keys of one log share their key id; a witness cannot tell them apart")
        if not state.is_dir():
            raise InputError(
                f"{state}: no such folder; create it for a new witness, but restore it for one that has cosigned before"
            )
        self._signers, self._state = tuple(signers), state

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one request; 200, 400, 403, 404, 409 or 422 as the specification says, 500 for damaged state."""
        try:
            request = Request.parse(body)
            note = Note.parse(request.note)
            checkpoint = Checkpoint.parse_body(note.text)
        except InputError as error:
            return _refuse(400, str(error))
        keys = self._keys.get(checkpoint.origin)
        if keys is None:
            return _refuse(404, "this witness does not know the log")
        if not _is_signed(note, keys):
            return _refuse(403, "not signed by a key of the log that this witness knows, or wrongly")
        if request.old > checkpoint.size:
            return _refuse(
                400, f"the old size {request.old} is larger than the checkpoint's, {checkpoint.size}"
            )
        try:
            with lock(self._path(checkpoint.origin, ".lock")):
                return self._advance(request, checkpoint, note, keys)
        except (BezoarError, OSError) as error:
            return _refuse(
                500,
                f"nothing was cosigned: the witness cannot read or write its state ({type(error).__name__})",
            )

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """The last checkpoint cosigned of the log whose origin has this SHA-256 (hex), for monitors; None when there is none."""
        origins = (origin for origin in self._keys if self._path(origin).name == origin_hash)
        return self._stored(next(origins, None))

    def latest(self, origin: str) -> Checkpoint | None:
        """The last checkpoint cosigned of a log; None when there is none. InputError when the state is damaged."""
        data = self._stored(origin)
        if data is None:
            return None
        damaged = f"{self._path(origin)}: the state is damaged; restore it, never remove it"
        try:
            note = Note.parse(data)
            checkpoint = Checkpoint.parse_body(note.text)
        except InputError as error:
            raise InputError(damaged) from error
        # the witness's own signature holds even when the log has changed its key since
        keys = [*self._keys.get(origin, ()), *(signer.key for signer in self._signers)]
        if checkpoint.origin != origin or not _is_signed(note, keys):
            raise InputError(damaged)
        return checkpoint

    def _advance(
        self, request: Request, checkpoint: Checkpoint, note: Note, keys: Sequence[VerifierKey]
    ) -> Answer:
        """Check against the state, cosign, store. The caller holds the lock of the origin."""
        latest = self.latest(checkpoint.origin)
        size = latest.size if latest else 0
        if request.old != size:
            return Answer(409, f"{size}\n".encode(), SIZE_TYPE)
        if latest is not None and size == checkpoint.size > 0 and latest.root != checkpoint.root:
            return _refuse(409, "another root was cosigned at this size: the log was forked")
        try:
            _check_proof(request, checkpoint, latest)
        except VerificationError as error:
            return _refuse(422, str(error))
        cosigned = sign_note(note.text, *self._signers)
        known = {(key.name, key.key_id) for key in keys}
        own = {
            (each.name, each.key_id): each for each in note.signatures if (each.name, each.key_id) in known
        }
        replace_file(
            self._path(checkpoint.origin), Note(note.text, (*own.values(), *cosigned.signatures)).to_bytes()
        )
        return Answer(200, cosigned.to_bytes().partition(b"\n\n")[2])

    def _stored(self, origin: str | None) -> bytes | None:
        return None if origin is None else Folder(self._state).read(self._path(origin).name, MAX_CHECKPOINT)

    def _path(self, origin: str, suffix: str = "") -> Path:
        return self._state / f"{hashlib.sha256(origin.encode()).hexdigest()}{suffix}"


def _check_proof(request: Request, checkpoint: Checkpoint, latest: Checkpoint | None) -> None:
    """VerificationError unless the proof leads from what was cosigned last, nothing at first, to the checkpoint."""
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise VerificationError("the root of an empty tree is the SHA-256 of nothing")
    if latest is not None and latest.size > 0:
        verify_consistency(latest.size, checkpoint.size, latest.root, checkpoint.root, request.proof)
    elif request.proof:
        raise VerificationError("the proof from size 0 must be empty")


def _is_signed(note: Note, keys: Sequence[VerifierKey]) -> bool:
    """Whether one of the keys has signed and none of them wrongly."""
    try:
        return bool(verify_note(note, keys))
    except (InputError, VerificationError):
        return False


def _refuse(status: int, why: str) -> Answer:
    return Answer(status, f"{why}\n".encode())
