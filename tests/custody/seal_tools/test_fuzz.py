from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bezoar.custody.seal.absence import AbsenceProof
from bezoar.custody.seal.diffing import differences
from bezoar.custody.seal.leaves import Leaf, parse_leaf
from bezoar.custody.seal.proving import prove, prove_absent, sign_snapshot
from bezoar.custody.seal.snapshot import leaf
from bezoar.errors import VerificationError
from custody.fuzzing import fuzz
from custody.seal_tools.support import Snapshot, numbered, row, signer, snapshot


def test_fuzz_absence_proof(tmp_path: Path) -> None:
    some, none = snapshot(tmp_path / "s", numbered(300)), snapshot(tmp_path / "e", [])
    note, empty = sign_snapshot(some, signer()), sign_snapshot(none, signer())
    valid = [prove_absent(some, key, note).to_bytes() for key in (" ", "0000123.png.txt", "z")]
    fuzz(AbsenceProof.parse, [*valid, prove_absent(none, "a", empty).to_bytes()], back=AbsenceProof.to_bytes)


def test_fuzz_leaf() -> None:
    def back(found: Leaf) -> bytes:
        return leaf(found.key, found.label, found.sha256, found.size, found.source)

    valid = [row("k", label=None).leaf(), row("ключ\n", label="ü", url="u", site="\U00010000").leaf()]
    fuzz(parse_leaf, valid, back=back)


def test_fuzz_a_manifest_that_is_compared_and_proved_from(tmp_path: Path) -> None:
    """A damaged manifest beside a good tree: one typed error, or what the tree says."""
    rows = numbered(400)
    good = snapshot(tmp_path / "s", rows)
    other = snapshot(
        tmp_path / "o", [replace(each, label="bird") if each.size % 2 else each for each in rows]
    )
    note = sign_snapshot(good, signer())
    expected = [(each.key, each.kind) for each in differences(good, other)]
    manifest = good.folder / "manifest.parquet"

    def read(data: bytes) -> None:
        manifest.write_bytes(data)
        with suppress(VerificationError):
            found = [(each.key, each.kind) for each in differences(Snapshot(good.folder), other)]
            assert found == expected
        with suppress(VerificationError):
            assert prove(Snapshot(good.folder), rows[123].key, note).extra == rows[123].leaf()
        with suppress(VerificationError):
            prove_absent(Snapshot(good.folder), "0000123.png.txt", note)

    fuzz(read, [manifest.read_bytes()])
