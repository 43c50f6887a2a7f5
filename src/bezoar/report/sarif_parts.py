"""What every SARIF 2.1.0 log of Bezoar has in common (OASIS Standard, 27 March 2020): the tool, texts, URIs, fingerprints.

What comes from a dataset or a model is hostile: URIs are percent-encoded, and messages contain nothing that a viewer would take
for a link or a placeholder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
_SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_SURROGATE = re.compile("[\ud800-\udfff]")

Json = dict[str, Any]


def log(run: Json) -> Json:
    """The log with this one run; all text well-formed Unicode."""
    clean: Json = _well_formed({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]})
    return clean


def driver(version: str, rules: Sequence[Json], notifications: Sequence[Json] = ()) -> Json:
    """Bezoar as SARIF's tool component, with its rules and the notifications that it may give."""
    component: Json = {
        "name": "Bezoar",
        "version": version,
        "rules": list(rules),
        "notifications": list(notifications),
    }
    if _SEMANTIC.fullmatch(version):
        component["semanticVersion"] = version
    return component


def descriptor(kind: str, short: str, full: str, help_: str, level: str) -> Json:
    """A rule: a kind of finding in words, and its level where a result says nothing else."""
    return {
        "id": kind,
        "shortDescription": {"text": message(short)},
        "fullDescription": {"text": message(full)},
        "help": {"text": message(help_)},
        "defaultConfiguration": {"level": level},
    }


def message(text: str) -> str:
    """A plain text message without placeholders and embedded links (§3.11.5, §3.11.6)."""
    return text.replace("{", "{{").replace("}", "}}").replace("[", r"\[").replace("]", r"\]")


def encoded(text: str, safe: str = "") -> str:
    """Percent-encoded (RFC 3986); bytes of a file name that are not UTF-8 stand for themselves."""
    try:
        octets = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        octets = text.encode("utf-8", "replace")
    return quote(octets, safe=safe)


def digest(*parts: str) -> str:
    """SHA-256 (hex) over texts and their lengths."""
    total = hashlib.sha256()
    for part in parts:
        octets = part.encode("utf-8", "surrogatepass")
        total.update(len(octets).to_bytes(8, "big") + octets)
    return total.hexdigest()


def _well_formed(value: Any) -> Any:
    """`value` with lone surrogates replaced: JSON could spell them, but few readers take them."""
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_well_formed(item) for item in value]
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value
