"""C2SP tlog-proof: the text, strict parsing, and what an offline proof convinces of."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.tlog.merkle import inclusion_proof, leaf_hash
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.proof import MAX_HASHES, MAX_PROOF, TlogProof
from bezoar.errors import InputError, LimitError, VerificationError

from .support import checkpoint_of, hashes_of, log_signer, memory_tree, witness

HASHES = hashes_of(300)
TREE = memory_tree(HASHES)
KEY = log_signer().key
NOTE = checkpoint_of(TREE, witness(1), witness(2))
POLICY = TlogPolicy.parse(
    f"log {KEY.text}\nwitness one {witness(1).key.text}\nwitness two {witness(2).key.text}\ngroup both all one two\nquorum both\n"
)
HASH = base64.b64encode(bytes(32)).decode()


def proof_of(index: int, extra: bytes | None = None) -> TlogProof:
    return TlogProof(index, tuple(inclusion_proof(index, 300, TREE.read)), NOTE, extra)


PROOF = proof_of(7, b"the entry itself")


def test_the_text_of_a_proof():
    lines = PROOF.to_bytes().split(b"\n")
    assert lines[:3] == [b"c2sp.org/tlog-proof@v1", b"extra dGhlIGVudHJ5IGl0c2VsZg==", b"index 7"]
    assert lines[3:12] == [base64.b64encode(each) for each in PROOF.hashes]
    assert lines[12] == b""
    assert b"\n".join(lines[13:]) == NOTE
    assert proof_of(7).to_bytes().split(b"\n")[1] == b"index 7"


@given(st.integers(0, 299), st.none() | st.binary(min_size=1, max_size=500))
@settings(deadline=None)
def test_any_proof_round_trips_and_verifies(index, extra):
    proof = proof_of(index, extra)
    again = TlogProof.parse(proof.to_bytes())
    assert again == proof
    checkpoint = again.verify(HASHES[index], KEY)
    assert (checkpoint.size, checkpoint.root) == (300, TREE.root())
    assert again.verify(HASHES[index], POLICY) == checkpoint


def test_a_tree_of_one_entry_has_a_proof_without_hashes():
    tree = memory_tree(HASHES[:1])
    proof = TlogProof(0, (), checkpoint_of(tree))
    assert proof.to_bytes().startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\nexample.com/log\n1\n")
    assert TlogProof.parse(proof.to_bytes()).verify(HASHES[0], KEY).size == 1


def test_what_does_not_verify():
    with pytest.raises(VerificationError, match="not in the tree"):
        PROOF.verify(HASHES[8], KEY)
    with pytest.raises(VerificationError, match="not in the tree"):
        PROOF.verify(leaf_hash(b"another"), POLICY)
    for index in (6, 8, 263):
        with pytest.raises(VerificationError, match="inclusion proof"):
            TlogProof(index, PROOF.hashes, NOTE).verify(HASHES[7], KEY)
    for hashes in (PROOF.hashes[1:], PROOF.hashes[:-1], (*PROOF.hashes, bytes(32)), PROOF.hashes[::-1], ()):
        with pytest.raises(VerificationError, match="inclusion proof"):
            TlogProof(7, hashes, NOTE).verify(HASHES[7], KEY)
    with pytest.raises(VerificationError, match="inclusion proof"):
        TlogProof(300, PROOF.hashes, NOTE).verify(HASHES[7], KEY)


def test_whose_checkpoint_is_not_trusted():
    with pytest.raises(VerificationError, match="not signed"):
        PROOF.verify(HASHES[7], log_signer(number=2).key)
    alone = TlogProof(7, PROOF.hashes, checkpoint_of(TREE, witness(1)))
    alone.verify(HASHES[7], KEY)
    with pytest.raises(VerificationError, match="quorum"):
        alone.verify(HASHES[7], POLICY)
    forged = TlogProof(7, PROOF.hashes, NOTE.replace(b"\n300\n", b"\n299\n"))
    for trust in (KEY, POLICY):
        with pytest.raises(VerificationError, match="is wrong"):
            forged.verify(HASHES[7], trust)


def text(
    header="c2sp.org/tlog-proof@v1\n", extra="", index="index 0\n", hashes="", gap="\n", note=None
) -> bytes:
    return f"{header}{extra}{index}{hashes}{gap}".encode("utf-8", "surrogateescape") + (
        NOTE if note is None else note
    )


def test_the_helper_makes_proofs_that_are_accepted():
    assert TlogProof.parse(text(extra="extra YQ==\n", hashes=f"{HASH}\n")).extra == b"a"


MALFORMED = [
    b"",
    b"\n",
    b"\n\n",
    NOTE,
    text(header=""),
    text(header="c2sp.org/tlog-proof@v2\n"),
    text(header="C2SP.org/tlog-proof@v1\n"),
    text(header="c2sp.org/tlog-proof@v1 \n"),
    text(header="c2sp.org/tlog-proof@v1\r\n"),
    text(header="\nc2sp.org/tlog-proof@v1\n"),
    text(header="c2sp.org/tlog-proof@v1\n\n"),
    text(header="\ufeffc2sp.org/tlog-proof@v1\n"),
    text(index=""),
    text(index="index\n"),
    text(index="index \n"),
    text(index="index 00\n"),
    text(index="index 01\n"),
    text(index="index -1\n"),
    text(index="index +1\n"),
    text(index="index  1\n"),
    text(index="index 1 \n"),
    text(index="index 1.0\n"),
    text(index="index one\n"),
    text(index="index ١\n"),
    text(index="index 9223372036854775808\n"),
    text(index="index 18446744073709551615\n"),
    text(index=f"index {'9' * 10_000}\n"),
    text(index="Index 0\n"),
    text(index="index\t0\n"),
    text(index="index 0\nindex 0\n"),
    text(index=f"{HASH}\nindex 0\n"),
    text(extra="extra\n"),
    text(extra="extra \n"),
    text(extra="extra YQ\n"),
    text(extra="extra YQ===\n"),
    text(extra="extra YR==\n"),
    text(extra="extra Y Q==\n"),
    text(extra="extra !!!!\n"),
    text(extra="extra YQ==\nextra YQ==\n"),
    text(index="index 0\nextra YQ==\n"),
    text(extra="Extra YQ==\n"),
    text(hashes=f"{HASH[:-1]}\n"),
    text(hashes=f"{HASH}=\n"),
    text(hashes=f" {HASH}\n"),
    text(hashes=f"{HASH} \n"),
    text(hashes=f"{HASH}\r\n"),
    text(hashes=f"{HASH}{HASH}\n"),
    text(hashes=f"{bytes(32).hex()}\n"),
    text(hashes=f"{base64.b64encode(bytes(31)).decode()}\n"),
    text(hashes=f"{base64.b64encode(bytes(33)).decode()}\n"),
    text(hashes=f"{base64.b64encode(bytes(64)).decode()}\n"),
    text(hashes="!!notbase64!!\n"),
    text(hashes="\udcff\n"),
    text(hashes=f"{HASH}\n\n{HASH}\n"),
    text(hashes=f"{HASH}\n" * (MAX_HASHES + 1)),
    text(gap=""),
    text(gap="\n\n"),
    text(gap=" \n"),
    text(note=b""),
    text(note=b"checkpoint\n"),
    text(note=NOTE[:-1]),
    text(note=NOTE + b"\n"),
    text(note=NOTE.replace(b"\n300\n", b"\n0300\n")),
    text(note=NOTE.replace(b"\n300\n", b"\n300\next\n")),
    text(note=NOTE.partition(b"\n\n")[0] + b"\n"),
    text().replace(b"\n", b"\r\n"),
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_proofs(data):
    with pytest.raises(InputError) as caught:
        TlogProof.parse(data)
    assert type(caught.value) is InputError


def test_a_proof_has_a_size_limit():
    with pytest.raises(LimitError, match="at most"):
        TlogProof.parse(text() + b"x" * MAX_PROOF)
    with pytest.raises(LimitError):
        TlogProof.parse(text(extra=f"extra {'A' * (MAX_PROOF - len(NOTE) - 4000)}\n"))
    with pytest.raises(LimitError, match="extra"):
        TlogProof(0, (), NOTE, bytes(2 << 20))
    largest = TlogProof(0, (bytes(32),) * MAX_HASHES, NOTE, bytes(3 << 19))
    assert TlogProof.parse(largest.to_bytes()) == largest


@pytest.mark.parametrize(
    "values",
    [
        (-1, (), NOTE),
        (2**63, (), NOTE),
        (0, (b"short",), NOTE),
        (0, (bytes(32),) * 64, NOTE),
        (0, (), b"no note"),
        (0, (), NOTE, b""),
    ],
)
def test_impossible_proofs(values):
    with pytest.raises(InputError):
        TlogProof(*values)
