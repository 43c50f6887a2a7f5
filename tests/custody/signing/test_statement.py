from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.signing import statement
from bezoar.custody.signing.statement import Statement, Subject
from bezoar.errors import InputError, LimitError, UsageError

SHA = "ab" * 32
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_it_is_written_as_canonical_json() -> None:
    one = Statement(
        (Subject("ds", {"sha256": SHA, "bezoarSnapshot": SHA}),), "https://example.org/p", {"b": 1, "a": "ü"}
    )
    assert one.to_bytes().decode() == (
        '{"_type":"https://in-toto.io/Statement/v1","predicate":{"a":"ü","b":1},"predicateType":"https://example.org/p",'
        f'"subject":[{{"digest":{{"bezoarSnapshot":"{SHA}","sha256":"{SHA}"}},"name":"ds"}}]}}'
    )


@given(TEXT, st.dictionaries(TEXT, VALUES, max_size=5))
def test_any_statement_survives_its_json(name: str, predicate: dict[str, Any]) -> None:
    one = Statement((Subject(name, {"sha256": SHA}), Subject("b", {"sha512": SHA * 2})), "t", predicate)
    again = Statement.parse(one.to_bytes())
    assert again == one
    assert again.to_bytes() == one.to_bytes()


def test_what_canonical_json_cannot_say_is_a_usage_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (2**53, float("nan"), {1, 2}, "\ud800", deep):
        with pytest.raises(UsageError):
            Statement((Subject("a", {"sha256": SHA}),), "t", {"x": value}).to_bytes()


def test_no_more_is_written_than_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "MAX_STATEMENT_BYTES", 300)
    fits = Statement((Subject("a", {"sha256": SHA}),), "t", {"x": "y" * 50})
    assert Statement.parse(fits.to_bytes()) == fits
    with pytest.raises(UsageError, match="at most 300"):
        Statement((Subject("a", {"sha256": SHA}),), "t", {"x": "y" * 200}).to_bytes()


def test_the_largest_statement_fits_an_envelope_that_is_read_back() -> None:
    from bezoar.custody.signing import dsse

    assert statement.MAX_STATEMENT_BYTES * 4 // 3 + dsse.MAX_SIGNATURES * 1000 < dsse.MAX_ENVELOPE_BYTES


def whole() -> dict[str, Any]:
    return {
        "_type": statement.STATEMENT_TYPE,
        "subject": [{"name": "ds", "digest": {"sha256": SHA}}],
        "predicateType": "https://example.org/p",
        "predicate": {},
    }


def changed(**fields: Any) -> bytes:
    return json.dumps({**whole(), **fields}).encode()


def subject(**fields: Any) -> bytes:
    return changed(subject=[{"name": "ds", "digest": {"sha256": SHA}, **fields}])


def without(name: str) -> bytes:
    fields = whole()
    del fields[name]
    return json.dumps(fields).encode()


def test_what_the_specification_leaves_open_is_accepted() -> None:
    assert Statement.parse(without("predicate")).predicate == {}
    assert Statement.parse(changed(extra=[1, {"a": 2}])).predicate_type == "https://example.org/p"
    assert Statement.parse(changed(subject=[{"digest": {"gitCommit": "ab" * 20}}])).subjects[0].name == ""


MALFORMED = {
    "empty": b"",
    "a list": b"[]",
    "half": changed()[:-1],
    "duplicate subject": changed()[:-1] + b', "subject": []}',
    "duplicate digest": changed().replace(b'"sha256"', b'"sha256": "00", "sha256"'),
    "no _type": without("_type"),
    "old _type": changed(_type="https://in-toto.io/Statement/v0.1"),
    "_type a list": changed(_type=[statement.STATEMENT_TYPE]),
    "no subject": without("subject"),
    "subject empty": changed(subject=[]),
    "subject an object": changed(subject={"name": "a", "digest": {"sha256": SHA}}),
    "subject a text": changed(subject=["ds"]),
    "name a number": subject(name=1),
    "name null": subject(name=None),
    "name a surrogate": subject().replace(b'"ds"', b'"\\udfff"'),
    "no digest": changed(subject=[{"name": "ds"}]),
    "digest empty": subject(digest={}),
    "digest a text": subject(digest=SHA),
    "digest null": subject(digest={"sha256": None}),
    "digest too short": subject(digest={"sha256": SHA[:-2]}),
    "digest too long": subject(digest={"sha256": SHA + "00"}),
    "digest odd": subject(digest={"md5": "abc"}),
    "digest upper case": subject(digest={"sha256": SHA.upper()}),
    "digest with a space": subject(digest={"sha256": " " + SHA[1:]}),
    "digest with a line break": subject(digest={"sha256": SHA + "\n"}),
    "digest base64": subject(digest={"sha256": "q" * 64}),
    "digest in full-width digits": subject(digest={"sha256": "１" * 64}),
    "digest empty text": subject(digest={"x": ""}),
    "digest of a novel": subject(digest={"x": "ab" * 129}),
    "sha512 of the wrong size": subject(digest={"sha512": SHA}),
    "snapshot of the wrong size": subject(digest={"bezoarSnapshot": "abcd"}),
    "no predicateType": without("predicateType"),
    "predicateType empty": changed(predicateType=""),
    "predicateType a number": changed(predicateType=1),
    "predicate a list": changed(predicate=[]),
    "predicate null": changed(predicate=None),
    "predicate infinite": changed().replace(b'"predicate": {}', b'"predicate": {"a": 1e400}'),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_statements_give_one_typed_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Statement.parse(MALFORMED[name], "entry 7")
    assert str(caught.value).startswith("entry 7: ")
    assert "\n" not in str(caught.value)


def test_the_fixtures_are_malformed_by_what_they_say_only() -> None:
    assert Statement.parse(changed())
    assert Statement.parse(subject())


def test_the_size_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "MAX_STATEMENT_BYTES", 300)
    with pytest.raises(LimitError):
        Statement.parse(changed(x="y" * 200))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_statement_or_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError):
        Statement.parse(data)
