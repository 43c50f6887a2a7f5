"""`bezoar log`: a log's life at the terminal."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bezoar.custody.signing.keys import generate
from bezoar.custody.tlog.merkle import leaf_hash
from bezoar.custody.tlog.note import VerifierKey
from bezoar.custody.tlog.proof import TlogProof
from cli.support import Cli

ORIGIN = "example.org/custody"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))


def key_file(path: Path, kind: str = "ed25519") -> Path:
    path.write_bytes(generate(kind, None)[0])
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path / "log.key")


@pytest.fixture
def log(cli: Cli, tmp_path: Path, key: Path) -> Path:
    """A log of two entries, of which the first names an object."""
    folder, envelope = tmp_path / "log", tmp_path / "envelope.json"
    envelope.write_text('{"signed": "statement"}')
    digest = hashlib.sha256(envelope.read_bytes()).hexdigest()
    first = {
        "dataset": "signs",
        "kind": "acquired",
        "object": f"sha256:{digest}",
        "time": "2026-11-25T01:02:03Z",
    }
    (tmp_path / "first.json").write_text(json.dumps(first, indent=4))
    (tmp_path / "second.json").write_text('{"b": 1, "a": "\\u202etxt"}')
    assert cli("log", "init", folder, "--origin", ORIGIN, "--key", key).code == 0
    done = cli(
        *("log", "append", folder, tmp_path / "first.json", tmp_path / "second.json"),
        *("--object", envelope, "--key", key),
    )
    assert (done.code, done.out) == (0, "0\n1\n")
    return folder


def vkey(folder: Path) -> str:
    text = json.loads((folder / "log.json").read_text())["key"]
    assert isinstance(text, str)
    return text


def test_init_prints_the_verifier_key(cli: Cli, tmp_path: Path, key: Path) -> None:
    done = cli("log", "init", tmp_path / "new", "--origin", ORIGIN, "--key", key)
    assert done.code == 0
    assert VerifierKey.parse(done.out.strip()).name == ORIGIN
    again = cli("log", "init", tmp_path / "new", "--origin", ORIGIN, "--key", key)
    assert again.code == 2
    assert "exists already" in again.error


def test_init_with_a_key_that_cannot_sign_logs(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "log", "init", tmp_path / "new", "--origin", ORIGIN, "--key", key_file(tmp_path / "p256.key", "p256")
    )
    assert done.code == 64
    assert "Ed25519" in done.error


def test_init_with_a_name_that_is_none(cli: Cli, tmp_path: Path, key: Path) -> None:
    done = cli("log", "init", tmp_path / "new", "--origin", "two words", "--key", key)
    assert done.code == 2
    assert "no name of a key" in done.error
    assert not (tmp_path / "new").exists()


def test_an_encrypted_key(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked.key").write_bytes(generate("ed25519", b"open sesame")[0])
    (tmp_path / "password").write_text("open sesame\n")
    arguments = ("log", "init", tmp_path / "new", "--origin", ORIGIN, "--key", tmp_path / "locked.key")
    assert "encrypted" in cli(*arguments).error
    assert cli(*arguments, "--password-file", tmp_path / "password").code == 0


def test_show_in_words(cli: Cli, log: Path) -> None:
    done = cli("log", "show", log)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "example.org/custody: 2 entries"
    assert lines[2] == f"key   {vkey(log)}"
    assert "the one that the log names; give --key" in lines[3]
    assert lines[5].split() == ["#", "time", "kind", "dataset", "records", "object"]
    assert lines[6].split()[:4] == ["0", "2026-11-25T01:02:03Z", "acquired", "signs"]
    assert lines[7] == '1  {"a":"\\u202etxt","b":1}'
    assert "the one that the log names" not in cli("log", "show", log, "--key", vkey(log)).out


def test_show_as_json(cli: Cli, log: Path) -> None:
    document = json.loads(cli("log", "show", log, "--format", "json").out)
    assert (document["origin"], document["size"], document["key"]) == (ORIGIN, 2, vkey(log))
    assert document["entries"][1] == {"entry": {"a": "\u202etxt", "b": 1}, "index": 1}


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), [0, 1]),
        (("--count", 1), [1]),
        (("--from", 0, "--count", 1), [0]),
        (("--from", 1), [1]),
        (("--from", 9), []),
    ],
)
def test_show_some(cli: Cli, log: Path, options: tuple[object, ...], shown: list[int]) -> None:
    document = json.loads(cli("log", "show", log, "--format", "json", *options).out)
    assert [entry["index"] for entry in document["entries"]] == shown


def test_verify_a_good_log(cli: Cli, log: Path, tmp_path: Path) -> None:
    done = cli("log", "verify", log)
    assert done.code == 0
    assert done.out.splitlines()[0] == "valid: example.org/custody, 2 entries"
    assert "1 tile, 1 object" in done.out
    assert "give --key" in done.out
    (tmp_path / "vkey").write_text(vkey(log) + "\n")
    for given in (vkey(log), tmp_path / "vkey"):
        done = cli("log", "verify", log, "--key", given)
        assert done.code == 0
        assert "give --key" not in done.out


def test_verify_a_damaged_log(cli: Cli, log: Path) -> None:
    path = log / "tile/entries/000.p/2"
    path.write_bytes(path.read_bytes().replace(b"signs", b"sighs"))
    done = cli("log", "verify", log)
    assert done.code == 1
    assert done.out.startswith("INVALID: example.org/custody, 1 problem\n  entry 0: its bytes are not those")
    document = json.loads(cli("log", "verify", log, "--format", "json").out)
    assert (document["valid"], document["problem_count"]) == (False, 1)
    assert document["problems"][0]["where"] == "entry 0"
    shown = cli("log", "show", log)
    assert shown.code == 1
    assert "are not what the checkpoint signs" in shown.error


def test_verify_with_a_foreign_key(cli: Cli, log: Path, tmp_path: Path) -> None:
    other = cli(
        "log", "init", tmp_path / "other", "--origin", ORIGIN, "--key", key_file(tmp_path / "other.key")
    )
    done = cli("log", "verify", log, "--key", other.out.strip())
    assert done.code == 1
    assert "not signed by the key" in done.error


def test_a_rollback_is_noticed_by_every_reader(cli: Cli, log: Path, tmp_path: Path, key: Path) -> None:
    shutil.copytree(log, tmp_path / "old")
    assert cli("log", "append", log, tmp_path / "second.json", "--key", key).out == "2\n"
    for verb in (("show",), ("prove", 0)):
        done = cli("log", verb[0], tmp_path / "old", *verb[1:])
        assert done.code == 1
        assert "rolled back" in done.error
    done = cli("log", "verify", tmp_path / "old")
    assert done.code == 1
    assert "history: " in done.out
    done = cli("log", "append", tmp_path / "old", tmp_path / "first.json", "--key", key)
    assert done.code == 1
    assert "rolled back" in done.error


def test_verify_against_a_policy(cli: Cli, log: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text(f"log {vkey(log)}\nquorum none\n")
    assert cli("log", "verify", log, "--tlog-policy", policy).code == 0
    witness = cli("log", "init", tmp_path / "w", "--origin", "w", "--key", key_file(tmp_path / "w.key"))
    policy.write_text(f"log {witness.out.strip()}\nquorum none\n")
    done = cli("log", "verify", log, "--tlog-policy", policy)
    assert done.code == 1
    assert "does not meet the policy" in done.out
    policy.write_text("nonsense\n")
    done = cli("log", "verify", log, "--tlog-policy", policy)
    assert done.code == 2
    assert "line 1" in done.error


def test_prove(cli: Cli, log: Path, tmp_path: Path) -> None:
    done = cli("log", "prove", log, 1)
    proof = TlogProof.parse(done.out.encode())
    proof.verify(leaf_hash('{"a":"\u202etxt","b":1}'.encode()), VerifierKey.parse(vkey(log)))
    assert cli("log", "prove", log, 1, "--out", tmp_path / "1.tlog-proof").code == 0
    assert (tmp_path / "1.tlog-proof").read_text() == done.out
    missing = cli("log", "prove", log, 2)
    assert missing.code == 64
    assert "no entry 2; the log has 2" in missing.error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "JSON object"),
        ('{"a": 1, "a": 2}', "duplicate"),
        ('{"a": 12345678901234567890}', "canonical form"),
        ('{"a": "' + "x" * 70_000 + '"}', "at most 65,535"),
        ('{"object": "sha256:' + "ab" * 32 + '"}', "neither given nor in the log"),
        ("x" * 2_000_000, "larger than 1,048,576 bytes"),
    ],
)
def test_entries_that_are_refused(
    cli: Cli, log: Path, tmp_path: Path, key: Path, text: str, message: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    done = cli("log", "append", log, tmp_path / "second.json", tmp_path / "bad.json", "--key", key)
    assert done.code == 2
    assert message in done.error
    assert json.loads(cli("log", "show", log, "--format", "json").out)["size"] == 2


def test_an_object_that_no_entry_names(cli: Cli, log: Path, tmp_path: Path, key: Path) -> None:
    done = cli(
        "log", "append", log, tmp_path / "second.json", "--object", tmp_path / "first.json", "--key", key
    )
    assert done.code == 64
    assert "no entry names it" in done.error


def test_no_log(cli: Cli, tmp_path: Path, key: Path) -> None:
    for arguments in (("show",), ("verify",), ("prove",)):
        done = cli("log", arguments[0], tmp_path / "nothing", *(["0"] if arguments[0] == "prove" else []))
        assert done.code == 2
        assert f"{tmp_path / 'nothing'}: no such folder" in done.error
    (tmp_path / "folder").mkdir()
    assert "not a custody log" in cli("log", "show", tmp_path / "folder").error
    (tmp_path / "entry.json").write_text("{}")
    assert cli("log", "append", tmp_path / "nothing", tmp_path / "entry.json", "--key", key).code == 2
    assert cli("log", "serve", tmp_path / "nothing").code == 2
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("arguments", [("show", ""), ("verify", ""), ("prove", "", "0"), ("serve", ""), ()])
def test_calls_that_make_no_sense(
    cli: Cli, log: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(log)
    done = cli("log", *arguments)
    assert (done.code, done.out) == (64, "")
    assert done.error


@pytest.fixture
def background() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, *argv: object) -> subprocess.Popen[str]:
    process = stack.enter_context(
        subprocess.Popen([sys.executable, "-m", "bezoar", *map(str, argv)], stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)
    return process


def test_serve_witness_and_cosign(cli: Cli, log: Path, tmp_path: Path, background: ExitStack) -> None:
    (tmp_path / "witness").mkdir()
    keys = [key_file(tmp_path / "ed.key"), key_file(tmp_path / "mldsa.key", "mldsa44")]
    witness = start(
        background,
        *(
            "log",
            "witness",
            "--key",
            keys[0],
            "--key",
            keys[1],
            "--name",
            "w.example",
            "--log-key",
            vkey(log),
        ),
        *("--state", tmp_path / "witness", "--listen", "127.0.0.1:0"),
    )
    served = start(background, "log", "serve", log, "--listen", "127.0.0.1:0")
    assert witness.stdout is not None
    assert served.stdout is not None
    ed25519, mldsa44, url = (witness.stdout.readline().strip() for _ in range(3))
    origin, _, log_url = served.stdout.readline().strip().partition(": ")
    assert origin == ORIGIN

    done = cli("log", "cosign", log, "--witness", url, "--witness-key", ed25519, "--witness-key", mldsa44)
    assert (done.code, done.out) == (0, "cosigned at 2 entries: w.example\n")
    policy = tmp_path / "policy"
    policy.write_text(
        f"log {vkey(log)}\nwitness a {ed25519}\nwitness b {mldsa44}\ngroup both all a b\nquorum both\n"
    )
    for location in (log, log_url):
        done = cli("log", "verify", location, "--tlog-policy", policy)
        assert done.code == 0
        assert "w.example (held against the policy)" in done.out
    assert "not checked; give --tlog-policy" in cli("log", "verify", log).out
    again = cli("log", "cosign", log, "--witness", url, "--witness-key", ed25519, "--format", "json")
    assert json.loads(again.out) == {"cosigners": [ed25519], "origin": ORIGIN, "size": 2, "version": 1}
    wrong = cli("log", "cosign", log, "--witness", url, "--witness-key", vkey(log))
    assert wrong.code == 1
    assert "bears no signature" in wrong.error
    for process in (witness, served):
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("option", "value", "code", "message"),
    [
        ("--listen", "nowhere", 64, "is not HOST:PORT"),
        ("--state", "missing", 2, "no such folder"),
        ("--log-key", "nonsense", 2, "verifier key"),
        ("--key", "missing.key", 2, "missing.key"),
    ],
)
def test_a_witness_that_cannot_start(
    cli: Cli, log: Path, tmp_path: Path, key: Path, option: str, value: str, code: int, message: str
) -> None:
    (tmp_path / "witness").mkdir()
    options = {"--key": key, "--name": "w.example", "--log-key": vkey(log), "--state": tmp_path / "witness"}
    options[option] = Path(value) if option in ("--state", "--key") else value
    done = cli("log", "witness", *(part for pair in options.items() for part in pair))
    assert done.code == code
    assert message in done.error


def test_a_private_key_in_place_of_a_verifier_key_is_not_shown(cli: Cli, log: Path, key: Path) -> None:
    done = cli("log", "verify", log, "--key", key)
    assert done.code == 2
    assert str(key) in done.error
    assert key.read_text().splitlines()[1][:16] not in done.error


def test_errors_name_the_file(cli: Cli, log: Path, tmp_path: Path, key: Path) -> None:
    (tmp_path / "policy").write_text("nonsense\n")
    done = cli("log", "verify", log, "--tlog-policy", tmp_path / "policy")
    assert f"{tmp_path / 'policy'}: " in done.error
    (log / "log.json").write_text('{"key": "a+b+c", "origin": "a"}')
    assert f"{log}: log.json: " in cli("log", "show", log).error
    assert "not an ordinary file" in cli("log", "append", log, tmp_path, "--key", key).error


def test_addresses_that_libraries_choke_on(cli: Cli, log: Path) -> None:
    witness = VerifierKey("w", 4, bytes(32)).text
    done = cli("log", "cosign", log, "--witness", "http://[", "--witness-key", witness)
    assert done.code in (2, 64)
    assert "http://[: " in done.error
    for url in ("dir://x", "reference://x", "zip://x", "ftp://127.0.0.1:1/x"):
        done = cli("log", "show", url)
        assert done.code == 2
        assert f"{url}: " in done.error
        assert "fault in bezoar" not in done.error


def test_only_cosignatures_that_hold_are_held_against_the_policy(cli: Cli, log: Path, tmp_path: Path) -> None:
    with (log / "checkpoint").open("ab") as file:
        file.write("— famous.example.org AAAAAAAAAAAA\n".encode())
    policy = tmp_path / "policy"
    policy.write_text(f"log {vkey(log)}\nquorum none\n")
    done = cli("log", "verify", log, "--tlog-policy", policy)
    assert done.code == 0
    assert "famous" not in done.out
    assert "famous.example.org (not checked" in cli("log", "verify", log).out


def test_without_a_home_folder(cli: Cli, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BEZOAR_STATE")
    monkeypatch.setattr(Path, "home", none)
    assert "set BEZOAR_STATE" in cli("log", "show", log).error


def test_that_a_log_has_only_grown(cli: Cli, log: Path, tmp_path: Path, key: Path) -> None:
    shutil.copy(log / "checkpoint", tmp_path / "old")
    assert cli("log", "prove", log, 0, "--out", tmp_path / "receipt").code == 0
    assert cli("log", "append", log, tmp_path / "second.json", "--key", key).code == 0
    (tmp_path / "new").write_bytes((log / "checkpoint").read_bytes())
    for since in ("old", "receipt"):
        done = cli("log", "prove", log, "--since", tmp_path / since, "--out", tmp_path / f"{since}.proof")
        assert (done.code, done.out) == (0, "")
        shown = cli("check", tmp_path / f"{since}.proof", "--key", vkey(log))
        assert shown.code == 0
        assert shown.out.startswith("proved: the newer log begins with all entries of the older one")
        assert "\nolder:    2 entries, root " in shown.out
        assert "\nnewer:    3 entries, root " in shown.out
    assert cli("check", tmp_path / "old.proof", "--key", vkey(log), "--absent", "x").code == 64
    assert cli("check", tmp_path / "receipt", "--key", vkey(log)).code == 64
    for wrong in ((), (0, "--since", tmp_path / "old")):
        assert cli("log", "prove", log, *wrong).code == 64
    assert (
        f"{tmp_path / 'second.json'}: " in cli("log", "prove", log, "--since", tmp_path / "second.json").error
    )

    other = tmp_path / "forked"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEZOAR_STATE", str(tmp_path / "elsewhere"))
        assert cli("log", "init", other, "--origin", ORIGIN, "--key", key).code == 0
        for _ in range(3):
            assert cli("log", "append", other, tmp_path / "second.json", "--key", key).code == 0
        done = cli("log", "prove", other, "--since", tmp_path / "old")
        assert done.code == 1
        assert "forked" in done.error


def test_init_and_append_as_json(cli: Cli, log: Path, tmp_path: Path, key: Path) -> None:
    other = key_file(tmp_path / "other.key")
    made = cli("log", "init", tmp_path / "new", "--origin", "a", "--key", other, "--format", "json")
    assert json.loads(made.out) == {"key": vkey(tmp_path / "new"), "origin": "a", "version": 1}
    second = tmp_path / "second.json"
    done = json.loads(cli("log", "append", log, second, second, "--key", key, "--format", "json").out)
    assert (done["indices"], done["size"], done["origin"]) == ([2, 3], 4, ORIGIN)
    assert done["root"] == json.loads(cli("log", "show", log, "--format", "json").out)["root"]
