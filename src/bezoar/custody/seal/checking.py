"""Checking a proof offline: the stranger's side. It needs the proof, the record's content and a key that it trusts; no seal.

`check_record`: this content, under this key and label, is record N of the snapshot that the key signed.
`check_absent`: no record of that snapshot has this key, given that the signer sorted the snapshot as it promises.
"""

from __future__ import annotations

from dataclasses import dataclass

from bezoar.custody.seal.absence import AbsenceProof, check_key
from bezoar.custody.seal.leaves import Leaf, parse_leaf
from bezoar.custody.tlog.checkpoint import Checkpoint, open_checkpoint
from bezoar.custody.tlog.merkle import EMPTY_ROOT, leaf_hash
from bezoar.custody.tlog.note import VerifierKey
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.proof import TlogProof
from bezoar.errors import InputError, VerificationError

Trust = VerifierKey | TlogPolicy


@dataclass(frozen=True)
class Content:
    """SHA-256 (32 bytes) and size (bytes) of the content that somebody holds."""

    sha256: bytes
    size: int


@dataclass(frozen=True)
class ProvedRecord:
    """`leaf` is record `index` of the snapshot that `checkpoint` is about."""

    leaf: Leaf
    index: int
    checkpoint: Checkpoint


@dataclass(frozen=True)
class ProvedGap:
    """No record lies between `before` and `after`, which are neighbours; None: the snapshot begins or ends there."""

    before: ProvedRecord | None
    after: ProvedRecord | None
    checkpoint: Checkpoint


def check_record(
    proof: TlogProof, trust: Trust, content: Content, *, key: str | None = None, label: str | None = None
) -> ProvedRecord:
    """What `proof` proves of `content`; `key` and `label`, where given, must be the record's.

    VerificationError when it proves nothing, or something else; InputError when its leaf is malformed or missing.
    """
    proved = _included(proof, trust)
    leaf = proved.leaf
    if leaf.sha256 != content.sha256 or leaf.size != content.size:
        raise VerificationError(
            f"the content is not what was sealed under {leaf.key!r}: {leaf.size:,} bytes, sha256 {leaf.sha256.hex()} were "
            f"sealed; this has {content.size:,} bytes, sha256 {content.sha256.hex()}"
        )
    if key is not None and leaf.key != key:
        raise VerificationError(f"the proof is about the record {leaf.key!r}, not {key!r}")
    if label is not None and leaf.label != label:
        sealed = "no label" if leaf.label is None else f"the label {leaf.label!r}"
        raise VerificationError(f"the record {leaf.key!r} was sealed with {sealed}, not {label!r}")
    return proved


def check_absent(proof: AbsenceProof, trust: Trust, key: str) -> ProvedGap:
    """The gap that shows that `key` is absent; VerificationError when the proof does not show that, UsageError for no key.

    The order of all other leaves is the signer's promise, see `bezoar.custody.seal.absence`.
    """
    check_key(key)
    halves = [half for half in (proof.before, proof.after) if half]
    if not halves:
        return ProvedGap(None, None, _empty(proof.checkpoint, trust))
    if len({half.checkpoint for half in halves}) > 1:
        raise VerificationError("the two halves of the proof are from different checkpoints")
    before, after = (_included(half, trust) if half else None for half in (proof.before, proof.after))
    checkpoint = next(known.checkpoint for known in (before, after) if known)
    for neighbour in (before, after):
        if neighbour and neighbour.leaf.key == key:
            raise VerificationError(f"{key!r} is not absent: it is record {neighbour.index} of the snapshot")
    last, first = before.index if before else -1, after.index if after else checkpoint.size
    if first != last + 1:
        raise VerificationError(
            "the proof's records are not neighbours, or not at the edge: others lie in the gap"
        )
    if (before and not before.leaf.key < key) or (after and not key < after.leaf.key):
        raise VerificationError(f"{key!r} does not lie in the gap that the proof is about")
    return ProvedGap(before, after, checkpoint)


def _included(proof: TlogProof, trust: Trust) -> ProvedRecord:
    if proof.extra is None:
        raise InputError("the proof carries no leaf in its extra line; `bezoar prove` writes one")
    checkpoint = proof.verify(leaf_hash(proof.extra), trust)
    return ProvedRecord(parse_leaf(proof.extra, "the proof's leaf"), proof.index, checkpoint)


def _empty(note: bytes, trust: Trust) -> Checkpoint:
    checkpoint = trust.check(note) if isinstance(trust, TlogPolicy) else open_checkpoint(note, trust)[0]
    if (checkpoint.size, checkpoint.root) != (0, EMPTY_ROOT):
        raise VerificationError(
            "the proof says that the snapshot is empty; the checkpoint says that it is not"
        )
    return checkpoint
