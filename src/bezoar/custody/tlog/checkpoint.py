"""Signed checkpoints (C2SP tlog-checkpoint): a note whose text is origin, size and root of a tree.

A log's key has the name of the origin.
"""

from __future__ import annotations

from collections.abc import Sequence

from bezoar.custody.tlog.cosignature import Cosignature
from bezoar.custody.tlog.note import ED25519, Note, NoteSigner, VerifierKey, sign_note, verify_note
from bezoar.custody.tlog.tree_head import Checkpoint
from bezoar.errors import UsageError, VerificationError

__all__ = ["Checkpoint", "cosignatures", "open_checkpoint", "sign_checkpoint"]


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> Note:
    """The checkpoint as a note signed by its log, whose key must have the origin's name (else UsageError)."""
    if signer.name != checkpoint.origin:
        raise UsageError(
            f"the signer's name {signer.name!r} is not the origin {checkpoint.origin!r}; they must be the same"
        )
    return sign_note(checkpoint.body(), signer)


def open_checkpoint(data: bytes, key: VerifierKey) -> tuple[Checkpoint, Note]:
    """The checkpoint in a note that the log's `key` has signed, and the note with whatever else is on it.

    VerificationError when the key has not signed it or its name is not the origin; InputError when it is malformed.
    """
    note = Note.parse(data)
    checkpoint = Checkpoint.parse_body(note.text)
    if checkpoint.origin != key.name:
        raise VerificationError(
            f"checkpoint: it is of {checkpoint.origin!r}; the key is that of {key.name!r}"
        )
    if not verify_note(note, [key]):
        raise VerificationError(f"checkpoint: not signed by the key {key.key_id.hex()} of {key.name}")
    return checkpoint, note


def cosignatures(note: Note, keys: Sequence[VerifierKey]) -> dict[VerifierKey, int]:
    """The cosigners among `keys` that have signed `note`, with their latest times (Unix seconds); errors as `verify_note`."""
    times: dict[VerifierKey, int] = {}
    for key in verify_note(note, [key for key in keys if key.kind != ED25519]):
        own = [each for each in note.signatures if (each.name, each.key_id) == (key.name, key.key_id)]
        times[key] = max(Cosignature.parse(each.signature, key.kind).time for each in own)
    return times
