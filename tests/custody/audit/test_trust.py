"""Whose word counts: witnesses of the log, several signatures on one event, a log behind a web server."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.custody.audit.auditing import Scope, audit
from bezoar.custody.audit.demands import demands, sealers
from bezoar.custody.audit.opinion import Verdict
from bezoar.custody.audit.policy import Policy
from bezoar.custody.events.attesting import attest
from bezoar.custody.events.building import Request
from bezoar.custody.seal.sealing import Seal
from bezoar.custody.seal.verifying import verify
from bezoar.custody.tlog.keys import cosigner
from bezoar.custody.tlog.log_server import log_server
from bezoar.custody.tlog.note import Note, sign_note
from bezoar.custody.tlog.storage import Folder
from custody.audit.life import acquire, whole_life
from custody.audit.support import Life, log_signer, scan, signer_of, write_policy

WITNESS = cosigner(
    Ed25519PrivateKey.from_private_bytes(b"\x09" * 32), "witness.example.org", lambda: 1_800_000_000
)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    made, _ = whole_life(tmp_path / "life")
    return made


def test_a_quorum_of_witnesses(life: Life) -> None:
    folder = life.root / "policy"
    (folder / "witnesses.txt").write_text(
        f"log {log_signer().key.text}\nwitness w1 {WITNESS.key.text}\nquorum w1\n"
    )
    policy = folder / "policy.toml"
    policy.write_text(
        policy.read_text().replace(f'key = "{log_signer().key.text}"', 'tlog_policy = "witnesses.txt"')
    )
    without_log = verify(life.data, None, check=demands(Policy.load(policy), None, life.tick())).problems
    assert any("not signed as the policy demands" in problem for problem in without_log)
    statement = audit(life.data, life.root / "log", policy, now=life.tick())
    assert [each.code for each in statement.irregularities] == ["log-not-trusted"]
    assert "quorum" in statement.irregularities[0].what
    assert statement.opinion.verdict is Verdict.ADVERSE
    checkpoint = life.root / "log" / "checkpoint"
    note = Note.parse(checkpoint.read_bytes())
    cosigned = Note(note.text, (*note.signatures, *sign_note(note.text, WITNESS).signatures))
    checkpoint.write_bytes(cosigned.to_bytes())
    assert audit(life.data, life.root / "log", policy, now=life.tick()).opinion.verdict is Verdict.UNQUALIFIED


def test_an_old_checkpoint_first_and_then_one_that_no_witness_has_seen(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the log's key and serves it: what this machine remembers is newer, so it asks again."""
    folder, checkpoint = life.root / "policy", life.root / "log" / "checkpoint"
    (folder / "witnesses.txt").write_text(
        f"log {log_signer().key.text}\nwitness w1 {WITNESS.key.text}\nquorum w1\n"
    )
    policy = folder / "policy.toml"
    policy.write_text(
        policy.read_text().replace(f'key = "{log_signer().key.text}"', 'tlog_policy = "witnesses.txt"')
    )
    note = Note.parse(checkpoint.read_bytes())
    answers = [Note(note.text, (*note.signatures, *sign_note(note.text, WITNESS).signatures)).to_bytes()]
    life.attest("reviewed", "grace")
    read = Folder.read

    def serve(files: Folder, path: str, limit: int) -> bytes | None:
        old = path == "checkpoint" and files.folder == checkpoint.parent and answers
        return answers.pop() if old else read(files, path, limit)

    monkeypatch.setattr(Folder, "read", serve)
    statement = audit(life.data, life.root / "log", policy, now=life.tick())
    assert not answers
    assert "quorum 'w1' is not reached" in statement.irregularities[0].what
    assert statement.opinion.verdict is Verdict.ADVERSE


def test_two_people_may_sign_one_review(tmp_path: Path) -> None:
    life = Life(tmp_path / "life")
    acquire(life)
    life.attest("scanned", "grace", scan=scan())
    request = Request("reviewed", life.tick())
    attest(
        Seal.open(life.root / "signs.seal"),
        request,
        life.log,
        [signer_of("grace"), signer_of("edsger")],
        log_signer(),
    )
    life.seal()
    life.attest("sealed")
    policy = write_policy(life.root / "policy")
    statement = audit(life.data, life.root / "log", policy, now=life.tick())
    assert statement.irregularities == ()
    assert next(line for line in statement.events if line.kind == "reviewed").signers == ("Grace", "Edsger")


def test_a_log_over_http(life: Life) -> None:
    pytest.importorskip("aiohttp")
    with log_server(life.root / "log", "127.0.0.1:0") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        statement = audit(
            life.data,
            f"http://{host}:{port}",
            life.root / "policy" / "policy.toml",
            Scope(seed=1),
            now=life.tick(),
        )
        server.shutdown()
    assert statement.irregularities == ()
    assert statement.opinion.verdict is Verdict.UNQUALIFIED


def test_a_policy_that_is_held_against_a_verification(life: Life) -> None:
    policy = Policy.load(life.root / "policy" / "policy.toml")
    now = life.tick()

    def problems(log: str | None) -> tuple[str, ...]:
        return verify(life.data, sealers(policy), check=demands(policy, log, now)).problems

    assert problems(str(life.root / "log")) == ()
    without = problems(None)
    assert len(without) == 6
    assert all("give it with --log" in problem for problem in without)
    assert "cannot be read" in problems(str(life.root / "nowhere"))[0]
    (life.root / "signs" / "new.png").write_bytes((life.data / "acme00.png").read_bytes())
    life.rows["new.png"] = dict(life.rows["acme00.png"], contributor="")
    life.write()
    life.seal()
    found = problems(str(life.root / "log"))
    assert any("added without an event" in problem for problem in found)
    assert any("lack a source" in problem for problem in found)
    assert any("lack a source" in problem for problem in problems(None))


def test_a_damaged_memory_of_this_machine_is_not_the_logs(life: Life, state: Path) -> None:
    policy = life.root / "policy" / "policy.toml"
    assert audit(life.data, life.root / "log", policy, now=life.tick()).irregularities == ()
    memory = next(path for path in (state / "logs").iterdir() if path.is_file() and path.stat().st_size)
    memory.write_bytes(b"nonsense")
    statement = audit(life.data, life.root / "log", policy, now=life.tick())
    assert [each.code for each in statement.irregularities] == ["memory-damaged"]
    assert str(memory) in statement.irregularities[0].what
    assert "This machine's memory" in statement.irregularities[0].title
    assert statement.opinion.verdict is Verdict.QUALIFIED


def test_no_log_there(life: Life) -> None:
    policy = life.root / "policy" / "policy.toml"
    for nowhere in (life.root / "nowhere", life.data):
        statement = audit(life.data, nowhere, policy, now=life.tick())
        assert statement.irregularities[0].code == "no-log"
        assert statement.irregularities[0].what.startswith(f"{nowhere}: no custody log there")
        assert "key" not in statement.irregularities[0].what.removeprefix(str(nowhere))
