"""Small logs with known contents, and the damage that is done to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.custody.tlog.keys import ed25519_signer
from bezoar.custody.tlog.log import CustodyLog
from bezoar.custody.tlog.note import NoteSigner

ORIGIN = "example.org/custody"


def private(seed: int = 1) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def signer(seed: int = 1, origin: str = ORIGIN) -> NoteSigner:
    return ed25519_signer(private(seed), origin)


def item(number: int, word: str = "event") -> tuple[bytes, Mapping[str, bytes]]:
    """An entry that names an object, and that object."""
    content = json.dumps({"number": number, "word": word}).encode()
    digest = hashlib.sha256(content).hexdigest()
    return rfc8785.dumps({"number": number, "object": f"sha256:{digest}", "word": word}), {digest: content}


def items(start: int, end: int, word: str = "event") -> list[tuple[bytes, Mapping[str, bytes]]]:
    return [item(number, word) for number in range(start, end)]


def bare(start: int, end: int) -> list[tuple[bytes, Mapping[str, bytes]]]:
    """Entries without objects, which are quicker to write."""
    return [(rfc8785.dumps({"number": number}), {}) for number in range(start, end)]


def make_log(folder: Path, size: int = 0, word: str = "event", seed: int = 1) -> CustodyLog:
    log = CustodyLog.init(folder, ORIGIN, signer(seed))
    log.append(items(0, size, word), signer(seed))
    return log


def flip(path: Path, place: int = -1) -> None:
    """Change one bit of one byte."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def problems(log: CustodyLog) -> list[str]:
    """What `verify` says, as `where: what`."""
    return [f"{problem.where}: {problem.what}" for problem in log.verify().problems]
