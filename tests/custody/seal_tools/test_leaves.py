from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.seal.leaves import MAX_LEAF, Leaf, parse_leaf
from bezoar.custody.seal.snapshot import leaf
from bezoar.errors import InputError, LimitError

DIGEST = "ab" * 32
GOOD = f'{{"key":"k","label":"cat","sha256":"{DIGEST}","size":3,"source":{{"site":"a","url":"u"}}}}'
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)

MALFORMED = {
    "empty": "",
    "no object": "[]",
    "a number": "3",
    "null": "null",
    "cut short": GOOD[:-1],
    "bytes after it": GOOD + "\n",
    "a blank before it": " " + GOOD,
    "a blank within": GOOD.replace('"size":3', '"size": 3'),
    "a byte order mark": "\ufeff" + GOOD,
    "a member too many": GOOD.replace('"size":3', '"seen":1,"size":3'),
    "no key": GOOD.replace('"key":"k",', ""),
    "no label": GOOD.replace('"label":"cat",', ""),
    "no sha256": GOOD.replace(f'"sha256":"{DIGEST}",', ""),
    "no size": GOOD.replace('"size":3,', ""),
    "no source": GOOD.replace(',"source":{"site":"a","url":"u"}', ""),
    "two labels": GOOD.replace('"label":"cat"', '"label":"cat","label":"dog"'),
    "another order": GOOD.replace('"key":"k","label":"cat"', '"label":"cat","key":"k"'),
    "another order of sources": GOOD.replace('"site":"a","url":"u"', '"url":"u","site":"a"'),
    "an escape too many": GOOD.replace('"k"', '"\\u006b"'),
    "an escaped slash": GOOD.replace('"k"', '"\\/"'),
    "a lone surrogate": GOOD.replace('"k"', '"\\ud800"'),
    "a raw control character": GOOD.replace('"k"', '"\x01"'),
    "key is a number": GOOD.replace('"k"', "1"),
    "key is null": GOOD.replace('"k"', "null"),
    "label is a number": GOOD.replace('"cat"', "1"),
    "label is a list": GOOD.replace('"cat"', "[]"),
    "sha256 in capitals": GOOD.replace(DIGEST, DIGEST.upper()),
    "sha256 too short": GOOD.replace(DIGEST, DIGEST[:-2]),
    "sha256 too long": GOOD.replace(DIGEST, DIGEST + "ab"),
    "sha256 not hexadecimal": GOOD.replace(DIGEST, "xy" * 32),
    "sha256 in other digits": GOOD.replace(DIGEST, "\u0661" * 64),
    "sha256 null": GOOD.replace(f'"{DIGEST}"', "null"),
    "size negative": GOOD.replace('"size":3', '"size":-3'),
    "size a fraction": GOOD.replace('"size":3', '"size":3.0'),
    "size with an exponent": GOOD.replace('"size":3', '"size":3e0'),
    "size true": GOOD.replace('"size":3', '"size":true'),
    "size a text": GOOD.replace('"size":3', '"size":"3"'),
    "size beyond 2^53": GOOD.replace('"size":3', f'"size":{2**53}'),
    "size of 5,000 digits": GOOD.replace('"size":3', '"size":' + "9" * 5000),
    "size not a number": GOOD.replace('"size":3', '"size":NaN'),
    "size with a zero before": GOOD.replace('"size":3', '"size":03'),
    "source a list": GOOD.replace('{"site":"a","url":"u"}', "[]"),
    "source null": GOOD.replace('{"site":"a","url":"u"}', "null"),
    "a source null": GOOD.replace('"site":"a"', '"site":null'),
    "a source a number": GOOD.replace('"site":"a"', '"site":1'),
    "a source nested": GOOD.replace('"site":"a"', '"site":{}'),
    "a source twice": GOOD.replace('"site":"a"', '"site":"a","site":"b"'),
    "nested without end": "[" * 100_000,
}


def test_reads_what_is_written() -> None:
    assert parse_leaf(GOOD.encode()) == Leaf("k", "cat", bytes.fromhex(DIGEST), 3, {"site": "a", "url": "u"})


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    with pytest.raises(InputError, match=r"^proof"):
        parse_leaf(MALFORMED[case].encode(), "proof")


def test_no_utf8_and_too_much() -> None:
    with pytest.raises(InputError):
        parse_leaf(GOOD.encode().replace(b"cat", b"\xff"))
    with pytest.raises(LimitError):
        parse_leaf(GOOD.replace("cat", "c" * MAX_LEAF).encode())


@given(
    TEXT,
    st.none() | TEXT,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**53 - 1),
    st.dictionaries(TEXT, TEXT, max_size=4),
)
def test_any_record_comes_back(
    key: str, label: str | None, sha256: bytes, size: int, source: dict[str, str]
) -> None:
    data = leaf(key, label, sha256, size, source)
    assert parse_leaf(data) == Leaf(key, label, sha256, size, source)


@given(
    st.text(string.printable)
    | st.recursive(st.none() | st.integers() | TEXT, lambda x: st.dictionaries(TEXT, x)).map(json.dumps)
)
def test_anything_else_is_one_error(text: str) -> None:
    with pytest.raises(InputError):
        parse_leaf(text.encode())
