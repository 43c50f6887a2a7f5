"""Consistency proofs as files: the text, strict parsing, and what they convince of."""

from __future__ import annotations

import base64

import pytest

from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.consistency import HEADER, MAX_BYTES, ConsistencyProof
from bezoar.custody.tlog.merkle import EMPTY_ROOT, consistency_proof
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.witness import Request
from bezoar.errors import InputError, LimitError, VerificationError

from .support import ORIGIN, checkpoint_of, hashes_of, log_signer, memory_tree, witness

HASHES = hashes_of(7)
TREE = memory_tree(HASHES)
KEY = log_signer().key
NOTE = checkpoint_of(TREE, witness(1))


def older(size: int) -> bytes:
    root = memory_tree(HASHES[:size]).root() if size else EMPTY_ROOT
    return sign_checkpoint(Checkpoint(ORIGIN, size, root), log_signer()).to_bytes()


def proof_of(old: int) -> ConsistencyProof:
    hashes = consistency_proof(old, 7, TREE.read) if old else []
    return ConsistencyProof(older(old), Request(old, tuple(hashes), NOTE))


def test_the_text_is_that_of_rfc_6962_and_a_witness():
    """RFC 6962, 2.1.3: the proof from 3 to 7 leaves is c, d, g, l."""
    c, d = HASHES[2], HASHES[3]
    g, later = TREE.read([(1, 0)])[0], memory_tree(HASHES[4:]).root()
    lines = "".join(base64.b64encode(each).decode() + "\n" for each in (c, d, g, later)).encode()
    request = b"old 3\n" + lines + b"\n" + NOTE
    old = older(3)
    assert proof_of(3).to_bytes() == (
        b"bezoar/consistency-proof@v1\nold %d\n%snew %d\n%s" % (len(old), old, len(request), request)
    )


@pytest.mark.parametrize("old", range(8))
def test_from_every_size(old):
    proof = ConsistencyProof.parse(proof_of(old).to_bytes())
    assert proof == proof_of(old)
    before, after = proof.verify(KEY)
    assert (before.size, after.size, after.root) == (old, 7, TREE.root())
    assert proof.verify(TlogPolicy.parse(f"log {KEY.text}\nquorum none\n".encode())) == (before, after)


def test_what_does_not_verify():
    good = proof_of(3)
    for hashes in ((), good.request.proof[1:], good.request.proof[::-1], (*good.request.proof, bytes(32))):
        with pytest.raises(VerificationError, match="consistency proof"):
            ConsistencyProof(good.old, Request(3, hashes, NOTE)).verify(KEY)
    other = checkpoint_of(memory_tree(hashes_of(9)[6:]))  # three other entries
    with pytest.raises(VerificationError, match="consistency proof"):
        ConsistencyProof(other, good.request).verify(KEY)
    with pytest.raises(VerificationError, match="consistency proof"):
        ConsistencyProof(NOTE, Request(7, (), checkpoint_of(memory_tree(HASHES[:3])))).verify(KEY)
    with pytest.raises(VerificationError, match="a proof too many"):
        ConsistencyProof(older(0), Request(0, (bytes(32),), NOTE)).verify(KEY)


def test_both_checkpoints_are_signed_by_whom_is_trusted():
    with pytest.raises(VerificationError, match="not signed"):
        proof_of(3).verify(log_signer(number=2).key)
    policy = TlogPolicy.parse(f"log {KEY.text}\nwitness one {witness(1).key.text}\nquorum one\n".encode())
    with pytest.raises(VerificationError, match="quorum"):
        proof_of(3).verify(policy)
    forged = older(3).replace(b"\n3\n", b"\n2\n")
    with pytest.raises(VerificationError, match="is wrong"):
        ConsistencyProof(forged, Request(2, proof_of(2).request.proof, NOTE)).verify(KEY)


GOOD = proof_of(3).to_bytes()
OLD, NEW = older(3), proof_of(3).request.to_bytes()


def text(*sections: tuple[str, bytes], header: bytes = HEADER) -> bytes:
    return header + b"".join(b"%s %d\n%s" % (name.encode(), len(body), body) for name, body in sections)


MALFORMED = [
    b"",
    HEADER,
    HEADER[:-1],
    GOOD[:-1],
    GOOD + b"\n",
    GOOD + GOOD,
    b"\n" + GOOD,
    GOOD.replace(b"\n", b"\r\n"),
    text(("old", OLD)),
    text(("new", NEW)),
    text(("new", NEW), ("old", OLD)),
    text(("old", OLD), ("old", OLD)),
    text(("old", OLD), ("new", NEW), ("new", NEW)),
    text(("older", OLD), ("new", NEW)),
    text(("old", OLD), ("new", NOTE)),
    text(("old", b""), ("new", NEW)),
    text(("old", b"x\n"), ("new", NEW)),
    text(("old", older(2)), ("new", NEW)),
    text(("old", OLD), ("new", NEW.replace(b"old 3", b"old 03"))),
    text(("old", OLD), ("new", NEW.replace(b"old 3", b"old 2"))),
    text(("old", OLD), ("new", NEW), header=b"bezoar/consistency-proof@v2\n"),
    GOOD.replace(b"\nold %d\n" % len(OLD), b"\nold 0%d\n" % len(OLD)),
    GOOD.replace(b"\nold %d\n" % len(OLD), b"\nold  %d\n" % len(OLD)),
    GOOD.replace(b"\nold %d\n" % len(OLD), b"\nold -1\n"),
    GOOD.replace(b"\nold %d\n" % len(OLD), b"\nold %d\n" % (len(OLD) + 1)),
    GOOD.replace(b"\nold %d\n" % len(OLD), b"\nold 99999999999\n"),
    text(("old", sign_checkpoint(Checkpoint("else", 3, bytes(32)), log_signer("else")).to_bytes()), ("new", NEW)),
]  # fmt: skip


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_proofs(data):
    with pytest.raises(InputError):
        ConsistencyProof.parse(data)


def test_a_proof_has_a_size_limit():
    with pytest.raises(LimitError, match="at most"):
        ConsistencyProof.parse(HEADER + bytes(MAX_BYTES))
