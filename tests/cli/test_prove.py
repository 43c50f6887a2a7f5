from __future__ import annotations

import json
from pathlib import Path

import pytest

from bezoar.custody.tlog.proof import TlogProof
from cli.seal_support import NAME, note_key_file, note_signer, sealed
from cli.support import Cli, image_folder


@pytest.fixture
def folder(cli: Cli) -> Path:
    path = image_folder(Path("signs"))
    sealed(path, noted=note_signer())
    return path


def test_a_record(cli: Cli, folder: Path) -> None:
    outcome = cli("prove", folder, "Stop/002.png")
    assert outcome.code == 0
    assert outcome.out.startswith("002.png.tlog-proof: record Stop/002.png in signs, ")
    proof = TlogProof.parse(Path("002.png.tlog-proof").read_bytes())
    assert proof.index == 2
    assert proof.checkpoint == Path("signs.seal/checkpoint").read_bytes()
    assert b'"key":"Stop/002.png"' in (proof.extra or b"")


def test_by_the_seal_and_to_a_place(cli: Cli, folder: Path) -> None:
    assert cli("prove", "signs.seal", "Stop/002.png", "--out", "p").code == 0
    assert TlogProof.parse(Path("p").read_bytes()).index == 2


def test_an_absent_key(cli: Cli, folder: Path) -> None:
    assert cli("prove", folder, "Stop/nothing.png", "--absent").code == 0
    assert Path("nothing.png.absence-proof").read_bytes().startswith(b"bezoar/absence-proof@v1\nbefore ")


def test_a_seal_without_a_checkpoint_is_signed_now(cli: Cli) -> None:
    path = image_folder(Path("signs"))
    sealed(path)
    outcome = cli("prove", path, "Stop/002.png")
    assert outcome.code == 64
    assert "give --note-key and --note-name" in outcome.error
    key = note_key_file(Path("note.key"))
    assert cli("prove", path, "Stop/002.png", "--note-key", key, "--note-name", NAME).code == 0
    assert (
        cli(
            "check",
            "002.png.tlog-proof",
            "--record",
            path / "Stop" / "002.png",
            "--key",
            note_signer().key.text,
        ).code
        == 0
    )
    assert not Path("signs.seal/checkpoint").exists(), "the seal is not touched"


def test_errors(cli: Cli, folder: Path) -> None:
    assert "no record 'Stop/9.png'" in cli("prove", folder, "Stop/9.png").error
    assert cli("prove", folder, "Stop/9.png").code == 2
    assert "absence cannot be proved" in cli("prove", folder, "Stop/002.png", "--absent").error
    assert "no seal there" in cli("prove", "nowhere", "x").error
    assert cli("prove", folder, "Stop/002.png", "--note-name", NAME).code == 64
    assert cli("prove", folder, "Stop/002.png", "--note-key", "missing.key", "--note-name", NAME).code == 2
    Path("there").touch()
    assert "exists already" in cli("prove", folder, "Stop/002.png", "--out", "there").error
    assert not list(Path().glob("*-proof")), "nothing was written"


def test_a_checkpoint_of_an_older_seal(cli: Cli, folder: Path) -> None:
    stale = Path("signs.seal/checkpoint").read_bytes()
    (folder / "Stop" / "000.png").unlink()
    sealed(folder, noted=note_signer())
    Path("signs.seal/checkpoint").write_bytes(stale)
    outcome = cli("prove", folder, "Stop/002.png")
    assert outcome.code == 1
    assert "another snapshot" in outcome.error


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b/..", "record"),
        ("../../etc/passwd", "passwd"),
        ("-rf", "rf"),
        ("a b\n\x1b[2J", "a_b___2J"),
        ("", "record"),
        ("///", "record"),
        ("x" * 500, "x" * 80),
        ("übung.png", "_bung.png"),
    ],
)
def test_a_file_name_for_any_key(key: str, name: str) -> None:
    from bezoar.cli.prove import _file_name

    assert _file_name(key) == name


def test_as_json(cli: Cli, folder: Path) -> None:
    document = json.loads(cli("prove", folder, "Stop/002.png", "--format", "json").out)
    size = Path("002.png.tlog-proof").stat().st_size
    assert document == {
        "absent": False,
        "bytes": size,
        "key": "Stop/002.png",
        "name": "signs",
        "proof": "002.png.tlog-proof",
        "version": 1,
    }
    assert json.loads(cli("prove", folder, "x", "--absent", "--format", "json").out)["absent"] is True
