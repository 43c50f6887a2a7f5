from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bezoar.cli import keygen
from bezoar.custody.signing import keys, pkcs8
from bezoar.custody.tlog.note import VerifierKey
from cli.support import Cli


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds of key derivation, and no password from the environment of the test run."""
    monkeypatch.setattr(pkcs8, "ROUNDS", 1000)
    monkeypatch.delenv("BEZOAR_KEY_PASSWORD", raising=False)


def test_the_kinds_offered_are_the_kinds_known() -> None:
    assert keygen.KINDS == keys.KINDS


@pytest.mark.parametrize("kind", keys.KINDS)
def test_a_pair_of_every_kind_with_a_password_from_the_environment(
    kind: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEZOAR_KEY_PASSWORD", "pässword")
    outcome = cli("keygen", "release", "--type", kind)
    assert (outcome.code, outcome.err) == (0, "")
    public = keys.load_public("release.pub")
    assert keys.kind_of(public) == kind
    assert outcome.out.splitlines() == [
        "private key: release.key",
        "public key:  release.pub",
        f"fingerprint: {keys.fingerprint(public)}",
    ]
    assert stat.S_IMODE(Path("release.key").stat().st_mode) == 0o600
    private = keys.load_private("release.key", "pässword".encode())
    assert keys.fingerprint(private.public_key()) == keys.fingerprint(public)
    assert sorted(os.listdir()) == ["release.key", "release.pub"]


def test_the_default_is_an_encrypted_p256_key(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEZOAR_KEY_PASSWORD", "x")
    assert cli("keygen", "k").code == 0
    assert keys.is_encrypted("k.key")
    assert keys.kind_of(keys.load_public("k.pub")) == "p256"


def test_without_a_password_on_request_only(cli: Cli) -> None:
    outcome = cli("keygen", "k", "--no-password")
    assert outcome.code == 0
    assert "private key: k.key (not encrypted)" in outcome.out
    assert keys.load_private("k.key")
    refused = cli("keygen", "other")
    assert refused.code == 64
    assert "--no-password" in refused.error
    assert not Path("other.key").exists()


def test_a_password_file(cli: Cli) -> None:
    for text, password in ((b"one two\n", b"one two"), (b"crlf\r\n", b"crlf"), (b" bare ", b" bare ")):
        Path("pw").write_bytes(text)
        assert cli("keygen", "k", "--password-file", "pw").code == 0
        assert keys.load_private("k.key", password)
        os.remove("k.key")
        os.remove("k.pub")
    for text in (b"", b"\n", b"two\nlines\n", b"x" * 1025):
        Path("pw").write_bytes(text)
        outcome = cli("keygen", "k", "--password-file", "pw")
        assert outcome.code == 2
        assert "one line" in outcome.error
    assert cli("keygen", "k", "--password-file", "nowhere").code == 2
    assert os.listdir() == ["pw"]


def test_contradictions_and_an_empty_password(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pw").write_text("x")
    assert cli("keygen", "k", "--no-password", "--password-file", "pw").code == 64
    assert cli("keygen", "k", "--no-password", "--note-name", "log.example").code == 64
    assert cli("keygen", "k", "--no-password", "--type", "rsa").code == 64
    assert cli("keygen", "", "--no-password").code == 64
    assert cli("keygen", "..", "--no-password").code == 64
    monkeypatch.setenv("BEZOAR_KEY_PASSWORD", "")
    outcome = cli("keygen", "k")
    assert outcome.code == 64
    assert "empty" in outcome.error
    assert os.listdir() == ["pw"]


@pytest.mark.parametrize("taken", ["k.key", "k.pub"])
def test_never_overwrites(taken: str, cli: Cli) -> None:
    Path(taken).write_text("precious")
    outcome = cli("keygen", "k", "--no-password")
    assert outcome.code == 2
    assert f"{taken}: exists already" in outcome.error
    assert Path(taken).read_text() == "precious"
    assert os.listdir() == [taken]


def test_a_folder_that_is_not_there(cli: Cli) -> None:
    outcome = cli("keygen", "none/k", "--no-password")
    assert outcome.code == 2
    assert "no such folder" in outcome.error


@pytest.mark.parametrize(
    ("kind", "labels"), [("ed25519", {"log": 1, "witness": 4}), ("mldsa44", {"witness": 6})]
)
def test_keys_for_signed_notes(kind: str, labels: dict[str, int], cli: Cli) -> None:
    outcome = cli("keygen", "k", "--type", kind, "--no-password", "--note-name", "example.org/log")
    assert outcome.code == 0
    shown = dict(line.split(" key:") for line in outcome.out.splitlines()[3:])
    assert set(shown) == set(labels)
    raw = keys.load_public("k.pub").public_bytes_raw()  # type: ignore[union-attr]
    for label, number in labels.items():
        key = VerifierKey.parse(shown[label].strip())
        assert (key.name, key.kind, key.public) == ("example.org/log", number, raw)


def test_a_note_name_that_is_none_leaves_no_files(cli: Cli) -> None:
    for name in ("a b", "a+b", ""):
        assert cli("keygen", "k", "--type", "ed25519", "--no-password", "--note-name", name).code in (2, 64)
    assert os.listdir() == []


def test_at_a_terminal_it_asks_twice_and_shows_nothing(tmp_path: Path) -> None:
    """The real command behind a pseudo-terminal: two answers that differ are asked for again."""
    parent, child = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "BEZOAR_KEY_PASSWORD"}
    with subprocess.Popen(
        [sys.executable, "-m", "bezoar", "keygen", "k"],
        stdin=child, stdout=subprocess.PIPE, stderr=child, cwd=tmp_path, env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(child)
        seen = b""
        for answer in (b"secret\n", b"other\n", b"secret\n", b"secret\n"):
            while not seen.endswith(b": "):
                seen += os.read(parent, 1000)
            os.write(parent, answer)
            seen += b"|"
        out, _ = process.communicate(timeout=60)
    os.close(parent)
    assert process.returncode == 0
    assert out.startswith(b"private key: k.key\n")
    assert b"secret" not in seen + out
    assert b"other" not in seen + out
    assert keys.load_private(tmp_path / "k.key", b"secret")


def test_as_json(cli: Cli) -> None:
    made = cli("keygen", "k", "--no-password", "--type", "ed25519", "--note-name", "n", "--format", "json")
    document = json.loads(made.out)
    assert document["fingerprint"] == keys.fingerprint(keys.load_public("k.pub"))
    assert (document["private_key"], document["public_key"], document["encrypted"]) == (
        "k.key",
        "k.pub",
        False,
    )
    assert [VerifierKey.parse(document[name]).kind for name in ("log_key", "witness_key")] == [1, 4]
    plain = json.loads(cli("keygen", "p", "--no-password", "--format", "json").out)
    assert (plain["type"], plain["log_key"], plain["witness_key"]) == ("p256", None, None)
    again = cli("keygen", "k", "--no-password", "--format", "json")
    assert (again.code, again.out) == (2, "")
