from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.custody.tlog.entries import MAX_ENTRY, check_entry, members_of, object_of, pack, unpack
from bezoar.errors import InputError

DIGEST = "ab" * 32


def test_bundle_layout() -> None:
    assert pack([b"abc", b"", b"{}"]) == b"\x00\x03abc\x00\x00\x00\x02{}"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert unpack(pack(entries), "bundle") == entries


@given(st.binary(max_size=400))
def test_any_bytes_are_a_bundle_or_one_error(data: bytes) -> None:
    try:
        entries = unpack(data, "bundle")
    except InputError:
        return
    assert pack(entries) == data


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x00\x01", b"\x00\x02a", b"\x00\x01ab", b"\xff\xff" + b"a" * 65_534]
)
def test_a_bundle_that_ends_too_early(data: bytes) -> None:
    with pytest.raises(InputError, match=r"tile/entries/000: the entry bundle ends within entry"):
        unpack(data, "tile/entries/000")


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e400}',
        b'{"a":NaN}',
        b'{"a":12345678901234567890}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":1}\n',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 60_000,
    ],
)
def test_entries_that_are_not_canonical(entry: bytes) -> None:
    with pytest.raises(InputError, match="canonical"):
        check_entry(entry)
    assert members_of(entry) is None


def test_the_longest_entry() -> None:
    longest = b'{"a":"' + b"x" * (MAX_ENTRY - 8) + b'"}'
    check_entry(longest)
    with pytest.raises(InputError, match="65,536 bytes"):
        check_entry(longest.replace(b"x", b"xx", 1))


def test_the_object_of_an_entry() -> None:
    assert object_of(check_entry(f'{{"object":"sha256:{DIGEST}"}}'.encode())) == DIGEST


@pytest.mark.parametrize(
    "value",
    [
        f"sha256:{DIGEST.upper()}",
        f"sha256:{DIGEST}0",
        f"sha256:{DIGEST}\n",
        DIGEST,
        "sha256:../../x",
        1,
        None,
    ],
)
def test_no_object(value: object) -> None:
    assert object_of({"object": value}) is None
    assert object_of({}) is None
