"""The policy file: what it says, and that anything else is one error that names the line."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bezoar.custody.audit
from bezoar.custody.audit.policy import ROLES, Policy
from bezoar.custody.audit.toml_tables import MAX_BYTES
from bezoar.custody.signing import keys
from bezoar.errors import InputError, LimitError, UsageError
from custody.audit.support import POLICY, log_signer, signer_of, write_keys
from custody.fuzzing import fuzz

TEXT = POLICY.format(log_key=log_signer().key.text)
WITNESSED = f"log {log_signer().key.text}\nquorum none\n"
SCHEMA = json.loads(files(bezoar.custody.audit).joinpath("schema/policy-1.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy")
    write_keys(path)
    (path / "witnesses.txt").write_text(WITNESSED)
    (path / "bad.txt").write_text("nonsense\n")
    (path / "empty.txt").write_text("quorum none\n")
    (path / "large.txt").write_bytes(b"#" * (2 << 20))
    (path / "mldsa.pub").write_bytes(keys.generate("mldsa44", None)[1])
    return path


def parse(text: str | bytes, folder: Path) -> Policy:
    return Policy.parse(text.encode() if isinstance(text, str) else text, folder, "policy.toml")


def schema_accepts(text: str) -> bool:
    document = json.loads(json.dumps(tomllib.loads(text), default=lambda time: time.isoformat()))
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_what_it_says(folder: Path) -> None:
    policy = parse(TEXT, folder)
    ada = policy.signers[0]
    assert [signer.name for signer in policy.signers] == ["Ada", "Grace", "Edsger", "Barbara"]
    assert ada.verifier.keyid == signer_of("ada").keyid
    assert ada.roles == {"custodian", "sealer"}
    assert (ada.not_before, ada.not_after) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 31, tzinfo=UTC),
    )
    assert (policy.reviewers, policy.reviewers_of) == (2, {"Grace", "Edsger"})
    assert (policy.minimum_log_size, policy.minimum_sequence, policy.maximum_age_days) == (5, 2, 90)
    assert (policy.scan_required, policy.no_open_findings) == (True, True)
    assert (policy.source_column, policy.required_sources) == ("contributor", ("contributor", "license"))
    assert policy.tlog.logs[0].key == log_signer().key


def test_the_last_entry_is_in_the_window(folder: Path) -> None:
    ada = parse(TEXT.replace("2026-12-31T00:00:00Z", "2026-12-31T00:00:00Z\nlast_entry = 0"), folder).signers[
        0
    ]
    assert ada.counts(0)
    assert not ada.counts(1)
    assert not ada.counts(None)
    assert parse(TEXT, folder).signers[0].counts(None)


def test_the_name_that_a_seal_must_bear(folder: Path) -> None:
    named = parse(TEXT.replace("[review]", '[dataset]\nname = "signs"\n\n[review]'), folder)
    moved = folder / "moved"
    assert parse(TEXT, folder).name_of(moved) == "moved"
    assert parse(TEXT, folder).name_of(moved, "signs") == "signs"
    assert named.name_of(moved) == named.name_of(moved, "signs") == "signs"
    with pytest.raises(UsageError, match="'signs', not 'moved'"):
        named.name_of(moved, "moved")


def test_the_ends_of_a_window_are_in_it(folder: Path) -> None:
    ada = parse(TEXT, folder).signers[0]
    assert ada.valid_at(datetime(2026, 11, 1, tzinfo=UTC))
    assert ada.valid_at(datetime(2026, 12, 31, tzinfo=UTC))
    assert not ada.valid_at(datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC))
    assert not ada.valid_at(datetime(2026, 12, 31, 0, 0, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace(f'key = "{log_signer().key.text}"', 'tlog_policy = "witnesses.txt"'),
        TEXT.replace(f'key = "{log_signer().key.text}"', f'tlog_policy_text = """{WITNESSED}"""'),
        TEXT.replace(
            'key = "ada.pub"', f"pem = '''\n{keys.public_pem(signer_of('ada').public_key).decode()}'''"
        ),
        TEXT.replace("2026-12-31T00:00:00Z", "2026-12-31T00:00:00Z\nlast_entry = 12"),
        TEXT.replace("[review]", '[dataset]\nname = "signs"\n\n[review]'),
        TEXT.replace("reviewers = 2", 'reviewers = 1\nof = ["Grace"]'),
        TEXT.replace("not_before = 2026-11-01T00:00:00Z", "not_before = 2026-11-01T02:00:00+02:00"),
        TEXT[: TEXT.index("[review]")],
    ],
)
def test_other_ways_to_say_it(text: str, folder: Path) -> None:
    assert parse(text, folder).signers[0].verifier.keyid == signer_of("ada").keyid
    assert schema_accepts(text)


def change(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


# the text, what the error names, and whether the JSON Schema can see it too
BAD = {
    "empty": ("", "version", True),
    "no version": (change("version = 1\n", ""), "version", True),
    "version 2": (change("version = 1", "version = 2"), "version", True),
    "version true": (change("version = 1", "version = true"), "version", False),  # JSON Schema takes true for no 1
    "version text": (change("version = 1", 'version = "1"'), "version", True),
    "unknown table": (change("[scan]", "[scans]"), "policy.toml:32: scans: unknown key", True),
    "unknown key": (change("minimum_size = 5", "minimum_sizes = 5"), "policy.toml:5: log: minimum_sizes: unknown key", True),
    "unknown key at the top": ('colour = "red"\n' + TEXT, "policy.toml:1: colour: unknown key", True),
    "unknown key of a signer": (
        change('name = "Edsger"', 'name = "Edsger"\ntitle = "Dr"'), "policy.toml:21: signer 3: title: unknown key", True,
    ),
    "unknown key of review": (change("reviewers = 2", "reviewers = 2\nmin = 1"), "review: min: unknown key", True),
    "unknown key of scan": (change("required = true", "required = true\nx = 1"), "scan: x: unknown key", True),
    "unknown key of sources": (change('column = "contributor"', 'column = "a"\ny = 1'), "sources: y: unknown", True),
    "unknown key of seal": (change("minimum_sequence = 2", "minimum_sequence = 2\nz = 1"), "seal: z: unknown", True),
    "no log": (TEXT[TEXT.index("[[signer]]"):].join(["version = 1\n", ""]), "tlog_policy", True),
    "log is a text": (change("[log]", 'log = "x"\n[other]'), "log: expected a table", True),
    "two ways to name the log": (change("minimum_size", 'tlog_policy = "witnesses.txt"\nminimum_size'), "give one of", True),
    "malformed log key": (change("example.org/custody+", "example.org/custody-"), "policy.toml:4: log: key", False),
    "two log keys": (change('key = "example', 'key = "x\\nexample'), "policy.toml:4: log: key", False),
    "log key a number": (change(f'key = "{log_signer().key.text}"', "key = 7"), "log: key: expected a non-empty", True),
    "missing tlog-policy": (change(f'key = "{log_signer().key.text}"', 'tlog_policy = "no.txt"'), "no such file", False),
    "malformed tlog-policy": (change(f'key = "{log_signer().key.text}"', 'tlog_policy = "bad.txt"'), "line 1", False),
    "tlog-policy without log": (change(f'key = "{log_signer().key.text}"', 'tlog_policy = "empty.txt"'), "no log", False),
    "large tlog-policy": (change(f'key = "{log_signer().key.text}"', 'tlog_policy = "large.txt"'), "larger", False),
    "tlog-policy a folder": (change(f'key = "{log_signer().key.text}"', 'tlog_policy = "."'), "not an ordinary file", False),
    "tlog-policy with a null": (change(f'key = "{log_signer().key.text}"', 'tlog_policy = "a\\u0000b"'), "path", False),
    "negative size": (change("minimum_size = 5", "minimum_size = -1"), "policy.toml:5: log: minimum_size", True),
    "size a fraction": (change("minimum_size = 5", "minimum_size = 5.5"), "whole number", True),
    "size true": (change("minimum_size = 5", "minimum_size = true"), "whole number", True),
    "huge size": (change("minimum_size = 5", "minimum_size = 99999999999999999999"), "whole number", True),
    "no signers": (TEXT[: TEXT.index("[[signer]]")], "names no signer", True),
    "signer a table": (TEXT[: TEXT.index("[[signer]]")] + '[signer]\nname = "x"\n', "list of tables", True),
    "no name": (change('name = "Ada"\n', ""), "signer 1: no 'name'", True),
    "empty name": (change('name = "Ada"', 'name = ""'), "policy.toml:8: signer 1: name", True),
    "name a number": (change('name = "Ada"', "name = 1"), "policy.toml:8: signer 1: name", True),
    "one name twice": (change('name = "Grace"', 'name = "Ada"'), "two signers are called 'Ada'", False),
    "one key twice": (change('key = "grace.pub"', 'key = "ada.pub"'), "has the key of 'Ada'", False),
    "no key": (change('key = "ada.pub"\n', ""), "signer 1: key", True),
    "key and pem": (change('key = "ada.pub"', 'key = "ada.pub"\npem = "x"'), "signer 1: key", True),
    "missing key file": (change("ada.pub", "nobody.pub"), "policy.toml:9: signer 1: key", False),
    "key that is no key": (change("ada.pub", "witnesses.txt"), "not a PEM public key", False),
    "pem that is no key": (change('key = "ada.pub"', 'pem = "hello"'), "not a PEM public key", False),
    "key that signs no statements": (change("ada.pub", "mldsa.pub"), "signer 1: key", False),
    "no roles": (change('roles = ["custodian", "sealer"]\n', ""), "roles", True),
    "empty roles": (change('["custodian", "sealer"]', "[]"), "no role", True),
    "unknown role": (change('["custodian", "sealer"]', '["king"]'), "unknown role 'king'", True),
    "role twice": (change('["custodian", "sealer"]', '["sealer", "sealer"]'), "twice", True),
    "roles a text": (change('["custodian", "sealer"]', '"sealer"'), "list", True),
    "time without zone": (change("2026-11-01T00:00:00Z", "2026-11-01T00:00:00"), "not_before", True),
    "time a day": (change("2026-11-01T00:00:00Z", "2026-11-01"), "not_before", True),
    "time a text": (change("2026-11-01T00:00:00Z", '"tomorrow"'), "not_before", True),
    "time out of range": (change("2026-11-01T00:00:00Z", "0001-01-01T00:00:00+23:00"), "not_before", False),
    "window turned round": (change("2026-12-31T00:00:00Z", "2026-10-31T00:00:00Z"), "is before not_before", False),
    "last entry negative": (change("not_after = 2026-12-31T00:00:00Z", "last_entry = -1"), "12: signer 1: last_entry", True),
    "last entry a time": (change("not_after = 2026-12-31T00:00:00Z", "last_entry = 2026-12-31"), "last_entry", True),
    "too many reviewers": (change("reviewers = 2", "reviewers = 3"), "3 of 2 reviewers can never be reached", False),
    "reviewers a text": (change("reviewers = 2", 'reviewers = "two"'), "reviewers", True),
    "unknown reviewer": (change("reviewers = 2", 'reviewers = 1\nof = ["Eve"]'), "'Eve'", False),
    "reviewer in another role": (change("reviewers = 2", 'reviewers = 1\nof = ["Ada"]'), "'Ada'", False),
    "reviewer twice": (change("reviewers = 2", 'reviewers = 1\nof = ["Grace", "Grace"]'), "twice", True),
    "required a text": (change("required = true", 'required = "yes"'), "true or false", True),
    "required a number": (change("required = true", "required = 1"), "true or false", True),
    "empty column": (change('column = "contributor"', 'column = ""'), "sources: column", True),
    "columns of numbers": (change('["contributor", "license"]', "[1]"), "sources: required", True),
    "age 0": (change("maximum_age_days = 90", "maximum_age_days = 0"), "maximum_age_days", True),
    "age without end": (change("maximum_age_days = 90", "maximum_age_days = 99999"), "maximum_age_days", True),
    "empty dataset name": (change("[review]", '[dataset]\nname = ""\n[review]'), ": dataset: name: expected a non-empty", True),
    "dataset name a number": (change("[review]", "[dataset]\nname = 1\n[review]"), "dataset: name", True),
    "unknown key of dataset": (change("[review]", "[dataset]\npath = 'x'\n[review]"), "dataset: path: unknown key", True),
    "review is a list": (change("[review]", "[[review]]"), "review: expected a table", True),
}  # fmt: skip

NOT_TOML = {
    "no TOML": b"this is not TOML",
    "key twice": TEXT.encode() + b"\n[seal]\nminimum_sequence = 3\n",
    "not UTF-8": TEXT.encode() + b'x = "\xff"',
    "a mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "a null": TEXT.encode() + b"\0",
    "deep": b"a = " + b"[" * 5000 + b"]" * 5000,
    "deep tables": b"[" + b"a." * 4000 + b"a]",
    "a huge number": b"a = " + b"9" * 10000,
    "an impossible day": b"a = 2026-13-45",
    "a long line": b"[" + b"a." * 20000 + b"a]",
    "an open text": b'a = "',
    "an open table": b"[a",
}


@pytest.mark.parametrize("name", BAD)
def test_malformed(name: str, folder: Path) -> None:
    text, message, by_schema = BAD[name]
    with pytest.raises(InputError) as raised:
        parse(text, folder)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    if by_schema:
        assert not schema_accepts(text)


@pytest.mark.parametrize("name", NOT_TOML)
def test_not_toml(name: str, folder: Path) -> None:
    with pytest.raises(InputError, match=r"policy\.toml"):
        parse(NOT_TOML[name], folder)


def test_too_large(folder: Path) -> None:
    with pytest.raises(LimitError):
        parse(b"#" * (MAX_BYTES + 1), folder)
    (folder / "huge.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(LimitError):
        Policy.load(folder / "huge.toml")
    with pytest.raises(InputError, match="no such file"):
        Policy.load(folder / "none.toml")


def test_the_schema_is_one_and_knows_the_roles(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert schema_accepts(TEXT)
    roles = SCHEMA["properties"]["signer"]["items"]["properties"]["roles"]["items"]["enum"]
    assert roles == list(ROLES)


def test_fuzz_policies(folder: Path) -> None:
    fuzz(lambda data: parse(data, folder), [TEXT.encode()])


@given(st.text(alphabet="[]=.\"'\n #abc1{},\\", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InputError):
        Policy.parse(text.encode(), Path("nowhere"), "policy.toml")


@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=1, max_size=4), st.integers(0, 6))
def test_any_change_is_read_or_refused(place: int, new: bytes, length: int) -> None:
    data = TEXT.encode()
    data = data[:place] + new + data[place + length :]
    with pytest.raises(InputError):  # the keys are not there, so that nothing is accepted by chance
        Policy.parse(data, Path("nowhere"), "policy.toml")
