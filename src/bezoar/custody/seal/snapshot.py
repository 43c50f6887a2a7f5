"""The snapshot tree: one RFC 6962 leaf per record, in the order of the manifest.

A leaf is the RFC 8785 JSON of `{"key", "label", "sha256", "size", "source"}`: it binds the content to its key, its label
and its source, so that a flipped label changes the root as a flipped byte does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring as _quoted  # RFC 8785 escapes the same characters in the same way
from typing import TYPE_CHECKING

from bezoar.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE = "source."  # prefix of the manifest's source columns


def leaf(key: str, label: str | None, sha256: bytes, size: int, source: Mapping[str, str]) -> bytes:
    """The leaf of one record: RFC 8785 JSON, UTF-8. `size` in bytes, at most 2^53 - 1; `source` without nulls.

    InputError when a text holds a lone surrogate, which has no UTF-8.
    """
    fields = ",".join(f"{_quoted(name)}:{_quoted(source[name])}" for name in source_order(source))
    try:
        return _leaf(
            _quoted(key), _quoted(label) if label is not None else "null", sha256.hex(), size, fields
        )
    except UnicodeEncodeError:
        raise InputError(
            f"record {key!r}: its key, label or source is not valid Unicode; rename it"
        ) from None


def source_order(names: Mapping[str, str] | Sequence[str]) -> list[str]:
    """The names in the order of RFC 8785: by UTF-16 code units."""
    return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def leaves(batch: pa.RecordBatch) -> list[bytes]:
    """The leaves of a batch of the manifest's rows; its texts must be valid UTF-8."""
    digests = batch.column("sha256").to_pylist()
    labels = [_quoted(label) if label is not None else "null" for label in batch.column("label").to_pylist()]
    names = [name.removeprefix(SOURCE) for name in batch.schema.names if name.startswith(SOURCE)]
    rows = zip(
        batch.column("key").to_pylist(), labels, digests, batch.column("size").to_pylist(), strict=True
    )
    if not names:
        return [_leaf(_quoted(key), label, digest.hex(), size, "") for key, label, digest, size in rows]
    columns = [(f"{_quoted(name)}:", batch.column(SOURCE + name).to_pylist()) for name in source_order(names)]
    return [
        _leaf(
            _quoted(key),
            label,
            digest.hex(),
            size,
            ",".join([name + _quoted(values[i]) for name, values in columns if values[i] is not None]),
        )
        for i, (key, label, digest, size) in enumerate(rows)
    ]


def leaf_hashes(batch: pa.RecordBatch) -> list[bytes]:
    """RFC 6962 leaf hashes of a batch of the manifest's rows."""
    sha256 = hashlib.sha256
    return [sha256(b"\0" + data).digest() for data in leaves(batch)]


def _leaf(key: str, label: str, digest: str, size: int, source: str) -> bytes:
    return f'{{"key":{key},"label":{label},"sha256":"{digest}","size":{size},"source":{{{source}}}}}'.encode()
