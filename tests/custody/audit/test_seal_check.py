"""The seal at the closing: the very one that was logged last, part by part; how often and how long ago it was sealed."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

import bezoar
from bezoar.custody.audit.auditing import Scope, audit
from bezoar.custody.audit.demands import demands, sealers
from bezoar.custody.audit.opinion import Verdict
from bezoar.custody.audit.policy import Policy
from bezoar.custody.audit.statement import AuditStatement
from bezoar.custody.seal.reading import Seal
from bezoar.custody.seal.sealing import seal
from bezoar.custody.seal.verifying import verify
from bezoar.custody.tlog.storage import Folder
from bezoar.errors import UsageError, VerificationError
from bezoar.report.audit_words import sampling
from custody.audit.life import whole_life
from custody.audit.support import Life, signer_of


@pytest.fixture
def life(tmp_path: Path) -> Life:
    made, _ = whole_life(tmp_path / "life")
    return made


def policy_of(life: Life) -> Path:
    return life.root / "policy" / "policy.toml"


def look(life: Life) -> AuditStatement:
    return audit(life.data, life.root / "log", policy_of(life), Scope(seed=1), now=life.tick())


def codes(statement: AuditStatement) -> set[str]:
    return {each.code for each in statement.irregularities}


def held_to(life: Life) -> tuple[str, ...]:
    """The problems that `verify --policy --log` finds."""
    policy = Policy.load(policy_of(life))
    check = demands(policy, str(life.root / "log"), life.tick())
    return verify(life.data, sealers(policy), check=check).problems


def resealed(life: Life) -> Path:
    """Another seal of the same records: the loader beside them was mended. The older seal and loader, to be put back."""
    (life.data / "loader.py").write_text("import os  # runs a command\n")
    life.seal()
    life.attest("sealed")
    old = life.root / "old"
    shutil.copytree(life.root / "signs.seal", old)
    (life.data / "loader.py").write_text("# does nothing\n")
    life.seal()
    return old


def put_back(life: Life, old: Path) -> None:
    shutil.rmtree(life.root / "signs.seal")
    shutil.copytree(old, life.root / "signs.seal")
    (life.data / "loader.py").write_text("import os  # runs a command\n")


def test_an_older_seal_of_the_same_records(life: Life) -> None:
    old = resealed(life)
    life.attest("sealed")
    assert codes(look(life)) == set()
    put_back(life, old)
    statement = look(life)
    assert codes(statement) == {"old-seal"}
    assert statement.opinion.verdict is Verdict.ADVERSE
    assert any("An old seal was put back" in problem for problem in held_to(life))


def test_another_seal_of_the_same_records_that_was_not_logged(life: Life) -> None:
    resealed(life)
    statement = look(life)
    assert codes(statement) == {"seal-not-logged"}
    assert "another seal of the same records" in statement.irregularities[0].what
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_a_seal_without_its_description_is_not_authentic(life: Life) -> None:
    (life.root / "signs.seal" / "croissant.json").unlink()
    statement = look(life)
    assert {"seal-not-authentic", "seal-not-logged"} <= codes(statement)
    assert statement.opinion.verdict is Verdict.ADVERSE


class TwoFaces(Folder):
    """A server that hands out another bundle, to which nobody has put a name, at the first request."""

    def __init__(self, folder: Path, forged: bytes) -> None:
        super().__init__(folder)
        self.forged: bytes | None = forged

    def read(self, path: str, limit: int) -> bytes | None:
        if path == "bundle.sig" and self.forged is not None:
            forged, self.forged = self.forged, None
            return forged
        return super().read(path, limit)


@pytest.mark.parametrize("full", [True, False])
def test_a_seal_behind_a_server_that_says_two_things(
    full: bool, life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature is held against the bytes that the files are compared with."""
    (life.data / "loader.py").write_text("import os  # runs a command\n")
    made = seal(life.data, signer_of("mallory"), out=life.root / "forged")
    forged = (life.root / "forged" / "bundle.sig").read_bytes()
    assert made.root == Seal.open(life.root / "signs.seal").root
    faces = TwoFaces(life.root / "signs.seal", forged)
    monkeypatch.setattr("bezoar.custody.tlog.storage.Remote", lambda url: faces)
    statement = audit(
        life.data,
        life.root / "log",
        policy_of(life),
        Scope(full=full, seed=1),
        seal="https://example.org/signs.seal",
        now=life.tick(),
    )
    assert faces.forged is None
    assert "seal-not-authentic" in codes(statement)
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_every_part_of_a_remote_seal_is_read_once(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()

    class Counting(Folder):
        def read(self, path: str, limit: int) -> bytes | None:
            asked[path] += 1
            return super().read(path, limit)

    monkeypatch.setattr("bezoar.custody.tlog.storage.Remote", lambda url: Counting(life.root / "signs.seal"))
    statement = audit(
        life.data,
        life.root / "log",
        policy_of(life),
        Scope(seed=1),
        seal="https://example.org/signs.seal",
        now=life.tick(),
    )
    assert codes(statement) == set()
    assert [asked[name] for name in ("bundle.sig", "manifest.parquet", "croissant.json")] == [1, 1, 1]


def test_another_dataset_in_its_place(life: Life) -> None:
    """A genuine seal with its genuine data, of the same signer, in the log and in order: it is not this dataset."""
    for name in ("signs", "signs.seal"):
        (life.root / name).rename(life.root / name.replace("signs", "horses"))
    life.data = life.root / "horses"
    statement = look(life)
    assert codes(statement) == {"other-dataset"}
    assert "'signs', not 'horses'" in statement.irregularities[0].what
    assert statement.opinion.verdict is Verdict.ADVERSE
    assert [problem for problem in held_to(life) if "'signs', not 'horses'" in problem]
    with pytest.raises(VerificationError, match="'signs', not 'horses'"):
        bezoar.open(life.data, verify=life.root / "policy" / "ada.pub")
    assert len(bezoar.open(life.data, verify=life.root / "policy" / "ada.pub", name="signs")) == 88


def test_a_dataset_that_was_renamed_says_its_name(life: Life) -> None:
    for name in ("signs", "signs.seal"):
        (life.root / name).rename(life.root / name.replace("signs", "horses"))
    life.data = life.root / "horses"
    said = Scope(seed=1, name="signs")
    assert audit(life.data, life.root / "log", policy_of(life), said, now=life.tick()).irregularities == ()
    policy = policy_of(life)
    policy.write_text(policy.read_text() + '\n[dataset]\nname = "signs"\n')
    assert codes(look(life)) == set()
    with pytest.raises(UsageError, match="'signs', not 'horses'"):
        audit(life.data, life.root / "log", policy, Scope(name="horses"), now=life.tick())


def test_a_seal_that_is_attested_again_is_no_younger(life: Life) -> None:
    policy = policy_of(life)
    policy.write_text(policy.read_text().replace("maximum_age_days = 90", "maximum_age_days = 10"))
    life.now += timedelta(days=20)
    assert codes(look(life)) == {"seal-too-old"}
    life.attest("sealed")
    assert codes(look(life)) == {"seal-too-old"}
    life.seal()
    life.attest("sealed")
    assert codes(look(life)) == set()


def test_a_seal_that_is_attested_again_is_counted_once(life: Life) -> None:
    sealed = [line for line in look(life).events if line.kind == "sealed"]
    policy = policy_of(life)
    policy.write_text(
        policy.read_text().replace("minimum_sequence = 2", f"minimum_sequence = {len(sealed) + 1}")
    )
    assert codes(look(life)) == {"sequence-too-low"}
    life.attest("sealed")
    assert codes(look(life)) == {"sequence-too-low"}
    life.seal()
    life.attest("sealed")
    assert codes(look(life)) == set()


def test_a_chosen_seed_says_nothing_about_the_rest(life: Life) -> None:
    """Whoever may choose tries seeds until the sample misses what is wrong."""
    chosen = look(life)
    assert chosen.sampling.chosen
    assert (chosen.to_json()["sampling"]["seed"], chosen.to_json()["sampling"]["seed_chosen"]) == (1, True)
    assert chosen.to_json()["sampling"]["confidence"] is None
    assert "seed that was chosen" in sampling(chosen)
    assert "probability" not in sampling(chosen)


def test_a_seed_of_chance_is_recorded(life: Life) -> None:
    two = [audit(life.data, life.root / "log", policy_of(life), now=life.tick()) for _ in range(2)]
    assert len({each.sampling.seed for each in two}) == 2
    for each in two:
        assert not each.sampling.chosen
        assert each.to_json()["sampling"]["confidence"] == 0.95
        assert "probability of 95" in sampling(each)
