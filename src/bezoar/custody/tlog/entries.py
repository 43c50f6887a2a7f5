"""Entries of the custody log and the bundles that hold 256 of them (C2SP tlog-tiles, "Log entries").

A bundle is a sequence of entries, each behind its length (u16, big-endian). An entry is the RFC 8785 JSON of an object of
at most 65,535 bytes; its member `object` ("sha256:<hex>") names the signed statement that lies in `objects/sha256/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import rfc8785

from bezoar.custody.tlog.storage import Storage
from bezoar.custody.tlog.tiles import TILE, tile_path
from bezoar.errors import InputError, VerificationError

MAX_ENTRY = 65_535
MAX_OBJECT = 64 << 20
_MAX_BUNDLE = TILE * (2 + MAX_ENTRY)
_OBJECT = re.compile(r"sha256:([0-9a-f]{64})")


def pack(entries: Iterable[bytes]) -> bytes:
    """The bundle of `entries`."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def unpack(bundle: bytes, where: str) -> list[bytes]:
    """The entries of `bundle`; InputError, which names `where`, when it ends in the middle of one."""
    entries: list[bytes] = []
    place = 0
    while place < len(bundle):
        start = place + 2
        place = start + int.from_bytes(bundle[place:start], "big")
        if place > len(bundle) or start > len(bundle):
            raise InputError(f"{where}: the entry bundle ends within entry {len(entries)}; it is damaged")
        entries.append(bundle[start:place])
    return entries


def read_bundle(storage: Storage, index: int, width: int) -> list[bytes]:
    """The first `width` entries of bundle `index`; VerificationError where the log lacks them.

    Once a bundle is full its partial ones may be gone, so that a reader who came earlier reads the full one.
    """
    for stored in dict.fromkeys((width, TILE)):
        path = tile_path(0, index, stored, entries=True)
        bundle = storage.read(path, _MAX_BUNDLE)
        if bundle is None:
            continue
        entries = unpack(bundle, path)
        if len(entries) != stored:
            raise InputError(f"{path}: holds {len(entries)} entries instead of {stored}; it is damaged")
        return entries[:width]
    path = tile_path(0, index, width, entries=True)
    raise VerificationError(f"{path}: missing, although the tree has it; restore the file")


def check_entry(entry: bytes) -> dict[str, Any]:
    """Its members; InputError when `entry` is no RFC 8785 JSON object or is longer than a bundle can hold."""
    if len(entry) > MAX_ENTRY:
        raise InputError(
            f"a log entry of {len(entry):,} bytes; at most {MAX_ENTRY:,} fit, log a digest instead"
        )
    members = members_of(entry)
    if members is None:
        raise InputError(
            "a log entry is not the canonical (RFC 8785) JSON of an object; write it with rfc8785"
        )
    return members


def members_of(entry: bytes) -> dict[str, Any] | None:
    """The JSON object that `entry` is; None for anything that has a second spelling (a repeated name, a blank)."""
    try:
        value = json.loads(entry)
        return value if isinstance(value, dict) and rfc8785.dumps(value) == entry else None
    except (ValueError, RecursionError):  # rfc8785's own errors are ValueErrors
        return None


def object_of(members: Mapping[str, Any]) -> str | None:
    """The hex SHA-256 of the object that an entry with these members names; None when it names none."""
    named = members.get("object")
    match = _OBJECT.fullmatch(named) if isinstance(named, str) else None
    return match[1] if match else None


def object_path(sha256_hex: str) -> str:
    """Where the log keeps the object: `objects/sha256/ab/<hex>`."""
    return f"objects/sha256/{sha256_hex[:2]}/{sha256_hex}"
