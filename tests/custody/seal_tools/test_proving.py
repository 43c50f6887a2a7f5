from __future__ import annotations

from pathlib import Path

import pytest

from bezoar.custody.seal.leaves import MAX_LEAF
from bezoar.custody.seal.proving import prove, prove_absent, sign_snapshot
from bezoar.custody.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from bezoar.custody.tlog.merkle import EMPTY_ROOT, leaf_hash
from bezoar.custody.tlog.proof import TlogProof
from bezoar.errors import InputError, LimitError, VerificationError
from custody.seal_tools.support import NAME, Snapshot, numbered, row, signer, snapshot

KEY = signer().key


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 600])
def test_every_record_is_proved(tmp_path: Path, count: int) -> None:
    rows = numbered(count)
    sealed = snapshot(tmp_path / "s", rows)
    checkpoint = sign_snapshot(sealed, signer())
    for index in {0, 1 % count, count // 2, count - 1}:
        proof = TlogProof.parse(prove(sealed, rows[index].key, checkpoint).to_bytes())
        assert proof.index == index
        assert proof.extra == rows[index].leaf()
        assert proof.verify(leaf_hash(rows[index].leaf()), KEY) == Checkpoint(NAME, count, sealed.tree.root())


def test_the_checkpoint_is_of_the_whole_snapshot(tmp_path: Path) -> None:
    sealed = snapshot(tmp_path / "s", numbered(300))
    signed, _ = open_checkpoint(sign_snapshot(sealed, signer()), KEY)
    assert signed == Checkpoint(NAME, 300, sealed.tree.root())
    empty, _ = open_checkpoint(sign_snapshot(snapshot(tmp_path / "e", []), signer()), KEY)
    assert empty == Checkpoint(NAME, 0, EMPTY_ROOT)


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    sealed = snapshot(tmp_path / "s", numbered(3))
    with pytest.raises(InputError, match=r"no record 'x'.*--absent"):
        prove(sealed, "x", sign_snapshot(sealed, signer()))


def test_the_absence_of_a_key_that_is_there(tmp_path: Path) -> None:
    sealed = snapshot(tmp_path / "s", numbered(300))
    for each in (0, 150, 299):
        with pytest.raises(InputError, match=f"record {each} has the key"):
            prove_absent(sealed, f"{each:07d}.png", sign_snapshot(sealed, signer()))


@pytest.mark.parametrize("make", [prove, prove_absent])
def test_a_checkpoint_of_another_snapshot(tmp_path: Path, make: type) -> None:
    sealed, other = (
        snapshot(tmp_path / "s", numbered(3)),
        snapshot(tmp_path / "o", [row("a"), row("b"), row("c")]),
    )
    key = "0000001.png" if make is prove else "x"
    for size, root in ((2, sealed.tree.root()), (4, sealed.tree.root()), (3, other.tree.root())):
        checkpoint = sign_checkpoint(Checkpoint(NAME, size, root), signer()).to_bytes()
        with pytest.raises(VerificationError, match="another snapshot"):
            make(sealed, key, checkpoint)


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        prove(snapshot(tmp_path / "s", numbered(3)), "0000001.png", b"not a note")


def test_no_proof_of_a_manifest_that_is_not_the_trees(tmp_path: Path) -> None:
    """Whoever edits the manifest alone gets no proof of the edited record."""
    sealed = snapshot(tmp_path / "s", [row("a", label="cat")])
    snapshot(tmp_path / "o", [row("a", label="dog")])
    (tmp_path / "o" / "manifest.parquet").replace(tmp_path / "s" / "manifest.parquet")
    edited = Snapshot(tmp_path / "s")
    with pytest.raises(VerificationError):
        prove(edited, "a", sign_snapshot(sealed, signer()))


def test_a_record_too_large_for_a_proof(tmp_path: Path) -> None:
    sealed = snapshot(tmp_path / "s", [row("a", url="u" * MAX_LEAF)])
    with pytest.raises(LimitError):
        prove(sealed, "a", sign_snapshot(sealed, signer()))
