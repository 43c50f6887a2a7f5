from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli.seal_support import NAME, note_key_file, note_signer, sealed
from cli.support import Cli, image_folder

VKEY = note_signer().key.text


@pytest.fixture
def proof(cli: Cli) -> Path:
    """Of record 2, `Stop/002.png`; the record itself lies in `record`."""
    folder = image_folder(Path("signs"))
    sealed(folder, noted=note_signer())
    assert cli("prove", folder, "Stop/002.png", "--out", "proof").code == 0
    assert cli("prove", folder, "Stop/003.png.txt", "--absent", "--out", "gap").code == 0
    (folder / "Stop" / "002.png").rename("record")
    return Path("proof")


def test_what_was_proved(cli: Cli, proof: Path) -> None:
    outcome = cli(
        "check", proof, "--record", "record", "--key", VKEY, "--label", "Stop", "--record-key", "Stop/002.png"
    )
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "proved: this content is in the snapshot, under this key and label"
    assert "key:      Stop/002.png" in lines
    assert "label:    Stop" in lines
    assert "record:   2 (the first is 0) of 8" in lines
    assert f"signed:   {NAME}" in lines


def test_without_the_dataset_and_its_seal(cli: Cli, proof: Path) -> None:
    import shutil

    shutil.rmtree("signs")
    shutil.rmtree("signs.seal")
    assert cli("check", proof, "--record", "record", "--key", VKEY).code == 0
    assert cli("check", "gap", "--absent", "Stop/003.png.txt", "--key", VKEY).code == 0


def test_the_key_may_lie_in_a_file(cli: Cli, proof: Path) -> None:
    Path("log.vkey").write_text(VKEY + "\n")
    assert cli("check", proof, "--record", "record", "--key", "log.vkey").code == 0


def test_a_file_that_is_called_as_the_key_is(cli: Cli, proof: Path) -> None:
    """A key has slashes: whoever packed the folder could have put another key under its name."""
    Path(VKEY).parent.mkdir(parents=True)
    Path(VKEY).write_text(note_signer(2).key.text)
    assert cli("check", proof, "--record", "record", "--key", VKEY).code == 0


def test_a_policy_instead_of_a_key(cli: Cli, proof: Path) -> None:
    Path("policy").write_text(f"log {VKEY}\nquorum none\n")
    assert cli("check", proof, "--record", "record", "--tlog-policy", "policy").code == 0
    Path("policy").write_text(f"log {note_signer(2).key.text}\nquorum none\n")
    assert cli("check", proof, "--record", "record", "--tlog-policy", "policy").code == 1
    Path("policy").write_text("log nothing\n")
    assert cli("check", proof, "--record", "record", "--tlog-policy", "policy").code == 2


def test_not_proved(cli: Cli, proof: Path) -> None:
    Path("other").write_bytes(Path("record").read_bytes() + b"\0")
    outcome = cli("check", proof, "--record", "other", "--key", VKEY)
    assert outcome.code == 1
    assert "not what was sealed" in outcome.error
    assert outcome.out == ""
    good = ("check", proof, "--record", "record", "--key", VKEY)
    assert "not 'Yield'" in cli(*good, "--label", "Yield").error
    assert "not 'Stop/001.png'" in cli(*good, "--record-key", "Stop/001.png").error
    other = cli("check", proof, "--record", "record", "--key", note_signer(2).key.text)
    assert other.code == 1
    assert "not signed by" in other.error
    assert (
        cli("check", proof, "--record", "record", "--key", note_signer(1, "example.org/else").key.text).code
        == 1
    )


def test_absence(cli: Cli, proof: Path) -> None:
    outcome = cli("check", "gap", "--absent", "Stop/003.png.txt", "--key", VKEY)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "proved: no record of the snapshot has the key Stop/003.png.txt"
    assert lines[1:3] == ["before:   record 3, Stop/003.png", "after:    record 4, Yield/000.png"]
    assert lines[-1].startswith("given that the signer sorted the records")
    present = cli("check", "gap", "--absent", "Stop/003.png", "--key", VKEY)
    assert present.code == 1
    assert "is not absent" in present.error
    assert cli("check", "gap", "--absent", "Stop/002.png", "--key", VKEY).code == 1


@pytest.mark.parametrize("key", ["", "Stop/003.png\udcff"])
def test_what_is_no_key_is_not_proved_absent(cli: Cli, proof: Path, key: str) -> None:
    assert cli("prove", proof.parent / "signs", "Stop/000", "--absent", "--out", "first").code == 0
    for gap in ("gap", "first"):
        outcome = cli("check", gap, "--absent", key, "--key", VKEY)
        assert (outcome.code, outcome.out) == (64, "")
        assert "never empty" in outcome.error or "not UTF-8" in outcome.error
    assert cli("prove", proof.parent / "signs", key, "--absent", "--out", "none").code == 64


def test_an_entry_of_a_log(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    note_key_file(Path("log.key"))
    assert cli("log", "init", "log", "--origin", NAME, "--key", "log.key").code == 0
    for number in range(3):
        Path(f"{number}.json").write_text(f'{{"number": {number}}}')
        assert cli("log", "append", "log", f"{number}.json", "--key", "log.key").code == 0
    assert cli("log", "prove", "log", 1, "--out", "proof").code == 0
    outcome = cli("check", "proof", "--entry", "1.json", "--key", VKEY)
    assert outcome.code == 0
    assert outcome.out.splitlines()[:2] == [
        "proved: this entry is in the log",
        "entry:    1 (the first is 0) of 3",
    ]
    assert cli("check", "proof", "--entry", "2.json", "--key", VKEY).code == 1
    assert cli("check", "proof", "--entry", "1.json", "--key", note_signer(2).key.text).code == 1
    Path("big.json").write_text('{"number": 99999999999999999999}')
    Path("none.json").write_text("[]")
    assert cli("check", "proof", "--entry", "big.json", "--key", VKEY).code == 2
    assert cli("check", "proof", "--entry", "none.json", "--key", VKEY).code == 2
    assert cli("check", "proof", "--entry", "1.json", "--label", "x", "--key", VKEY).code == 64
    assert cli("check", "proof", "--record", "1.json", "--key", VKEY).code == 2, "no leaf of a snapshot in it"


def test_malformed_and_unreadable(cli: Cli, proof: Path) -> None:
    Path("junk").write_bytes(b"\xff\x00")
    assert cli("check", "junk", "--record", "record", "--key", VKEY).code == 2
    assert cli("check", "nowhere", "--record", "record", "--key", VKEY).code == 2
    assert cli("check", proof, "--record", "nowhere", "--key", VKEY).code == 2
    assert cli("check", proof, "--record", "signs", "--key", VKEY).code == 2
    assert cli("check", proof, "--record", "record", "--key", "no key").code == 2
    Path("huge").write_bytes(b"bezoar/absence-proof@v1\n" + b"x" * (9 << 20))
    assert "larger than" in cli("check", "huge", "--absent", "x", "--key", VKEY).error


def test_usage(cli: Cli, proof: Path) -> None:
    assert cli("check", proof, "--key", VKEY).code == 64
    assert cli("check", proof, "--record", "record", "--absent", "x", "--key", VKEY).code == 64
    assert cli("check", proof, "--record", "record").code == 64
    assert cli("check", proof, "--absent", "x", "--key", VKEY).code == 64
    assert cli("check", "gap", "--record", "record", "--key", VKEY).code == 64
    assert cli("check", "gap", "--absent", "x", "--label", "y", "--key", VKEY).code == 64
    Path("policy").write_text(f"log {VKEY}\nquorum none\n")
    assert cli("check", proof, "--record", "record", "--key", VKEY, "--tlog-policy", "policy").code == 64


def test_a_pipe_is_no_record(cli: Cli, proof: Path) -> None:
    os.mkfifo("fifo")
    for name in ("fifo", "/dev/zero"):
        outcome = cli("check", proof, "--record", name, "--key", VKEY)
        assert outcome.code == 2
        assert f"{name}: not an ordinary file" in outcome.error


def test_as_json(cli: Cli, proof: Path) -> None:
    def check(*arguments: object, code: int = 0) -> dict[str, Any]:
        outcome = cli("check", *arguments, "--key", VKEY, "--format", "json")
        assert outcome.code == code
        document: dict[str, Any] = json.loads(outcome.out)
        assert (document["valid"], document["version"]) == (code == 0, 1)
        return document

    proved = check(proof, "--record", "record")["proved"]
    assert (proved["origin"], proved["size"]) == (NAME, 8)
    assert (proved["record"]["key"], proved["record"]["label"], proved["record"]["index"]) == (
        "Stop/002.png",
        "Stop",
        2,
    )
    assert proved["record"]["size"] == Path("record").stat().st_size
    gap = check("gap", "--absent", "Stop/003.png.txt")["proved"]
    assert (gap["before"]["key"], gap["after"]["key"]) == ("Stop/003.png", "Yield/000.png")
    assert "Stop/002.png" in check(proof, "--record", "record", "--label", "Yield", code=1)["why"]
