"""Asking witnesses for cosignatures of a log's checkpoint (C2SP tlog-witness) and keeping them in the checkpoint file."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO

from bezoar.custody.tlog.durable import lock, replace_file
from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.note import Note, NoteSignature, VerifierKey, verify_note
from bezoar.custody.tlog.serving import Answer
from bezoar.custody.tlog.witness import SIZE_TYPE, Request
from bezoar.errors import InputError, UsageError, VerificationError

_TIMEOUT_S = 30.0  # of waiting for the next byte
_DEADLINE_S = 60.0  # of one answer
_MAX_ANSWER = 64 << 10
_MAX_TRIES = 4  # the witness's size is asked for once; more tries are for others who cosign at the same time
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")


def cosign(log: CustodyLog, url: str, keys: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Have the witness at `url` cosign the log's checkpoint, store the cosignatures and return the keys that made them.

    VerificationError when the witness has seen another history of the log, or no answer of its bears a signature of `keys`.
    """
    if not Path(log.location, "checkpoint").is_file():
        raise UsageError(
            f"{log.location}: not a folder on this machine; cosignatures are kept in the log's checkpoint"
        )
    for _ in range(_MAX_TRIES):
        log.reload()
        signatures, signers = _request(log, url, keys)
        if _store(log, signatures):
            return signers
    raise InputError(f"{log.location}: grew faster than {url} could cosign it; try again")


def _request(
    log: CustodyLog, url: str, keys: Sequence[VerifierKey]
) -> tuple[list[NoteSignature], list[VerifierKey]]:
    """The cosignatures by `keys` that the witness gives for the checkpoint that `log` shows."""
    checkpoint, note = log.checkpoint()
    old = 0
    for _ in range(_MAX_TRIES):
        proof = tuple(log.tree.consistency(old)) if 0 < old < checkpoint.size else ()
        answer = _post(url, Request(old, proof, note).to_bytes())
        if answer.status == 200:
            return _cosignatures(note, answer.body, keys, url)
        size = _SIZE.fullmatch(answer.body) if answer.content_type.partition(";")[0] == SIZE_TYPE else None
        if answer.status != 409 or size is None:
            raise _refusal(answer, url)
        if int(size[1]) == old == checkpoint.size:  # the size was right, so it is the root that is another
            raise _refusal(answer, url)
        old = int(size[1])
        if old > checkpoint.size:
            raise VerificationError(
                f"{log.location}: rolled back: it has {checkpoint.size} entries, but the witness {url} has cosigned {old}"
            )
    raise InputError(f"{url}: the witness kept changing its answer; try again")


def _cosignatures(
    note: bytes, lines: bytes, keys: Sequence[VerifierKey], url: str
) -> tuple[list[NoteSignature], list[VerifierKey]]:
    """The signatures in the answer by `keys`, the last by each; those by others are left out."""
    known = {(key.name, key.key_id): key for key in keys}
    text = Note.parse(note).text
    try:
        answer = Note.parse(f"{text}\n".encode() + lines)
    except InputError as error:
        raise InputError(f"{url}: the witness's answer is malformed ({error})") from error
    last = {(each.name, each.key_id): each for each in answer.signatures}
    own = tuple(each for key, each in last.items() if key in known)
    if not own:
        raise VerificationError(
            f"{url}: the witness's answer bears no signature of {', '.join(key.name for key in keys)}"
        )
    return list(own), verify_note(Note(text, own), keys)


def _store(log: CustodyLog, signatures: Sequence[NoteSignature]) -> bool:
    """Put the cosignatures into the checkpoint, in place of older ones by the same keys; False when the log has grown."""
    with lock(Path(log.location, ".lock")):
        body = Note.parse(log.checkpoint()[1]).text
        log.reload()
        now = Note.parse(log.checkpoint()[1])
        if now.text != body:
            return False
        new = {(each.name, each.key_id) for each in signatures}
        kept = tuple(each for each in now.signatures if (each.name, each.key_id) not in new)
        replace_file(Path(log.location, "checkpoint"), Note(now.text, (*kept, *signatures)).to_bytes())
        log.reload()
    return True


def _refusal(answer: Answer, url: str) -> InputError | VerificationError:
    why = answer.body[:300].decode("utf-8", "replace").strip()
    meaning = {
        403: "does not accept the log's key",
        404: "does not know this log (or this is not the address of a witness)",
        409: "has cosigned another history of this log",
        422: "has cosigned another history of this log, which this one does not extend",
    }
    words = f"{url}: the witness {meaning.get(answer.status, 'refused the request')}: status {answer.status}, {why!r}"
    return VerificationError(words) if answer.status in (409, 422) else InputError(words)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A witness is where its address says; an answer from elsewhere is a mistake or worse."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def _post(url: str, body: bytes) -> Answer:
    """POST to `<url>/add-checkpoint`; InputError when there is no answer within a minute or it is too long."""
    if not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"{url}: the address of a witness begins with http:// or https://")
    outcome: SimpleQueue[Answer | Exception] = SimpleQueue()

    def exchange() -> None:
        try:
            outcome.put(_exchange(url.rstrip("/") + "/add-checkpoint", body))
        except Exception as error:  # whatever it is, it is raised where the answer is awaited
            outcome.put(error)

    # the timeout of a socket starts anew with every byte; only a thread that may be left behind has a deadline
    Thread(target=exchange, daemon=True).start()
    try:
        answer = outcome.get(timeout=_DEADLINE_S)
    except Empty as error:
        raise InputError(f"{url}: no whole answer from the witness within {_DEADLINE_S:.0f} s") from error
    if isinstance(answer, (OSError, HTTPException, ValueError)):
        reason = getattr(answer, "reason", None) or answer
        raise InputError(f"{url}: no answer from the witness ({reason}); check the address") from answer
    if isinstance(answer, Exception):
        raise answer
    if len(answer.body) > _MAX_ANSWER:
        raise InputError(f"{url}: the witness's answer is longer than {_MAX_ANSWER:,} bytes")
    return answer


def _exchange(target: str, body: bytes) -> Answer:
    opener = urllib.request.build_opener(_NoRedirect)
    request = urllib.request.Request(target, body, {"Content-Type": "text/plain"}, method="POST")  # noqa: S310 - checked by the caller
    try:
        response = opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return Answer(
            response.status, response.read(_MAX_ANSWER + 1), response.headers.get("Content-Type", "")
        )
