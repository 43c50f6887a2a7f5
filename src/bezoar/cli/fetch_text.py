"""What `bezoar fetch` says in the end: a table for a person, an object for a program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bezoar.cli.fetch_sealing import NOT_SEALED
from bezoar.report.text import count, percent, seconds, shown

if TYPE_CHECKING:
    from bezoar.acquire.fetching import FetchReport
    from bezoar.acquire.lists.signing import IndexSignature
    from bezoar.acquire.tally import Tally
    from bezoar.custody.seal.reading import Seal

_WORDS = {
    "hash_mismatch": "other content than the list promises",
    "hash_missing": "no hash in the list",
    "hash_malformed": "a hash in the list that is none",
    "too_large": "larger than allowed",
    "deadline": "too slow",
    "blocked_address": "an address that is not public",
    "bad_scheme": "neither http nor https",
    "bad_url": "no URL",
    "downgrade": "a redirect from https to http",
    "too_many_redirects": "too many redirects",
    "http_status": "the server says no",
    "truncated": "ended early",
    "connection": "no connection",
    "tls": "a certificate that does not hold",
    "opt_out": "its site asks to be left out",
    "decode_error": "no image that may be kept",
}


def as_json(report: FetchReport, signed: IndexSignature | None, seal: Seal | None) -> str:
    """The result as one object."""
    value: dict[str, Any] = {
        "version": 1,
        "out": str(report.out),
        "state": str(report.state),
        "list": {"sha256": report.list_digest, "signed_by": None if signed is None else signed.signer},
        "run_id": report.run_id,
        **report.tally.as_json(),
        "shards": report.shards,
        "resumed": report.resumed,
        "seconds": round(report.seconds, 3),
        "seal": None if seal is None else {"location": seal.location, "snapshot": seal.root.hex()},
    }
    return json.dumps(value, indent=1)


def as_text(report: FetchReport, signed: IndexSignature | None, seal: Seal | None, *, asked: bool) -> str:
    """The result as a table, and what may be done next; `asked`: a seal is wanted."""
    tally = report.tally
    lines = [
        f"{shown(str(report.out), 1000)}: {count(tally.kept)} of {count(tally.rows, 'row')} kept, {_shards(report)}"
    ]
    if signed is not None:
        lines.append(f"  list signed by {shown(signed.signer, 200)}")
    figures = [
        ("verified", tally.verified, ""),
        ("unverified", tally.unverified, "nothing that vouches for them"),
    ]
    figures += [(name, number, _WORDS.get(name, "")) for name, number in tally.as_json()["rejected"].items()]
    rows = [(name, number, words) for name, number, words in figures if number or name == "verified"]
    width = max(len(name) for name, _, _ in rows)
    digits = max(len(count(number)) for _, number, _ in rows)
    for name, number, words in rows:
        share = percent(number / tally.rows) if tally.rows else ""
        lines.append(f"  {name:<{width}}  {count(number):>{digits}}  {share:>8}  {words}".rstrip())
    rate = tally.rows / report.seconds if report.seconds > 0 and not report.resumed else None
    speed = f", {rate:,.0f} rows a second" if rate else ""
    lines.append(f"  {size(tally.bytes)} in {seconds(report.seconds)}{speed}")
    if seal is not None:
        lines.append(f"  sealed: {shown(seal.location, 1000)}, snapshot {seal.root.hex()}")
    elif asked:
        lines.append(NOT_SEALED)
    return "\n".join([*lines, *_next(report, seal)])


def in_words(tally: Tally) -> str:
    """`300 rows, 297 verified, 0 unverified, 3 rejected (hash_mismatch 2, http_status 1)`."""
    said = f"{tally.rows} rows, {tally.verified} verified, {tally.unverified} unverified, {tally.rows - tally.kept} rejected"
    reasons = ", ".join(f"{name} {number}" for name, number in tally.as_json()["rejected"].items())
    return f"{said} ({reasons})" if reasons else said


def size(number: int) -> str:
    """`12 bytes`, `3.1 kB`, `61.0 MB`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:,.1f} {unit}"
    return count(number, "byte")


def _shards(report: FetchReport) -> str:
    there = f", {count(report.resumed)} of them already there" if report.resumed else ""
    return f"{count(report.shards, 'shard')}{there}"


def _next(report: FetchReport, seal: Seal | None) -> list[str]:
    out = shown(str(report.out), 1000)
    lines = []
    if report.tally.quarantined:
        lines.append(f"next: bezoar quarantine ls {out}")
    if seal is None and report.tally.kept:
        lines.append(f"next: bezoar seal {out} --key KEY")
    return lines
