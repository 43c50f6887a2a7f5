"""Proofs for one key of a sealed dataset, which a stranger checks without the dataset and without a network.

A proof of a record is a C2SP tlog-proof (https://c2sp.org/tlog-proof): the record's leaf as `extra`, its index, the RFC 6962
inclusion proof and the snapshot's signed checkpoint. `bezoar.custody.seal.absence` describes the proof that a key is not there.
"""

from __future__ import annotations

from bezoar.custody.seal.absence import AbsenceProof, check_key
from bezoar.custody.seal.leaves import MAX_LEAF
from bezoar.custody.seal.sealed import Sealed
from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.merkle import leaf_hash, verify_inclusion
from bezoar.custody.tlog.note import Note, NoteSigner
from bezoar.custody.tlog.proof import TlogProof
from bezoar.errors import InputError, LimitError, VerificationError


def prove(sealed: Sealed, key: str, checkpoint: bytes) -> TlogProof:
    """The proof that the record `key` is in the snapshot that the signed note `checkpoint` is about.

    InputError when there is no such record; VerificationError when manifest, tree and checkpoint do not belong together.
    """
    index = sealed.manifest.find(key)
    if index is None:
        raise InputError(
            f"{sealed.manifest.where}: no record {key!r}; `bezoar prove --absent` proves its absence"
        )
    return _Prover(sealed, checkpoint).inclusions(index, index + 1)[0]


def prove_absent(sealed: Sealed, key: str, checkpoint: bytes) -> AbsenceProof:
    """The proof that no record of that snapshot has this key.

    Errors as `prove`; InputError when there is such a record, UsageError when none can have this key.
    """
    check_key(key)
    size = len(sealed.manifest)
    place = sealed.manifest.place(key)
    if place < size and sealed.manifest.key(place) == key:
        raise InputError(
            f"{sealed.manifest.where}: record {place} has the key {key!r}; its absence cannot be proved"
        )
    prover = _Prover(sealed, checkpoint)
    if size == 0:
        return AbsenceProof(checkpoint=checkpoint)
    neighbours = {proof.index: proof for proof in prover.inclusions(max(place - 1, 0), min(place + 1, size))}
    return AbsenceProof(neighbours.get(place - 1), neighbours.get(place))


def sign_snapshot(sealed: Sealed, signer: NoteSigner) -> bytes:
    """A checkpoint of the snapshot, signed now; its origin is the signer's name."""
    checkpoint = Checkpoint(signer.key.name, len(sealed.manifest), sealed.tree.root())
    return sign_checkpoint(checkpoint, signer).to_bytes()


class _Prover:
    """Inclusion proofs under one checkpoint; each is checked before it is given away."""

    def __init__(self, sealed: Sealed, checkpoint: bytes) -> None:
        self._sealed = sealed
        self._note = checkpoint
        self._signed = Checkpoint.parse_body(Note.parse(checkpoint).text)
        if (self._signed.size, self._signed.root) != (len(sealed.manifest), sealed.tree.root()):
            raise VerificationError(
                f"{sealed.manifest.where}: the checkpoint is of another snapshot than this manifest and its tree; seal again"
            )

    def inclusions(self, start: int, end: int) -> list[TlogProof]:
        """The proofs of records `start` to `end` (excluded)."""
        manifest = self._sealed.manifest
        rows = list(manifest.rows(start, end))
        if len(rows) != end - start:
            raise InputError(f"{manifest.where}: has fewer rows than its footer says; it is damaged")
        return [self._inclusion(index, row.leaf()) for index, row in enumerate(rows, start)]

    def _inclusion(self, index: int, leaf: bytes) -> TlogProof:
        if len(leaf) > MAX_LEAF:
            raise LimitError(
                f"record {index}: its leaf has {len(leaf):,} bytes; proofs carry at most {MAX_LEAF:,}"
            )
        hashes = tuple(self._sealed.tree.inclusion(index))
        verify_inclusion(leaf_hash(leaf), index, self._signed.size, hashes, self._signed.root)
        return TlogProof(index, hashes, self._note, leaf)
