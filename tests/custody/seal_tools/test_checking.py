"""The stranger's side. Every way to claim something else than what was signed has to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bezoar.custody.seal.checking import Content, Trust, check_record
from bezoar.custody.seal.proving import prove, sign_snapshot
from bezoar.custody.seal.snapshot import leaf
from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.custody.tlog.note import Note, sign_note
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.proof import TlogProof
from bezoar.errors import InputError, VerificationError
from custody.seal_tools.support import NAME, content, numbered, row, signer, snapshot

KEY = signer().key
RECORD = content(b"0000123.png")  # of record 123 of `numbered`


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> TlogProof:
    sealed = snapshot(tmp_path_factory.mktemp("proof") / "s", numbered(600))
    return prove(sealed, "0000123.png", sign_snapshot(sealed, signer()))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> TlogProof:
    """Of the same record in another snapshot, signed by the same key."""
    sealed = snapshot(tmp_path_factory.mktemp("foreign") / "s", [*numbered(600), row("z")])
    return prove(sealed, "0000123.png", sign_snapshot(sealed, signer()))


def refused(proof: TlogProof, trust: Trust = KEY, record: Content = RECORD, **demands: str) -> str:
    with pytest.raises(VerificationError) as caught:
        check_record(proof, trust, record, **demands)
    return str(caught.value)


def test_what_is_proved(proof: TlogProof) -> None:
    proved = check_record(proof, KEY, RECORD, key="0000123.png", label="cat")
    assert (proved.index, proved.checkpoint.size, proved.checkpoint.origin) == (123, 600, NAME)
    assert (proved.leaf.key, proved.leaf.label, proved.leaf.source) == ("0000123.png", "cat", {"site": "s4"})


def test_after_a_round_trip_through_a_file(proof: TlogProof) -> None:
    assert check_record(TlogProof.parse(proof.to_bytes()), KEY, RECORD).index == 123


def test_other_content(proof: TlogProof) -> None:
    assert "not what was sealed" in refused(proof, record=content(b"0000124.png"))
    assert "not what was sealed" in refused(proof, record=content(b""))
    assert "not what was sealed" in refused(proof, record=replace(RECORD, size=12))


def test_another_key_or_label(proof: TlogProof) -> None:
    assert "is about the record '0000123.png', not 'x'" in refused(proof, key="x")
    assert "sealed with the label 'cat', not 'dog'" in refused(proof, label="dog")
    assert "not ''" in refused(proof, label="")


def test_no_label_is_not_the_empty_label(tmp_path: Path) -> None:
    sealed = snapshot(tmp_path / "s", [row("a", b"x", None)])
    bare = prove(sealed, "a", sign_snapshot(sealed, signer()))
    assert check_record(bare, KEY, content(b"x")).leaf.label is None
    assert "no label" in refused(bare, record=content(b"x"), label="")


@pytest.mark.parametrize(
    "edit",
    [
        {"key": "0000124.png"},
        {"label": "dog"},
        {"label": None},
        {"sha256": bytes(32)},
        {"size": 12},
        {"source": {}},
        {"source": {"site": "s5"}},
    ],
)
def test_a_leaf_that_says_something_else(proof: TlogProof, edit: dict[str, object]) -> None:
    """Content is held to the leaf, the leaf to the tree: a leaf made to fit other content is not in the tree."""
    known = check_record(proof, KEY, RECORD).leaf
    values = {
        "key": known.key,
        "label": known.label,
        "sha256": known.sha256,
        "size": known.size,
        "source": known.source,
    }
    other = {**values, **edit}
    record = Content(other["sha256"], other["size"])  # type: ignore[arg-type]
    assert "is not in the tree" in refused(replace(proof, extra=leaf(**other)), record=record)  # type: ignore[arg-type]


def test_another_index(proof: TlogProof) -> None:
    for index in (0, 122, 124, 599, 600, 2**40):
        refused(replace(proof, index=index))


def test_mutated_hashes(proof: TlogProof) -> None:
    for place, value in enumerate(proof.hashes):
        broken = bytes([value[0] ^ 1]) + value[1:]
        refused(replace(proof, hashes=(*proof.hashes[:place], broken, *proof.hashes[place + 1 :])))
    refused(replace(proof, hashes=proof.hashes[:-1]))
    refused(replace(proof, hashes=(*proof.hashes, bytes(32))))
    refused(replace(proof, hashes=proof.hashes[::-1]))
    refused(replace(proof, hashes=()))


def test_a_checkpoint_of_another_snapshot(proof: TlogProof, foreign: TlogProof) -> None:
    assert check_record(foreign, KEY, RECORD).checkpoint.size == 601
    refused(replace(proof, checkpoint=foreign.checkpoint))
    refused(replace(foreign, checkpoint=proof.checkpoint))


def test_a_checkpoint_of_another_signer(proof: TlogProof) -> None:
    text = Note.parse(proof.checkpoint).text
    stranger = signer(seed=2)
    assert "not signed by" in refused(replace(proof, checkpoint=sign_note(text, stranger).to_bytes()))
    assert "not signed by" in refused(proof, trust=stranger.key)
    assert "the key is that of 'example.org/other'" in refused(proof, trust=signer("example.org/other").key)
    forged = replace(Note.parse(proof.checkpoint).signatures[0], signature=bytes(64))
    refused(replace(proof, checkpoint=Note(text, (forged,)).to_bytes()))


def test_a_node_of_the_tree_is_no_record(proof: TlogProof) -> None:
    """Leaves and nodes are hashed differently (RFC 6962): the preimage of a node does not pass as a leaf."""
    node = b"".join((leaf_hash(proof.extra or b""), proof.hashes[0]))
    refused(replace(proof, extra=node, index=61, hashes=proof.hashes[1:]))


def test_a_proof_without_its_leaf(proof: TlogProof) -> None:
    with pytest.raises(InputError, match="no leaf"):
        check_record(replace(proof, extra=None), KEY, RECORD)


def test_a_signed_tree_of_something_else(tmp_path: Path) -> None:
    """An entry of a log is no record, even though the same key may have signed the log."""
    entry = b'{"kind":"sealed"}'
    note = sign_checkpoint(Checkpoint(NAME, 1, leaf_hash(entry)), signer()).to_bytes()
    with pytest.raises(InputError, match="expected the members"):
        check_record(TlogProof(0, (), note, entry), KEY, RECORD)


def test_a_policy_that_asks_for_a_witness(proof: TlogProof) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from bezoar.custody.tlog.keys import cosigner

    witness = cosigner(
        Ed25519PrivateKey.from_private_bytes(bytes(32)), "example.net/witness", lambda: 1_700_000_000
    )
    plain = TlogPolicy.parse(f"log {KEY.text}\nquorum none\n")
    strict = TlogPolicy.parse(f"log {KEY.text}\nwitness w {witness.key.text}\nquorum w\n")
    assert check_record(proof, plain, RECORD).index == 123
    assert "quorum" in refused(proof, trust=strict)
    note = Note.parse(proof.checkpoint)
    cosigned = Note(note.text, (*note.signatures, *sign_note(note.text, witness).signatures))
    assert check_record(replace(proof, checkpoint=cosigned.to_bytes()), strict, RECORD).index == 123


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_byte_of_the_file(proof: TlogProof, data: st.DataObject) -> None:
    """One error or the other, never another exception, never a proof of something else."""
    text = proof.to_bytes()
    place = data.draw(st.integers(0, len(text) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != text[place]))
    with pytest.raises((InputError, VerificationError)):
        check_record(TlogProof.parse(text[:place] + bytes([value]) + text[place + 1 :]), KEY, RECORD)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_cut_of_the_file(proof: TlogProof, data: st.DataObject) -> None:
    text = proof.to_bytes()
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    with pytest.raises((InputError, VerificationError)):
        check_record(TlogProof.parse(text[:start] + text[end:]), KEY, RECORD)
