"""What a record has beside its content, label and columns, as digests: a further member of a sample, a binary or nested column.

In the manifest and the leaves each is a source column of its own: `sha256:<name>`, the SHA-256 (hex) of the bytes, or
`sha256-json:<name>`, that of the value's JSON (`value_json`). No column of a dataset may have such a name.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bezoar.custody.seal.manifest import MAX_SOURCES
from bezoar.errors import InputError, LimitError

if TYPE_CHECKING:
    import pyarrow as pa

    from bezoar.data import Dataset

_BYTES, _JSON = "sha256:", "sha256-json:"
_EXACT = 2**53  # integers below are numbers of RFC 8785


def is_digest(name: str) -> bool:
    """Whether a source column of this name holds digests."""
    return name.startswith((_BYTES, _JSON))


def further_digests(dataset: Dataset) -> dict[str, pa.Array]:
    """The digests of all that the records have further: source columns of N texts, null where a record has none.

    InputError for a value that has no JSON, LimitError for more than 1,000 names.
    """
    from bezoar.data import FurtherReader

    found: dict[str, _Column] = {}
    if not isinstance(dataset.reader, FurtherReader):
        return {}
    for row, members in enumerate(dataset.further()):
        for name, value in members.items():
            kind, digest = _digest(value, f"{dataset.path}: {name!r}")
            column = found.setdefault(kind + name, _Column())
            column.add(row, digest)
        if len(found) > MAX_SOURCES:
            raise LimitError(
                f"{dataset.path}: more than {MAX_SOURCES:,} names of members; no more can be sealed"
            )
    return {name: found[name].texts(len(dataset)) for name in sorted(found)}


def value_json(value: Any, where: str) -> bytes:
    """The RFC 8785 JSON of a column's value; InputError when it has none.

    What JSON has no word for is an object with one name: `$sha256` of bytes, `$number` for an integer beyond 2^53, an infinity
    or NaN, `$text` for dates, times and decimals.
    """
    import rfc8785

    try:
        return rfc8785.dumps(_plain(value, where))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: a value has no canonical JSON ({error}); leave the column out") from error


class _Column:
    """The digests of one name as they are found."""

    def __init__(self) -> None:
        self._rows, self._hex = array("q"), bytearray()

    def add(self, row: int, digest: str) -> None:
        self._rows.append(row)
        self._hex += digest.encode()

    def texts(self, count: int) -> pa.Array:
        """The texts of all `count` rows."""
        import numpy as np
        import pyarrow as pa

        offsets = np.arange(len(self._rows) + 1, dtype=np.int64) * 64
        texts = pa.LargeStringArray.from_buffers(
            len(self._rows), pa.py_buffer(offsets), pa.py_buffer(self._hex)
        ).cast(pa.string())
        if len(texts) == count:
            return texts
        places = np.full(count, -1, np.int32)
        places[np.frombuffer(self._rows, np.int64)] = np.arange(len(texts))
        return pa.DictionaryArray.from_arrays(pa.array(places, mask=places < 0), texts)


def _digest(value: Any, where: str) -> tuple[str, str]:
    """The prefix of the column, and the digest."""
    if isinstance(value, bytes):
        return _BYTES, hashlib.sha256(value).hexdigest()
    if isinstance(value, Iterator):
        total = hashlib.sha256()
        for piece in value:
            total.update(piece)
        return _BYTES, total.hexdigest()
    return _JSON, hashlib.sha256(value_json(value, where)).hexdigest()


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < _EXACT else {"$number": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$number": str(value)}
    if isinstance(value, bytes):
        return {"$sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, list | tuple):
        return [_plain(each, where) for each in value]
    if isinstance(value, dict):
        if odd := [name for name in value if not isinstance(name, str) or name.startswith("$")]:
            raise InputError(f"{where}: has a field {odd[0]!r}, which cannot be told apart; rename it")
        return {name: _plain(each, where) for name, each in value.items()}
    return {"$text": str(value)}
