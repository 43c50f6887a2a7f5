"""What only shows when all rows are held against each other: a URL twice, with two digests, one digest on many domains.

Texts are compared by their 64-bit hashes (SipHash, keyed anew by every process, so nobody can prepare a collision); among
100 million rows the chance of one false match is about 1 in 4,000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MANY_DOMAINS = 10


@dataclass(frozen=True, slots=True)
class Repeats:
    """URLs that occur more than once.

    Attributes:
        urls: that do.
        rows: beyond the first one of each URL.
        contradicted: URLs with two well-formed digests that differ.
        contradicting: the rows of these, as far as their digests are well-formed.
        examples: of contradicted URLs: the first row, and the first one that says otherwise; in order of the latter.

    """

    urls: int
    rows: int
    contradicted: int
    contradicting: int
    examples: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Shared:
    """Digests that stand for the content of many domains.

    Attributes:
        digests: on at least `MANY_DOMAINS` domains.
        rows: with these.
        examples: first row, domains, rows; those on most domains first.

    """

    digests: int
    rows: int
    examples: tuple[tuple[int, int, int], ...]


def numbers_of(texts: pa.Array) -> NDArray[np.uint64]:
    """A number for each of N strings (no nulls), equal for equal ones and never 0. Shape (N,)."""
    import numpy as np

    values = np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts)).view(np.uint64)
    values[values == 0] = 1
    return values


def repeats(partitions: Iterable[NDArray[np.uint64]], listed: int) -> Repeats:
    """From rows (URL, digest or 0, number of the row), by partition."""
    import numpy as np

    urls = rows = contradicted = contradicting = 0
    examples: list[tuple[int, int]] = []
    for part in partitions:
        url, digest, number = part[np.argsort(part[:, 0], kind="stable")].T
        sizes = _sizes(_starts(url), len(url))
        urls += int((sizes > 1).sum())
        rows += len(url) - len(sizes)
        known = digest != 0
        url, digest, number = url[known], digest[known], number[known]
        starts = _starts(url)
        if not len(starts):
            continue
        sizes = _sizes(starts, len(url))
        differs = digest != np.repeat(digest[starts], sizes)
        group = np.repeat(np.arange(len(starts)), sizes)
        two, first = np.unique(group[differs], return_index=True)
        contradicted += len(two)
        contradicting += int(sizes[two].sum())
        others = number[differs][first]
        examples += zip(others.tolist(), number[starts[two]].tolist(), strict=True)
        examples = sorted(examples)[:listed]
    return Repeats(urls, rows, contradicted, contradicting, tuple((one, other) for other, one in examples))


def shared(partitions: Iterable[NDArray[np.uint64]], listed: int, least: int = MANY_DOMAINS) -> Shared:
    """From rows (digest, domain, number of the row), by partition."""
    import numpy as np

    digests = rows = 0
    examples: list[tuple[int, int, int]] = []
    for part in partitions:
        digest, domain, number = part[np.lexsort((part[:, 1], part[:, 0]))].T
        starts = _starts(digest)
        sizes = _sizes(starts, len(digest))
        new = np.ones(len(digest), bool)
        new[1:] = (digest[1:] != digest[:-1]) | (domain[1:] != domain[:-1])
        domains = np.add.reduceat(new.astype(np.int64), starts)
        many = np.flatnonzero(domains >= least)
        if not len(many):
            continue
        digests += len(many)
        rows += int(sizes[many].sum())
        firsts = np.minimum.reduceat(number, starts)[many].tolist()
        examples += zip(firsts, domains[many].tolist(), sizes[many].tolist(), strict=True)
        examples = sorted(examples, key=lambda each: (-each[1], each[0]))[:listed]
    return Shared(digests, rows, tuple(examples))


def _starts(ordered: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where the groups of equal numbers begin."""
    import numpy as np

    if not len(ordered):
        return np.empty(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])


def _sizes(starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    import numpy as np

    return np.diff(starts, append=length)
