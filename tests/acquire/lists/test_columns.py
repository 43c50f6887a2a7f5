"""Columns are found by what they are called, and a digest is hexadecimal of its length or it is none."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bezoar.acquire.lists.columns import HASH_BYTES, Columns, Malformed, digest_of, resolve
from bezoar.errors import InputError

LAION = ("SAMPLE_ID", "URL", "TEXT", "HEIGHT", "WIDTH", "LICENSE", "NSFW", "similarity", "hash")
DATACOMP = (
    "uid",
    "url",
    "text",
    "original_width",
    "original_height",
    "clip_b32_similarity_score",
    "face_bboxes",
    "sha256",
)


def test_laions_hash_is_no_digest() -> None:
    """It is mmh3 of the URL and the text."""
    assert resolve(Columns(), LAION, "l") == Columns("URL", "TEXT", None)


def test_datacomps_columns() -> None:
    assert resolve(Columns(), DATACOMP, "l") == Columns("url", "text", "sha256")
    assert resolve(Columns(hash_kind="md5"), DATACOMP, "l").hash is None


def test_what_is_named_prevails_and_other_kinds_are_found() -> None:
    names = ("url", "link", "caption", "alt", "md5", "SHA512", "digest")
    assert resolve(Columns("link", "alt", "digest", "sha1"), names, "l") == Columns(
        "link", "alt", "digest", "sha1"
    )
    assert resolve(Columns(hash_kind="sha512"), names, "l").hash == "SHA512"
    assert resolve(Columns(hash_kind="md5", extra=("alt", "alt")), names, "l") == Columns(
        "url", "caption", "md5", "md5", ("alt",)
    )


def test_a_hostile_header_makes_no_long_message() -> None:
    with pytest.raises(InputError) as caught:
        resolve(Columns(), ["x" * 10_000, *map(str, range(10_000))], "l")
    assert len(str(caught.value)) < 1000


@given(content=st.binary(), kind=st.sampled_from(sorted(HASH_BYTES)))
def test_a_digest_in_either_case(content: bytes, kind: str) -> None:
    digest = hashlib.new(kind, content, usedforsecurity=False)
    assert HASH_BYTES[kind] == digest.digest_size
    assert (
        digest_of(digest.hexdigest(), kind) == digest_of(digest.hexdigest().upper(), kind) == digest.digest()
    )


@pytest.mark.parametrize("missing", [None, ""])
def test_no_digest(missing: str | None) -> None:
    assert digest_of(missing, "sha256") is None


GOOD = "ab" * 32


@pytest.mark.parametrize(
    "text",
    [
        GOOD[:-2], GOOD[:-1], GOOD + "00", f" {GOOD}", f"{GOOD}\n", f"0x{GOOD[2:]}", f"sha256:{GOOD}", GOOD[:-1] + "g",
        "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=", "nan", "NULL", "0", "１" * 64, "ab ab" + GOOD[5:], GOOD[:-2] + "\0\0",
    ],
)  # fmt: skip
def test_malformed_digests(text: str) -> None:
    with pytest.raises(Malformed, match="is not a sha256 of 64 hexadecimal digits"):
        digest_of(text, "sha256")


def test_a_digest_of_another_kind_is_malformed() -> None:
    with pytest.raises(Malformed):
        digest_of("0" * 32, "sha256")
    assert digest_of("0" * 32, "md5") == bytes(16)
