"""The checkpoint that this machine remembers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bezoar.custody.tlog.keys import cosigner
from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.log_report import verify_log
from bezoar.custody.tlog.note import Note, sign_note
from bezoar.custody.tlog.policy import TlogPolicy
from bezoar.custody.tlog.state import recall
from bezoar.custody.tlog.storage import Folder
from bezoar.errors import InputError, OutputError, VerificationError

from .support import bare, flip, items, make_log, private, problems, signer


def copy_of(log: CustodyLog, to: Path) -> Path:
    shutil.copytree(log.location, to)
    return to


@pytest.fixture
def forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of 5 entries, by the same key as `make_log`, made where nothing is remembered."""
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "elsewhere"))
    make_log(tmp_path / "forked", 5, "another history")
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    return tmp_path / "forked"


def test_the_largest_checkpoint_is_remembered(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 3)
    assert recall(log.key) == log.checkpoint()[0]
    log.append(items(3, 4), signer())
    assert recall(log.key) == log.checkpoint()[0]
    assert recall(signer(seed=2).key) is None


def test_a_first_visit_and_then_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(tmp_path / "log", 3)
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "stranger"))
    assert log.verify().seen is None
    log.append(bare(3, 700), signer())
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "another"))
    reader = CustodyLog.open(tmp_path / "log")
    reader.verify()
    log.append(bare(700, 900), signer())
    report = CustodyLog.open(tmp_path / "log").verify()
    assert report.valid
    assert report.seen is not None
    assert report.seen.size == 900


def test_growth_is_proved_from_every_size(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 0)
    reader_state = tmp_path / "reader"
    for end in (1, 2, 255, 256, 257, 512, 530):
        log.append(bare(log.size, end), signer())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BEZOAR_STATE", str(reader_state))
            before = recall(log.key)
            seen = CustodyLog.open(log.location).check_history()
            assert seen == before
            assert recall(log.key) == log.checkpoint()[0]


def test_a_rollback_names_both(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", 3)
    old = copy_of(log, tmp_path / "old")
    log.append(items(3, 5), signer())
    (line,) = problems(CustodyLog.open(old))
    assert line.startswith("history: ")
    assert "was rolled back: it shows size 3 (root " in line
    assert "this machine has seen size 5 (root " in line
    with pytest.raises(VerificationError, match="rolled back"):
        CustodyLog.open(old).check_history()


@pytest.mark.parametrize("more", [0, 1, 300])
def test_a_fork_names_both(tmp_path: Path, forked: Path, more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log(tmp_path / "log", 5)
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "elsewhere"))
    CustodyLog.open(forked).append(bare(5, 5 + more), signer())
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    (line,) = problems(CustodyLog.open(forked))
    assert "the log was forked" in line
    assert f"it shows size {5 + more} (root " in line
    assert "has seen size 5 (root " in line


def test_a_fork_is_not_remembered(tmp_path: Path, forked: Path) -> None:
    log = make_log(tmp_path / "log", 5)
    for _ in range(2):
        assert not CustodyLog.open(forked).verify().valid
    assert recall(log.key) == log.checkpoint()[0]
    assert log.verify().valid


def test_a_smaller_fork_is_a_rollback(tmp_path: Path, forked: Path) -> None:
    make_log(tmp_path / "log", 6)
    with pytest.raises(VerificationError, match="rolled back"):
        CustodyLog.open(forked).check_history()


def test_damaged_tiles_are_not_called_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(tmp_path / "log", 5)
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "writer"))
    log.append(bare(5, 9), signer())
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    flip(tmp_path / "log/tile/0/000.p/9", 0)
    with pytest.raises(VerificationError, match="which are damaged"):
        CustodyLog.open(tmp_path / "log").check_history()


def test_a_log_that_grew_after_it_was_opened_is_no_rollback(tmp_path: Path) -> None:
    writer = make_log(tmp_path / "log", 3)
    reader = CustodyLog.open(tmp_path / "log")
    writer.append(items(3, 5), signer())
    assert reader.verify().valid
    assert reader.size == 5


def test_a_damaged_memory_is_no_memory_to_go_on(tmp_path: Path, state: Path) -> None:
    log = make_log(tmp_path / "log", 3)
    (path,) = (each for each in (state / "logs").iterdir() if not each.name.startswith("."))
    flip(path)
    with pytest.raises(InputError, match="the remembered checkpoint is damaged"):
        log.check_history()


def test_a_memory_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(tmp_path / "log", 3)
    (tmp_path / "file").touch()
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set BEZOAR_STATE"):
        log.check_history()


def test_the_state_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEZOAR_STATE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    log = make_log(tmp_path / "log", 1)
    assert recall(log.key) == log.checkpoint()[0]
    assert (tmp_path / "home/.local/state/bezoar/logs").is_dir()


@pytest.fixture
def rewritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of the same origin under a key of its own, made where nothing is remembered."""
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "elsewhere"))
    make_log(tmp_path / "rewritten", 5, "another history", seed=2)
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    return tmp_path / "rewritten"


def test_another_key_of_the_same_origin(tmp_path: Path, rewritten: Path) -> None:
    log = make_log(tmp_path / "log", 5)
    for _ in range(2):
        (line,) = problems(CustodyLog.open(rewritten))
        assert line.startswith("history: ")
        assert "the origin 'example.org/custody' had another key" in line
        assert log.key.text in line
    assert recall(signer(2).key) is None
    with pytest.raises(VerificationError, match="had another key"):
        CustodyLog.open(rewritten).check_history()
    assert CustodyLog.open(log.location).verify().valid


def test_another_key_at_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_log(tmp_path / "log", 5)
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "elsewhere"))
    by = signer(2, "example.org/other")
    CustodyLog.init(tmp_path / "other", by.name, by)
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    shutil.rmtree(tmp_path / "log")
    shutil.copytree(tmp_path / "other", tmp_path / "log")
    with pytest.raises(VerificationError, match="the log at this place had another key"):
        CustodyLog.open(tmp_path / "log").check_history()


def test_a_key_that_is_given_is_the_key_from_then_on(tmp_path: Path, rewritten: Path) -> None:
    log = make_log(tmp_path / "log", 5)
    report = CustodyLog.open(rewritten, signer(2).key).verify()
    assert (report.valid, report.key_given) == (True, True)
    assert report.to_json()["key_given"] is True
    report = CustodyLog.open(rewritten).verify()
    assert (report.valid, report.to_json()["key_given"]) == (True, False)
    with pytest.raises(VerificationError, match="had another key"):
        CustodyLog.open(log.location).check_history()
    policy = TlogPolicy.parse(f"log {log.key.text}\nquorum none\n".encode())
    assert verify_log(CustodyLog.open(log.location), policy).to_json()["key_given"] is True
    assert CustodyLog.open(log.location).verify().valid


def test_a_memory_of_keys_that_is_damaged_is_no_memory_to_go_on(tmp_path: Path, state: Path) -> None:
    log = make_log(tmp_path / "log", 3)
    for path in (state / "keys").iterdir():
        path.write_bytes(b"\xff\n\x1b[31m")
    with pytest.raises(VerificationError, match="had another key"):
        CustodyLog.open(log.location).check_history()


class TwoFaced(Folder):
    """A server of a log that shows an old checkpoint when it is asked for the first time."""

    def __init__(self, folder: Path, old: bytes) -> None:
        super().__init__(folder)
        self._old: bytes | None = old

    def read(self, path: str, limit: int) -> bytes | None:
        old, self._old = (self._old, None) if path == "checkpoint" else (None, self._old)
        return old or super().read(path, limit)


def test_a_checkpoint_that_comes_later_must_meet_the_policy_too(tmp_path: Path) -> None:
    """An old one that the witnesses signed, then a newer one that they have never seen."""
    witness = cosigner(private(9), "witness.example.org", lambda: 1_800_000_000)
    writer = make_log(tmp_path / "log", 3)
    policy = TlogPolicy.parse(f"log {writer.key.text}\nwitness w {witness.key.text}\nquorum w\n")
    note = Note.parse(writer.checkpoint()[1])
    old = Note(note.text, (*note.signatures, *sign_note(note.text, witness).signatures)).to_bytes()
    writer.append(items(3, 5), signer())
    files = TwoFaced(tmp_path / "log", old)
    report = verify_log(CustodyLog(writer.location, files, writer.key), policy)
    assert [problem.where for problem in report.problems] == ["history"]
    assert "quorum 'w' is not reached" in report.problems[0].what
