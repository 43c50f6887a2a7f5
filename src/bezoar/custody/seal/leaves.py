"""Reading a leaf of the snapshot tree back: what a proof carries in its `extra` field.

`bezoar.custody.seal.snapshot.leaf` writes leaves. A leaf has one spelling (RFC 8785); any other is refused, so that two
readers never see two records in the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bezoar.custody.seal.snapshot import leaf
from bezoar.custody.signing.strict_json import parse_object
from bezoar.errors import InputError

MAX_LEAF = 1 << 20  # bytes
_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_SIZE = 2**53 - 1  # the largest integer that JSON readers agree on


@dataclass(frozen=True)
class Leaf:
    """What the snapshot says of one record; `size` in bytes, `source` by column without nulls."""

    key: str
    label: str | None
    sha256: bytes
    size: int
    source: Mapping[str, str]


def parse_leaf(data: bytes, where: str = "leaf") -> Leaf:
    """The leaf in `data`; InputError unless it is exactly what `snapshot.leaf` writes, LimitError beyond 1 MiB."""
    members = parse_object(data, where, MAX_LEAF)
    if set(members) != {"key", "label", "sha256", "size", "source"}:
        raise InputError(f"{where}: expected the members key, label, sha256, size and source")
    found = Leaf(
        key=_text(members, "key", where),
        label=None if members["label"] is None else _text(members, "label", where),
        sha256=_digest(members["sha256"], where),
        size=_size(members["size"], where),
        source=_source(members["source"], where),
    )
    if leaf(found.key, found.label, found.sha256, found.size, found.source) != data:
        raise InputError(f"{where}: is not canonical JSON (RFC 8785)")
    return found


def _text(members: Mapping[str, Any], name: str, where: str) -> str:
    value = members[name]
    if not isinstance(value, str):
        raise InputError(f"{where}: {name} is not a text")
    return value


def _digest(value: Any, where: str) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise InputError(f"{where}: sha256 is not 64 lowercase hexadecimal digits")
    return bytes.fromhex(value)


def _size(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_SIZE:
        raise InputError(f"{where}: size is not a number of bytes")
    return value


def _source(value: Any, where: str) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InputError(f"{where}: source is not an object of texts")
    return value
