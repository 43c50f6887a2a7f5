"""in-toto Statement v1 (in-toto/attestation): which subjects, by digest, a predicate speaks of.

Written as RFC 8785 JSON, read strictly. Unknown members are ignored, as the specification asks of consumers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError, UsageError

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MAX_STATEMENT_BYTES = 46 * 2**20  # in base64, with signatures, under the cap of envelopes
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,128}")
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128, "bezoarSnapshot": 64}


@dataclass(frozen=True)
class Subject:
    """What a statement is about: a name and its digests (algorithm to lowercase hex)."""

    name: str
    digest: Mapping[str, str]


@dataclass(frozen=True)
class Statement:
    """A predicate of some type about one or more subjects."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """RFC 8785 JSON, the payload of an envelope; UsageError when a value cannot be written so."""
        import rfc8785

        try:
            data = rfc8785.dumps(
                {
                    "_type": STATEMENT_TYPE,
                    "predicate": dict(self.predicate),
                    "predicateType": self.predicate_type,
                    "subject": [{"digest": dict(one.digest), "name": one.name} for one in self.subjects],
                }
            )
        except (rfc8785.CanonicalizationError, RecursionError) as error:
            raise UsageError(f"the statement cannot be written as canonical JSON: {error}") from error
        if len(data) > MAX_STATEMENT_BYTES:
            raise UsageError(
                f"the statement takes {len(data):,} bytes; at most {MAX_STATEMENT_BYTES:,} are read back"
            )
        return data

    @classmethod
    def parse(cls, data: bytes, where: str = "in-toto statement") -> Statement:
        """A statement from JSON; InputError (LimitError beyond 46 MiB) when it is malformed."""
        fields = parse_object(data, where, MAX_STATEMENT_BYTES)
        check_type(fields, where)
        predicate = fields.get("predicate", {})
        if not isinstance(predicate, dict):
            raise InputError(f"{where}: predicate must be an object")
        return cls(subjects_of(fields, where), predicate_type(fields, where), predicate)


def check_type(fields: Mapping[str, Any], where: str) -> None:
    """InputError unless these are the members of a Statement v1."""
    if fields.get("_type") != STATEMENT_TYPE:
        raise InputError(f"{where}: _type must be {STATEMENT_TYPE}")


def predicate_type(fields: Mapping[str, Any], where: str) -> str:
    """The statement's predicate type, a non-empty text."""
    value = fields.get("predicateType")
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: predicateType must be a non-empty text")
    return value


def subjects_of(fields: Mapping[str, Any], where: str) -> tuple[Subject, ...]:
    """The statement's subjects, at least one, each with at least one digest."""
    items = fields.get("subject")
    if not isinstance(items, list) or not items:
        raise InputError(f"{where}: subject must be a non-empty list")
    return tuple(_subject(item, where) for item in items)


def _subject(item: Any, where: str) -> Subject:
    if not isinstance(item, dict):
        raise InputError(f"{where}: a subject must be an object")
    name = item.get("name", "")
    if not isinstance(name, str):
        raise InputError(f"{where}: a subject's name must be a text")
    digest = item.get("digest")
    if not isinstance(digest, dict) or not digest:
        raise InputError(f"{where}: subject {name[:80]!r} has no digest")
    for algorithm, value in digest.items():
        known = _LENGTHS.get(algorithm)
        if not isinstance(value, str) or not _HEX.fullmatch(value) or (known and len(value) != known):
            raise InputError(
                f"{where}: subject {name[:80]!r}: {algorithm[:40]} digest must be "
                + (f"{known} lowercase hex digits" if known else "lowercase hex")
            )
    return Subject(name, digest)
