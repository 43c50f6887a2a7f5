"""`bezoar audit`: opinions as exit codes, the three forms of the statement, signing and logging it."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

import bezoar.custody.audit
from bezoar.custody.events.history import history, read_event
from bezoar.custody.signing import dsse
from bezoar.custody.signing.keys import load_public
from bezoar.custody.signing.signers import KeyVerifier
from bezoar.custody.tlog.log import CustodyLog
from cli.life_support import HOSTILE, Desk, desk, whole
from cli.support import Cli, png

SCHEMA = json.loads(files(bezoar.custody.audit).joinpath("schema/audit-1.json").read_text())


@pytest.fixture
def here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("BEZOAR_STATE", str(tmp_path / "state"))
    return desk(cli, tmp_path)


def test_unqualified(here: Desk) -> None:
    whole(here)
    done = here.audit()
    assert done.code == 0, done.out
    assert done.out.startswith("UNQUALIFIED OPINION  signs\n")
    assert "No exceptions." in done.out
    assert "8 records" in done.out


def test_qualified(here: Desk) -> None:
    for kind in ("acquired", "sealed"):
        assert here.attest(kind).code == 0
    done = here.audit()
    assert done.code == 1
    assert done.out.startswith("QUALIFIED OPINION")
    assert "[missing-reviews]" in done.out


def test_adverse(here: Desk) -> None:
    whole(here)
    (here.root / "signs" / "Stop" / "new.png").write_bytes(png(77))
    here.seal()
    done = here.audit()
    assert done.code == 1
    assert done.out.startswith("ADVERSE OPINION")
    assert "Stop/new.png" in done.out


def test_disclaimer(here: Desk) -> None:
    shutil.rmtree(here.root / "log")
    done = here.audit()
    assert done.code == 3
    assert done.out.startswith("DISCLAIMER OF OPINION")


@pytest.mark.parametrize("full", [True, False])
def test_json_fits_the_schema(here: Desk, full: bool) -> None:
    whole(here)
    (here.root / "signs" / "Stop" / "000.png").write_bytes(png(78))
    done = here.audit(
        "--format",
        "json",
        *(["--full"] if full else ["--seed", "7", "--tolerable", "0", "--confidence", "0.999"]),
    )
    statement = json.loads(done.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(statement)
    assert statement["sampling"]["full"] is full
    assert statement["sampling"]["seed"] == (None if full else 7)
    assert [each["code"] for each in statement["exceptions"]] == ["data-changed"]
    assert statement["exceptions"][0]["keys"] == ["Stop/000.png"]
    assert done.code == 1


def test_no_two_audits_draw_the_same_sample(here: Desk) -> None:
    whole(here)
    seeds = {json.loads(here.audit("--format", "json").out)["sampling"]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_period(here: Desk) -> None:
    whole(here)
    statement = json.loads(here.audit("--format", "json", "--since", "2100-01-01").out)
    assert statement["since"] == "2100-01-01T00:00:00Z"
    assert (statement["balances"]["total"]["opening"], statement["balances"]["total"]["acquired"]) == (8, 0)
    statement = json.loads(here.audit("--format", "json", "--since", "2020-01-01T00:00:00Z").out)
    assert (statement["balances"]["total"]["opening"], statement["balances"]["total"]["acquired"]) == (0, 8)


def test_the_folder_and_the_signed_statement(here: Desk) -> None:
    whole(here)
    out = here.root / "statement"
    done = here.audit("--out", out, "--sign", here.root / "grace.key", "--log-key", here.root / "log.key")
    assert done.code == 0, done.err
    assert f"Report: {out}/audit.html" in done.out.replace("\n", "")
    assert sorted(path.name for path in out.iterdir()) == ["audit.dsse.json", "audit.html", "audit.json"]
    envelope = dsse.Envelope.parse((out / "audit.dsse.json").read_bytes())
    assert dsse.verify(envelope, [KeyVerifier(load_public(here.root / "grace.pub"))])
    event = read_event(envelope)
    assert event.statement == json.loads((out / "audit.json").read_text())
    logged = list(history(CustodyLog.open(here.root / "log"), "signs"))
    assert logged[-1].event == event
    assert here.audit().code == 0  # an audit in the log moves nothing


def test_an_audit_signed_by_somebody_else_is_an_exception_of_the_next(here: Desk) -> None:
    whole(here)
    for by in ("grace", "ada"):
        done = here.audit(
            "--out", here.root / by, "--sign", here.root / f"{by}.key", "--log-key", here.root / "log.key"
        )
        assert done.code == 0
    done = here.audit()
    assert done.code == 1
    assert "[wrong-role]" in done.out


def test_hostile_texts_are_inert(here: Desk) -> None:
    name = "<img src=x onerror=alert(1)>\x1b[2J.png"
    (here.root / "signs" / "Stop" / name).write_bytes(png(77))
    here.seal()
    whole(here)
    assert here.attest("quarantined", "--records", "key=Stop/00*", "--reason", HOSTILE).code == 0
    (here.root / "signs" / "Stop" / name).unlink()
    done = here.audit("--out", here.root / "statement")
    assert done.code == 1
    page = (here.root / "statement" / "audit.html").read_text()
    for hostile in ("<script", "<img", "\x1b", "\u202e"):
        assert hostile not in page
        assert hostile not in done.out or hostile.startswith("<")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "\nfaked line" not in done.out


BAD = {
    "sign without out": (64, ["--sign", "grace.key"]),
    "log key without sign": (64, ["--log-key", "log.key"]),
    "impossible confidence": (64, ["--confidence", "1"]),
    "impossible share": (64, ["--tolerable", "1.5"]),
    "impossible time": (64, ["--since", "yesterday"]),
    "malformed policy": (2, ["--policy", "signs/Stop/000.png"]),
    "no policy": (2, ["--policy", "nowhere"]),
    "output that exists": (2, ["--out", "log"]),
    "output in the dataset": (64, ["--out", "signs/out"]),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str, here: Desk) -> None:
    code, more = BAD[name]
    whole(here)
    arguments = [
        word if word.startswith("--") or word[0].isdigit() or word == "yesterday" else here.root / word
        for word in more
    ]
    done = here.audit(*arguments)
    assert done.code == code
    assert done.out == ""
    assert done.error.startswith("error: ")


# `bezoar verify --policy`


def test_verify_with_a_policy(here: Desk, cli: Cli) -> None:
    whole(here)
    signs, policy, log = here.root / "signs", here.root / "policy.toml", here.root / "log"
    done = cli("verify", signs, "--policy", policy, "--log", log)
    assert done.code == 0, done.out
    assert "is what ada sealed" in done.out
    done = cli("verify", signs, "--policy", policy)
    assert done.code == 1
    assert "give it with --log" in done.out
    policy.write_text(policy.read_text().replace("reviewers = 1", ""))
    assert cli("verify", signs, "--policy", policy).code == 0


def test_verify_finds_what_the_policy_forbids(here: Desk, cli: Cli) -> None:
    for kind in ("acquired", "sealed"):
        assert here.attest(kind).code == 0
    done = cli(
        "verify", here.root / "signs", "--policy", here.root / "policy.toml", "--log", here.root / "log"
    )
    assert done.code == 1
    assert "Records lack reviewers" in done.out
    assert cli("seal", here.root / "signs", "--key", here.root / "grace.key").code == 0
    done = cli(
        "verify", here.root / "signs", "--policy", here.root / "policy.toml", "--log", here.root / "log"
    )
    assert done.code == 1
    assert "grace, who may not seal" in done.out


def test_verify_with_a_policy_and_a_key(here: Desk, cli: Cli) -> None:
    signs, policy = here.root / "signs", here.root / "policy.toml"
    assert cli("verify", signs, "--policy", policy, "--key", here.root / "ada.pub").code == 64
    assert cli("verify", signs, "--log", here.root / "log").code == 64
