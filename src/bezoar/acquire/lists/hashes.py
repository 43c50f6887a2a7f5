"""The digests of a list, a column at a time: which are well-formed, and what is wrong with the others.

It says of a column what `columns.digest_of` says of one value.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from bezoar.acquire.lists.columns import HASH_BYTES

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class HashFault(StrEnum):
    """What stands in the place of a digest; the first that fits."""

    SPACE = "surrounded by white space"
    PREFIX = "with a prefix (0x, sha256:)"
    OTHER_LENGTH = "hexadecimal of another length"
    BASE64 = "base64"
    OTHER = "something else"


_KINDS = (
    (HashFault.SPACE, r"^\s+[0-9A-Fa-f]+\s*$|^[0-9A-Fa-f]+\s+$"),
    (HashFault.PREFIX, r"^(0[xX]|[0-9A-Za-z-]{1,16}[:=])[0-9A-Fa-f]+$"),
    (HashFault.OTHER_LENGTH, r"^[0-9A-Fa-f]+$"),
    (HashFault.BASE64, r"^[0-9A-Za-z+/_-]{20,200}={0,2}$"),
)


def well_formed(digests: pa.Array, kind: str = "sha256") -> NDArray[np.bool_]:
    """Which of N strings are digests of this kind in hexadecimal of either case; null is none. Shape (N,)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if digests.null_count == len(digests):
        return np.zeros(len(digests), bool)
    found = pc.match_substring_regex(digests, rf"^[0-9A-Fa-f]{{{2 * HASH_BYTES[kind]}}}$")
    mask = pc.fill_null(found, pa.scalar(False)).to_numpy(zero_copy_only=False)
    return np.asarray(mask, bool)


def faults(digests: pa.Array) -> dict[HashFault, int]:
    """How many of these malformed values (no null among them) are of each kind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts: dict[HashFault, int] = {}
    for kind, pattern in _KINDS:
        fits = pc.match_substring_regex(digests, pattern)
        counts[kind] = int(pc.sum(fits.cast(pa.int64())).as_py() or 0)
        digests = digests.filter(pc.invert(fits))
    counts[HashFault.OTHER] = len(digests)
    return {kind: count for kind, count in counts.items() if count}


def fault_of(text: str) -> HashFault:
    """The kind of one malformed value."""
    import pyarrow as pa

    return next(iter(faults(pa.array([text]))))
