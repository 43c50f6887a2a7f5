from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bezoar.custody.seal.absence import HEADER, MAX_BYTES, AbsenceProof, is_absence_proof
from bezoar.custody.seal.checking import check_absent
from bezoar.custody.seal.proving import prove, prove_absent, sign_snapshot
from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.merkle import EMPTY_ROOT
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.errors import InputError, LimitError, VerificationError
from custody.seal_tools.support import NAME, Snapshot, numbered, row, signer, snapshot

KEY = signer().key
ABSENT = "0000123.png.txt"  # between records 123 and 124


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("absence") / "s", numbered(600))


@pytest.fixture(scope="module")
def note(sealed: Snapshot) -> bytes:
    return sign_snapshot(sealed, signer())


@pytest.fixture(scope="module")
def proof(sealed: Snapshot, note: bytes) -> AbsenceProof:
    return prove_absent(sealed, ABSENT, note)


def refused(proof: AbsenceProof, key: str = ABSENT) -> str:
    with pytest.raises(VerificationError) as caught:
        check_absent(proof, KEY, key)
    return str(caught.value)


def test_between_two_records(proof: AbsenceProof) -> None:
    gap = check_absent(AbsenceProof.parse(proof.to_bytes()), KEY, ABSENT)
    assert gap.before is not None
    assert gap.after is not None
    assert (gap.before.index, gap.after.index) == (123, 124)
    assert gap.checkpoint.origin == NAME
    assert check_absent(proof, KEY, "0000123.png~") == gap  # the same gap, another key


def test_before_the_first_and_after_the_last(sealed: Snapshot, note: bytes) -> None:
    first = AbsenceProof.parse(prove_absent(sealed, " ", note).to_bytes())
    last = AbsenceProof.parse(prove_absent(sealed, "z", note).to_bytes())
    assert (first.before, last.after) == (None, None)
    assert check_absent(first, KEY, " ").before is None
    assert check_absent(last, KEY, "z").after is None
    refused(first, "z")
    refused(last, " ")


def test_in_the_empty_snapshot(tmp_path: Path) -> None:
    nothing = snapshot(tmp_path / "s", [])
    proof = AbsenceProof.parse(prove_absent(nothing, "a", sign_snapshot(nothing, signer())).to_bytes())
    gap = check_absent(proof, KEY, "a")
    assert (gap.before, gap.after, gap.checkpoint) == (None, None, Checkpoint(NAME, 0, EMPTY_ROOT))
    policy = TlogPolicy.parse(f"log {KEY.text}\nquorum none\n")
    assert check_absent(proof, policy, "a") == gap


@pytest.mark.parametrize(("size", "root"), [(1, EMPTY_ROOT), (0, bytes(32)), (600, bytes(32))])
def test_a_snapshot_that_is_not_empty(size: int, root: bytes) -> None:
    note = sign_checkpoint(Checkpoint(NAME, size, root), signer()).to_bytes()
    assert "says that it is not" in refused(AbsenceProof(checkpoint=note), "a")


def test_an_empty_snapshot_of_another_signer() -> None:
    note = sign_checkpoint(Checkpoint(NAME, 0, EMPTY_ROOT), signer(seed=2)).to_bytes()
    assert "not signed" in refused(AbsenceProof(checkpoint=note), "a")


def test_a_key_that_is_there(sealed: Snapshot, note: bytes, proof: AbsenceProof) -> None:
    """No way leads to the absence of a present key: not the gaps beside it, not the gap made across it."""
    assert "is not absent: it is record 123" in refused(proof, "0000123.png")
    assert "is not absent: it is record 124" in refused(proof, "0000124.png")
    across = AbsenceProof(prove(sealed, "0000122.png", note), prove(sealed, "0000124.png", note))
    assert "not neighbours" in refused(across, "0000123.png")
    for edge in (AbsenceProof(before=prove(sealed, "0000122.png", note)), AbsenceProof(after=across.after)):
        assert "not at the edge" in refused(edge, "0000123.png")
    assert "says that it is not" in refused(AbsenceProof(checkpoint=note), "0000123.png")


def test_a_key_elsewhere(proof: AbsenceProof) -> None:
    for key in ("0000122.png", "0000125.png", " ", "z", "0000122.png.txt"):
        assert "not lie in the gap" in refused(proof, key)


def test_halves_exchanged_or_doubled(proof: AbsenceProof) -> None:
    refused(AbsenceProof(proof.after, proof.before))
    refused(AbsenceProof(proof.before, proof.before))
    refused(AbsenceProof(proof.after, proof.after))
    refused(AbsenceProof(before=proof.before))
    refused(AbsenceProof(after=proof.after))


def test_halves_of_two_snapshots(tmp_path: Path, proof: AbsenceProof) -> None:
    """One without the key, and one with it: their halves do not go together even where the places fit."""
    other = snapshot(tmp_path / "o", [*numbered(600), row(ABSENT)])
    half = prove(other, "0000123.png", sign_snapshot(other, signer()))
    assert "different checkpoints" in refused(AbsenceProof(half, proof.after))
    assert proof.before is not None
    refused(AbsenceProof(replace(proof.before, checkpoint=half.checkpoint), proof.after))


def test_a_wrong_signer_for_one_half(tmp_path: Path, proof: AbsenceProof, sealed: Snapshot) -> None:
    stranger = sign_snapshot(sealed, signer(seed=2))
    refused(prove_absent(sealed, ABSENT, stranger))
    assert proof.after is not None
    refused(replace(proof, after=replace(proof.after, checkpoint=stranger)))


def test_a_leaf_changed_to_make_room(proof: AbsenceProof) -> None:
    assert proof.before is not None
    leaf = (proof.before.extra or b"").replace(b"0000123.png", b"0000122.png")
    assert "not in the tree" in refused(replace(proof, before=replace(proof.before, extra=leaf)))


def test_a_snapshot_that_is_not_sorted(tmp_path: Path, sealed: Snapshot) -> None:
    """What absence rests on: a signer who sorts wrongly can be caught only where the order shows."""
    rows = numbered(4)
    wrong = [rows[2], rows[0], rows[1], rows[3]]

    from bezoar.custody.tlog.merkle import MemoryTree, inclusion_proof, leaf_hash
    from bezoar.custody.tlog.proof import TlogProof

    tree = MemoryTree()
    for each in wrong:
        tree.append(leaf_hash(each.leaf()))
    note = sign_checkpoint(Checkpoint(NAME, 4, tree.root()), signer()).to_bytes()

    def half(index: int) -> TlogProof:
        return TlogProof(index, tuple(inclusion_proof(index, 4, tree.read)), note, wrong[index].leaf())

    refused(AbsenceProof(half(0), half(1)), "0000001.png")  # 2, 0: the gap is no gap
    lie = check_absent(AbsenceProof(half(2), half(3)), KEY, "0000002.png")  # 1, 3: and 2 lies elsewhere
    assert lie.before is not None, "documented: the order of the other leaves is the signer's promise"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.sets(TEXT, max_size=9).map(sorted), TEXT)
@example(["\uffff"], "\U00010000")  # code points, not UTF-16 units
@example(["\U00010000"], "\uffff")
def test_any_key_of_any_snapshot(keys: Sequence[str], key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sealed = snapshot(Path(folder, "s"), [row(each) for each in keys])
        note = sign_snapshot(sealed, signer())
        if key in keys:
            with pytest.raises(InputError):
                prove_absent(sealed, key, note)
            return
        proof = AbsenceProof.parse(prove_absent(sealed, key, note).to_bytes())
        gap = check_absent(proof, KEY, key)
        assert gap.checkpoint.size == len(keys)
        for other in keys:
            refused(proof, other)


# ---- the format


def case(name: str, good: AbsenceProof) -> bytes:
    """A file that is no absence proof, made of a good one."""
    text = good.to_bytes()
    assert good.before is not None
    assert good.after is not None
    before, after, note = good.before.to_bytes(), good.after.to_bytes(), good.before.checkpoint
    one, two = b"before %d\n%s" % (len(before), before), b"after %d\n%s" % (len(after), after)
    return {
        "empty": b"",
        "the header alone": HEADER,
        "the header without its end": HEADER[:-1],
        "another version": text.replace(b"@v1", b"@v2", 1),
        "a tlog-proof": before,
        "a blank before the header": b" " + text,
        "a byte order mark": b"\xef\xbb\xbf" + text,
        "carriage returns": text.replace(b"\n", b"\r\n"),
        "after first": HEADER + two + one,
        "before twice": HEADER + one + one,
        "after twice": HEADER + two + two,
        "three sections": HEADER + one + two + two,
        "a checkpoint too many": text + b"checkpoint %d\n%s" % (len(note), note),
        "a checkpoint first": HEADER + b"checkpoint %d\n%s" % (len(note), note) + one + two,
        "an unknown section": HEADER + one + two.replace(b"after ", b"behind ", 1),
        "a section in capitals": HEADER + one.replace(b"before", b"BEFORE", 1) + two,
        "no length": HEADER + b"before\n" + before,
        "length zero": HEADER + b"before 0\n",
        "a length with a zero before": HEADER + b"before 0%d\n" % len(before) + before,
        "a length with a sign": HEADER + b"before +%d\n" % len(before) + before,
        "a negative length": HEADER + b"before -1\n" + before,
        "a length with a blank": HEADER + b"before  %d\n" % len(before) + before,
        "a length with a blank behind": HEADER + b"before %d \n" % len(before) + before,
        "a length in hexadecimal": HEADER + b"before 0x%x\n" % len(before) + before,
        "a length in other digits": HEADER + "before \u0661\u0662\n".encode() + before,
        "a huge length": HEADER + b"before 9999999\n" + before,
        "a length of 1,000 digits": HEADER + b"before " + b"9" * 1000 + b"\n" + before,
        "a length too long by one": HEADER + b"before %d\n" % (len(before) + 1) + before,
        "a length too short by one": HEADER + b"before %d\n" % (len(before) - 1) + before,
        "a heading without an end": HEADER + one + b"after 12",
        "bytes after the last section": text + b"\n",
        "a line between the sections": HEADER + one + b"\n" + two,
        "an empty proof within": HEADER + b"before 1\n\n",
        "a proof within of another version": HEADER + one.replace(b"proof@v1", b"proof@v2") + two,
        "no index within": HEADER + b"before %d\n" % (len(before) - 10) + before.replace(b"index 123\n", b""),
        "bytes that are no UTF-8": HEADER + b"before %d\n" % len(before) + b"\xff" * len(before),
        "a checkpoint that is none": HEADER + b"checkpoint 3\nabc",
    }[name]


CASES = [
    "empty",
    "the header alone",
    "the header without its end",
    "another version",
    "a tlog-proof",
    "a blank before the header",
    "a byte order mark",
    "carriage returns",
    "after first",
    "before twice",
    "after twice",
    "three sections",
    "a checkpoint too many",
    "a checkpoint first",
    "an unknown section",
    "a section in capitals",
    "no length",
    "length zero",
    "a length with a zero before",
    "a length with a sign",
    "a negative length",
    "a length with a blank",
    "a length with a blank behind",
    "a length in hexadecimal",
    "a length in other digits",
    "a huge length",
    "a length of 1,000 digits",
    "a length too long by one",
    "a length too short by one",
    "a heading without an end",
    "bytes after the last section",
    "a line between the sections",
    "an empty proof within",
    "a proof within of another version",
    "no index within",
    "bytes that are no UTF-8",
    "a checkpoint that is none",
]


@pytest.mark.parametrize("name", CASES)
def test_malformed(proof: AbsenceProof, name: str) -> None:
    with pytest.raises(InputError):
        check_absent(AbsenceProof.parse(case(name, proof)), KEY, ABSENT)


def test_too_large() -> None:
    with pytest.raises(LimitError):
        AbsenceProof.parse(HEADER + b"x" * MAX_BYTES)


def test_comes_back_as_it_was(proof: AbsenceProof) -> None:
    assert AbsenceProof.parse(proof.to_bytes()) == proof
    assert is_absence_proof(proof.to_bytes())
    assert proof.before is not None
    assert not is_absence_proof(proof.before.to_bytes())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_flipped_byte(proof: AbsenceProof, data: st.DataObject) -> None:
    text = proof.to_bytes()
    place = data.draw(st.integers(0, len(text) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != text[place]))
    with pytest.raises((InputError, VerificationError)):
        check_absent(AbsenceProof.parse(text[:place] + bytes([value]) + text[place + 1 :]), KEY, ABSENT)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    for data in (body, HEADER + body, HEADER + b"before %d\n" % max(len(body), 1) + body):
        with pytest.raises(InputError):
            AbsenceProof.parse(data)
