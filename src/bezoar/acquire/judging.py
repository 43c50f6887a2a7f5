"""The verdict on what arrived: against the digest that was known beforehand, or `unverified` where none was.

A mismatch is never looked at any further: its bytes are neither decoded nor kept beside the data.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bezoar.acquire.http.exchange import Reply
from bezoar.acquire.reasons import Reason, Verdict

_NO_HASH = "the list has no hash for it"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, why, and the same for a person in one line."""

    verdict: Verdict
    reason: Reason | None = None
    detail: str = ""


VERIFIED = Judgement(Verdict.VERIFIED)
UNLISTED = Judgement(Verdict.UNVERIFIED, detail=_NO_HASH)
UNASKED = Judgement(Verdict.REJECTED, Reason.HASH_MISSING, f"{_NO_HASH}, and hashes are required")


def judge(reply: Reply, expected: bytes | None, kind: str) -> Judgement:
    """What is known of the bytes of `reply`; `expected` is their digest of this `kind`: sha256, sha512, sha1 or md5."""
    if reply.reason is not None:
        return Judgement(Verdict.REJECTED, reply.reason, reply.detail)
    if expected is None:
        return UNLISTED
    if kind == "sha256":
        return VERIFIED if reply.sha256 == expected else _mismatch(kind, expected, reply.sha256)
    found = hashlib.new(kind, reply.body, usedforsecurity=False).digest()
    if found != expected:
        return _mismatch(kind, expected, found)
    if kind == "sha512":
        return VERIFIED
    return Judgement(Verdict.UNVERIFIED, detail=f"{kind} agrees, but others can be made that agree as well")


def _mismatch(kind: str, expected: bytes, found: bytes) -> Judgement:
    said = f"{kind} is {found.hex()}, expected {expected.hex()}"
    return Judgement(Verdict.REJECTED, Reason.HASH_MISMATCH, said)
