"""The witness's answers, each status provoked, and what it never does."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.tlog.checkpoint import Checkpoint, sign_checkpoint
from bezoar.custody.tlog.keys import cosigner
from bezoar.custody.tlog.merkle import EMPTY_ROOT, MemoryTree, consistency_proof, leaf_hash
from bezoar.custody.tlog.note import Note, NoteSignature, NoteSigner, VerifierKey, sign_note, verify_note
from bezoar.custody.tlog.witness import MAX_REQUEST, SIZE_TYPE, Request, Witness
from bezoar.errors import InputError, UsageError

from .support import ORIGIN, flip, private, signer

NAME = "witness.example.org"
ORIGIN_HASH = hashlib.sha256(ORIGIN.encode()).hexdigest()
TIME = 1_795_568_000


def tree(size: int, word: str = "event") -> MemoryTree:
    made = MemoryTree()
    for number in range(size):
        made.append(leaf_hash(f"{word} {number}".encode()))
    return made


def note(size: int, word: str = "event", by: NoteSigner | None = None, origin: str = ORIGIN) -> bytes:
    root = tree(size, word).root() if size else EMPTY_ROOT
    return sign_checkpoint(Checkpoint(origin, size, root), by or signer(origin=origin)).to_bytes()


def request(old: int, new: int, word: str = "event") -> bytes:
    proof = consistency_proof(old, new, tree(new, word).read) if 0 < old < new else []
    return Request(old, tuple(proof), note(new, word)).to_bytes()


def ed25519() -> NoteSigner:
    return cosigner(private(9), NAME, lambda: TIME)


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    (tmp_path / "witness").mkdir()
    return tmp_path / "witness"


@pytest.fixture
def witness(state_folder: Path) -> Witness:
    return Witness([signer().key], [ed25519()], state_folder)


def test_a_request_is_as_the_specification_writes_it() -> None:
    body = Request(1, (b"\x01" * 32, b"\x02" * 32), b"checkpoint\n").to_bytes()
    assert body == (
        b"old 1\n"
        b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
        b"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n"
        b"\n"
        b"checkpoint\n"
    )
    assert Request.parse(body) == Request(1, (b"\x01" * 32, b"\x02" * 32), b"checkpoint\n")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_one_error(body: bytes) -> None:
    try:
        parsed = Request.parse(body)
    except InputError:
        return
    assert parsed.to_bytes() == body


def test_200_with_cosignatures_that_verify(witness: Witness) -> None:
    for old, new in [(0, 3), (3, 8), (8, 300), (300, 300)]:
        answer = witness.add_checkpoint(request(old, new))
        assert answer.status == 200
        assert answer.body.startswith(b"\xe2\x80\x94 witness.example.org ")
        assert answer.body.endswith(b"\n")
        cosigned = Note.parse(note(new).partition(b"\n\n")[0] + b"\n\n" + answer.body)
        assert verify_note(cosigned, [ed25519().key]) == [ed25519().key]
    latest = witness.latest(ORIGIN)
    assert latest is not None
    assert latest.size == 300


def test_200_with_ed25519_and_ml_dsa_44(state_folder: Path) -> None:
    signers = [ed25519(), cosigner(MLDSA44PrivateKey.generate(), NAME, lambda: TIME)]
    witness = Witness([signer().key], signers, state_folder)
    answer = witness.add_checkpoint(request(0, 5))
    assert answer.body.count(b"\n") == 2
    cosigned = Note.parse(note(5).partition(b"\n\n")[0] + b"\n\n" + answer.body)
    assert verify_note(cosigned, [each.key for each in signers]) == [each.key for each in signers]
    assert [each.key.kind for each in signers] == [4, 6]


def test_200_for_a_log_with_further_signatures(witness: Witness) -> None:
    signed = sign_note(Note.parse(note(3)).text, signer(), signer(seed=5, origin="stranger.example"))
    assert witness.add_checkpoint(Request(0, (), signed.to_bytes()).to_bytes()).status == 200


def test_200_for_the_empty_tree(witness: Witness) -> None:
    assert witness.add_checkpoint(request(0, 0)).status == 200
    assert witness.add_checkpoint(request(0, 4)).status == 200


GOOD = request(0, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 0\n",
        b"old 0\n\n",
        GOOD[1:],
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", b"old 0 "),
        GOOD.replace(b"old 0", b"OLD 0"),
        GOOD.replace(b"old 0", b"old  0"),
        GOOD.replace(b"old 0", b"old \xd9\xa0"),
        GOOD.replace(b"old 0", b"old 9223372036854775808"),
        GOOD.replace(b"old 0", b"old " + b"9" * 5000),
        GOOD.replace(b"old 0\n", b"old 0\r\n"),
        GOOD.replace(b"old 0\n", b"old 0\nnot base64\n"),
        GOOD.replace(b"old 0\n", b"old 0\nAAAA\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + b"A" * 43 + b"\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + b"A" * 42 + b"B=\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + (b"A" * 43 + b"=\n") * 64),
        GOOD[:-1],
        GOOD[:-20],
        GOOD.partition("—".encode())[0],
        GOOD + b"\n",
        GOOD + b"x" * MAX_REQUEST,
        GOOD.replace(b"\n3\n", b"\n03\n"),
        request(0, 3).replace(b"old 0", b"old 4"),
    ],
)
def test_400(witness: Witness, body: bytes) -> None:
    answer = witness.add_checkpoint(body)
    assert (answer.status, witness.latest(ORIGIN)) == (400, None)
    assert answer.body.count(b"\n") == 1


def test_403_for_another_key_and_for_a_wrong_signature(witness: Witness) -> None:
    for signed in (
        note(3, by=signer(seed=2)),
        sign_note(Note.parse(note(3)).text, signer(origin="other")).to_bytes(),
    ):
        assert witness.add_checkpoint(Request(0, (), signed).to_bytes()).status == 403
    own = Note.parse(note(3))
    wrong = NoteSignature(own.signatures[0].name, own.signatures[0].key_id, bytes(64))
    assert (
        witness.add_checkpoint(Request(0, (), Note(own.text, (wrong,)).to_bytes()).to_bytes()).status == 403
    )
    assert witness.latest(ORIGIN) is None


def test_404_for_an_unknown_origin(witness: Witness) -> None:
    body = Request(0, (), note(3, origin="example.org/other")).to_bytes()
    assert witness.add_checkpoint(body).status == 404


def test_409_with_the_size_that_was_cosigned(witness: Witness) -> None:
    fresh = witness.add_checkpoint(request(2, 3))
    assert (fresh.status, fresh.body, fresh.content_type) == (409, b"0\n", SIZE_TYPE)
    witness.add_checkpoint(request(0, 3))
    for body in (request(0, 3), request(0, 8), request(2, 8), request(2, 2), request(1, 2)):
        answer = witness.add_checkpoint(body)
        assert (answer.status, answer.body, answer.content_type) == (409, b"3\n", "text/x.tlog.size")


def test_409_for_another_root_of_the_same_size(witness: Witness) -> None:
    witness.add_checkpoint(request(0, 3))
    answer = witness.add_checkpoint(request(3, 3, "another history"))
    assert (answer.status, answer.body) == (
        409,
        b"another root was cosigned at this size: the log was forked\n",
    )
    assert answer.content_type != SIZE_TYPE
    assert witness.add_checkpoint(request(3, 3)).status == 200


def test_422_for_a_proof_that_does_not_verify(witness: Witness) -> None:
    proof = tuple(consistency_proof(3, 8, tree(8).read))
    good = witness.add_checkpoint(request(0, 3))
    assert good.status == 200
    for wrong in ((), proof[:-1], (*proof, bytes(32)), (bytes(32), *proof[1:]), proof[::-1]):
        assert witness.add_checkpoint(Request(3, wrong, note(8)).to_bytes()).status == 422
    assert witness.add_checkpoint(request(3, 8, "another history")).status == 422
    assert witness.add_checkpoint(Request(3, (bytes(32),), note(3)).to_bytes()).status == 422
    latest = witness.latest(ORIGIN)
    assert latest is not None
    assert latest.size == 3


def test_422_for_a_proof_from_nothing(witness: Witness) -> None:
    assert witness.add_checkpoint(Request(0, (bytes(32),), note(3)).to_bytes()).status == 422
    assert witness.latest(ORIGIN) is None


def test_422_for_an_empty_tree_with_a_root(witness: Witness) -> None:
    wrong = sign_checkpoint(Checkpoint(ORIGIN, 0, bytes(32)), signer()).to_bytes()
    for _ in range(2):
        assert witness.add_checkpoint(Request(0, (), wrong).to_bytes()).status == 422
        assert witness.add_checkpoint(request(0, 0)).status == 200


def test_logs_are_kept_apart(state_folder: Path) -> None:
    other = signer(seed=3, origin="example.org/other")
    witness = Witness([signer().key, other.key], [ed25519()], state_folder)
    assert witness.add_checkpoint(request(0, 8)).status == 200
    assert (
        witness.add_checkpoint(Request(0, (), note(3, by=other, origin=other.key.name)).to_bytes()).status
        == 200
    )
    assert [latest.size for origin in (ORIGIN, other.key.name) if (latest := witness.latest(origin))] == [
        8,
        3,
    ]


def test_a_log_may_change_its_key(state_folder: Path) -> None:
    Witness([signer().key], [ed25519()], state_folder).add_checkpoint(request(0, 3))
    both = Witness([signer(seed=2).key, signer().key], [ed25519()], state_folder)
    proof = tuple(consistency_proof(3, 8, tree(8).read))
    assert both.add_checkpoint(Request(3, proof, note(8, by=signer(seed=2))).to_bytes()).status == 200
    only = Witness([signer().key], [ed25519()], state_folder)
    latest = only.latest(ORIGIN)  # the new key is unknown to it, its own signature is not
    assert latest is not None
    assert latest.size == 8


def test_a_restart_forgets_nothing(witness: Witness, state_folder: Path) -> None:
    witness.add_checkpoint(request(0, 8))
    again = Witness([signer().key], [ed25519()], state_folder)
    assert again.add_checkpoint(request(0, 3)).body == b"8\n"
    assert again.add_checkpoint(request(8, 8, "another history")).status == 409
    assert again.add_checkpoint(request(8, 9)).status == 200


def test_no_cosignature_leaves_before_the_state_is_on_the_disk(
    witness: Witness, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        answer = witness.add_checkpoint(request(0, 3))
    assert answer.status == 500
    assert "—".encode() not in answer.body
    assert Witness([signer().key], [ed25519()], state_folder).latest(ORIGIN) is None


def test_500_and_no_cosignature_when_the_state_is_damaged(witness: Witness, state_folder: Path) -> None:
    witness.add_checkpoint(request(0, 3))
    (path,) = (each for each in state_folder.iterdir() if each.suffix != ".lock")
    flip(path)
    answer = witness.add_checkpoint(request(3, 8))
    assert answer.status == 500
    assert answer.body.startswith(b"nothing was cosigned")
    with pytest.raises(InputError, match="the state is damaged; restore it"):
        witness.latest(ORIGIN)


def test_the_state_is_the_checkpoint_with_the_signatures_of_log_and_witness(witness: Witness) -> None:
    assert witness.checkpoint(ORIGIN_HASH) is None
    log = signer()
    signed = sign_note(Note.parse(note(3)).text, log, signer(seed=5, origin="stranger.example"), log)
    answer = witness.add_checkpoint(Request(0, (), signed.to_bytes()).to_bytes())
    assert witness.checkpoint(ORIGIN_HASH) == note(3) + answer.body
    assert witness.checkpoint(hashlib.sha256(b"example.org/other").hexdigest()) is None


@pytest.mark.parametrize("sizes", [[3], [3, 4, 5, 6, 7, 8]])
def test_requests_at_once_cosign_one_history(witness: Witness, state_folder: Path, sizes: list[int]) -> None:
    """Two histories are offered by many threads at once, by two witnesses of one state; one history wins."""
    witnesses = [witness, Witness([signer().key], [ed25519()], state_folder)]
    cosigned: list[tuple[int, str]] = []

    def offer(which: Witness, size: int, word: str) -> Callable[[], None]:
        def run() -> None:
            answer = which.add_checkpoint(request(0, size, word))
            if answer.status == 200:
                cosigned.append((size, word))

        return run

    threads = [
        threading.Thread(target=offer(which, size, word))
        for which in witnesses
        for size in sizes
        for word in ("event", "another history")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cosigned) == 1
    latest = witness.latest(ORIGIN)
    assert latest is not None
    assert (latest.size, latest.root) == (cosigned[0][0], tree(*cosigned[0]).root())


def test_a_lost_state_folder_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; create it for a new witness"):
        Witness([signer().key], [ed25519()], tmp_path / "lost")


def test_a_witness_without_keys(state_folder: Path) -> None:
    with pytest.raises(UsageError, match="needs a key"):
        Witness([signer().key], [], state_folder)
    with pytest.raises(UsageError, match="needs a key"):
        Witness([], [ed25519()], state_folder)


def test_keys_that_cannot_be_told_apart(state_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VerifierKey, "key_id", b"same")
    with pytest.raises(UsageError, match="share their key id"):
        Witness([signer().key, signer(seed=2).key], [ed25519()], state_folder)
