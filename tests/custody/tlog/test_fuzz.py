"""A fuzz target per parser of the room; see tests/custody/fuzzing.py. BEZOAR_FUZZ_SECONDS sets how long each runs."""

from __future__ import annotations

import pytest

from bezoar.custody.tlog.checkpoint import Checkpoint, open_checkpoint
from bezoar.custody.tlog.consistency import ConsistencyProof
from bezoar.custody.tlog.cosignature import Cosignature
from bezoar.custody.tlog.merkle import consistency_proof
from bezoar.custody.tlog.note import Note, VerifierKey
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.proof import TlogProof
from bezoar.custody.tlog.storage import Folder
from bezoar.custody.tlog.tiles import TileTree, parse_tile_path, tile_path
from bezoar.custody.tlog.witness import Request
from bezoar.errors import InputError, VerificationError

from ..fuzzing import SECONDS, fuzz
from .support import VECTORS, checkpoint_of, hashes_of, log_signer, memory_tree, witness, write_tiles

TREE = memory_tree(hashes_of(300))
NOTE = checkpoint_of(TREE, witness(1), witness(2))
BARE = checkpoint_of(TREE)
KEY = log_signer().key
PATHS = [b"tile/0/000", b"tile/0/x001/x234/067.p/3", b"tile/entries/x009/223.p/255", b"tile/63/999"]
POLICY = f"""log {KEY.text} https://log.example/
# witnesses
witness one {witness(1).key.text} https://w.example/
witness two {witness(3).key.text}
group both all one two
witness three {witness(5).key.text}
group any-of-them any both three
quorum any-of-them
""".encode()


def as_text(data: bytes) -> str:
    """For parsers of text: what is no UTF-8 goes in as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def test_notes():
    result = fuzz(
        Note.parse, [NOTE, BARE, (VECTORS / "mldsa44-subtree.note").read_bytes()], back=Note.to_bytes
    )
    assert 0 < result.accepted < result.tried


def test_verifier_keys():
    valid = [as_bytes(each.key.text) for each in (log_signer(), witness(1), witness(2))]
    fuzz(lambda data: VerifierKey.parse(as_text(data)), valid, back=lambda key: as_bytes(key.text))


def test_checkpoint_bodies():
    valid = [
        as_bytes(Checkpoint(origin, size, TREE.root()).body())
        for origin, size in (("o", 0), ("example.com/é", 2**63 - 1))
    ]
    result = fuzz(
        lambda data: Checkpoint.parse_body(as_text(data)), valid, back=lambda each: as_bytes(each.body())
    )
    assert 0 < result.accepted < result.tried


def test_cosignatures():
    valid = [(5).to_bytes(8, "big") + bytes(64)]
    fuzz(lambda data: Cosignature.parse(data, 0x04), valid, back=Cosignature.to_bytes)


def test_proofs():
    valid = [
        TlogProof(7, tuple(TREE.read([(0, 6), (1, 2)])), NOTE, b"extra").to_bytes(),
        TlogProof(0, (), BARE).to_bytes(),
    ]
    result = fuzz(TlogProof.parse, valid, back=TlogProof.to_bytes)
    assert 0 < result.accepted < result.tried


def test_consistency_proofs():
    old = memory_tree(hashes_of(200))
    valid = [
        ConsistencyProof(
            checkpoint_of(old), Request(200, tuple(consistency_proof(200, 300, TREE.read)), NOTE)
        ).to_bytes(),
        ConsistencyProof(BARE, Request(300, (), NOTE)).to_bytes(),
    ]
    result = fuzz(ConsistencyProof.parse, valid, back=ConsistencyProof.to_bytes)
    assert 0 < result.accepted < result.tried


def test_policies():
    result = fuzz(TlogPolicy.parse, [POLICY, b"quorum none\n"])
    assert 0 < result.accepted < result.tried


def test_paths_of_tiles():
    def back(tile):
        return as_bytes(tile_path(tile.level, tile.index, tile.width, entries=tile.entries))

    result = fuzz(lambda data: parse_tile_path(as_text(data)), PATHS, back=back)
    assert 0 < result.accepted < result.tried


def test_paths_within_a_folder(tmp_path):
    root = tmp_path / "log"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")

    def read(data: bytes) -> None:
        assert Folder(root).read(as_text(data), 100) is None

    fuzz(read, [*PATHS, b"checkpoint"])


def test_a_signature_is_never_accepted_over_other_bytes():
    """Whatever is done to a signed checkpoint: it is refused, or it still says exactly what was signed."""
    signed = Checkpoint.parse_body(Note.parse(BARE).text)

    def opened(data: bytes) -> None:
        try:
            assert open_checkpoint(data, KEY)[0] == signed
        except VerificationError:
            raise InputError("refused") from None

    result = fuzz(opened, [BARE, NOTE])
    assert result.accepted < result.tried


def test_a_policy_never_accepts_other_bytes():
    policy = TlogPolicy.parse(POLICY)
    cosigned = checkpoint_of(TREE, witness(1), witness(3))
    signed = policy.check(cosigned)

    def checked(data: bytes) -> None:
        try:
            assert policy.check(data) == signed
        except VerificationError:
            raise InputError("refused") from None

    fuzz(checked, [cosigned])


def test_tiles_of_any_bytes(tmp_path):
    """A damaged tile gives an error or another root, never anything else."""
    write_tiles(tmp_path, hashes_of(300))
    place = tmp_path / "tile/0/001.p/44"

    def read(data: bytes) -> None:
        place.write_bytes(data)
        tree = TileTree(Folder(tmp_path), 300)
        assert (tree.root() == TREE.root()) == (data == original)

    original = place.read_bytes()
    fuzz(read, [original])


def test_the_fuzzer_finds_what_leaks(monkeypatch):
    monkeypatch.setenv(SECONDS, "0.2")

    def careless(data: bytes) -> int:
        if not data.isdigit():
            raise InputError("not digits")
        return int(data.decode())

    with pytest.raises(AssertionError, match="second spelling"):
        fuzz(careless, [b"1234"], back=lambda number: b"%d" % number)

    def leaking(data: bytes) -> bytes:
        if b"\xff" in data:
            raise ValueError("leak")
        raise InputError("refused")

    with pytest.raises(AssertionError, match="ValueError leaked"):
        fuzz(leaking, [])
    with pytest.raises(InputError):
        fuzz(careless, [b"not valid"])


def test_the_environment_sets_the_time(monkeypatch):
    monkeypatch.setenv(SECONDS, "0")
    assert fuzz(bytes.hex, [b"x"]).tried == 50
