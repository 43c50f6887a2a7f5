"""Lists on disk, and keys to sign them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric import ec

from bezoar.custody.signing.signers import KeySigner, KeyVerifier

KEY = ec.generate_private_key(ec.SECP256R1())
SIGNER, VERIFIER = KeySigner(KEY), KeyVerifier(KEY.public_key())
STRANGER = KeySigner(ec.generate_private_key(ec.SECP256R1()))


def sha256(number: object) -> str:
    """A digest that no other number has."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def url(number: int) -> str:
    """An address that no other number has, on one of seven ordinary domains."""
    return f"https://img{number % 11}.site{number % 7}.com/{number}.jpg"


def write(path: Path, urls: Sequence[str | None], digests: Sequence[Any] | None = None, **more: Any) -> Path:
    """A list as Parquet, CSV or lines by the suffix of `path`."""
    columns: dict[str, Any] = {"url": list(urls)}
    if digests is not None:
        columns["sha256"] = list(digests)
    columns |= more
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".csv":
        rows = [
            ",".join(columns),
            *(
                ",".join("" if c is None else str(c) for c in row)
                for row in zip(*columns.values(), strict=True)
            ),
        ]
        path.write_text("\n".join(rows) + "\n")
    else:
        path.write_text("\n".join(text or "" for text in urls) + "\n")
    return path


def good(path: Path, rows: int = 50) -> Path:
    """A list in which every row carries its own digest."""
    return write(path, [url(n) for n in range(rows)], [sha256(n) for n in range(rows)])
