from __future__ import annotations

from pathlib import Path

from bezoar.custody.seal.absence import AbsenceProof
from bezoar.custody.seal.leaves import Leaf, parse_leaf
from bezoar.custody.seal.proving import prove_absent, sign_snapshot
from bezoar.custody.seal.snapshot import leaf
from custody.fuzzing import fuzz
from custody.seal_tools.support import numbered, row, signer, snapshot


def test_fuzz_absence_proof(tmp_path: Path) -> None:
    some, none = snapshot(tmp_path / "s", numbered(300)), snapshot(tmp_path / "e", [])
    note, empty = sign_snapshot(some, signer()), sign_snapshot(none, signer())
    valid = [prove_absent(some, key, note).to_bytes() for key in ("", "0000123.png.txt", "z")]
    fuzz(AbsenceProof.parse, [*valid, prove_absent(none, "a", empty).to_bytes()], back=AbsenceProof.to_bytes)


def test_fuzz_leaf() -> None:
    def back(found: Leaf) -> bytes:
        return leaf(found.key, found.label, found.sha256, found.size, found.source)

    valid = [row("k", label=None).leaf(), row("ключ\n", label="ü", url="u", site="\U00010000").leaf()]
    fuzz(parse_leaf, valid, back=back)
