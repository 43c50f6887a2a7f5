"""The language that says which records an event is about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.events.query import MAX_QUERY, Query
from bezoar.errors import UsageError

RECORD = (
    "stop/001.png",
    "Stop",
    {"contributor": "acme", "url": "https://a.example/1"},
    ("https://acme.example", "bob"),
)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("key=stop/001.png", True),
        ("key=stop/*", True),
        ("key=*", True),
        ("key=stop/00?.png", True),
        ("key=stop/00[12].png", True),
        ("key=stop/00[!1].png", False),
        ("key=stop", False),
        ("key=STOP/*", False),
        ("label=Stop", True),
        ("label=S*", False),
        ("label=stop", False),
        ("source.contributor=acme", True),
        ("source.contributor=ac*", True),
        ("source.contributor=bob", False),
        ("source.missing=*", False),
        ("origin=https://acme*", True),
        ("origin=bob", True),
        ("origin=carol", False),
        ("key=*,label=Stop,source.contributor=acme,origin=*", True),
        ("key=*,label=Yield", False),
        ("source.url=https://a.example/1", True),
        ("key=*=*", False),
    ],
)
def test_what_matches(text: str, matches: bool) -> None:
    assert Query.parse(text).matches(*RECORD) is matches


def test_what_a_record_does_not_have_matches_nothing() -> None:
    assert not Query.parse("label=Stop").matches("k", None, {})
    assert not Query.parse("origin=*").matches("k", None, {})


def test_a_line_break_is_a_character_like_others() -> None:
    assert Query.parse("key=a*b").matches("a\nb", None, {})
    assert not Query.parse("key=a").matches("a\n", None, {})


BAD = (
    "", ",", "key", "key=", "=x", "keys=x", "source=x", "source.=x", "label=", "key=a,", ",key=a", "key=a,,label=b",
    "key=a,key=b", "colour=red", "KEY=a", " key=a", "key=a, label=b", "source.a=1,source.a=2", "x" * (MAX_QUERY + 1),
)  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_malformed(text: str) -> None:
    with pytest.raises(UsageError):
        Query.parse(text)


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_a_query_or_refused(text: str, key: str) -> None:
    try:
        query = Query.parse(text)
    except UsageError:
        return
    assert query.text == text
    query.matches(key, None, {})


def test_many_stars_take_no_time() -> None:
    assert not Query.parse("key=" + "*a" * 200).matches("a" * 190 + "b" * 5000, None, {})
