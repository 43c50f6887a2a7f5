"""The first pass over a list: rows are counted by what they say, and what only shows among all rows is put aside as numbers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.acquire.lists.concentration import DomainCounter
from bezoar.acquire.lists.domains import SuffixList
from bezoar.acquire.lists.hashes import HashFault, fault_of, faults, well_formed
from bezoar.acquire.lists.partitions import Partitions
from bezoar.acquire.lists.repeats import numbers_of
from bezoar.acquire.lists.sites import Oddity, Site, Sites

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_SHOWN = 300  # characters that are kept of a URL that is named
_HEAD = r"^(?P<head>[A-Za-z][A-Za-z0-9+.-]{0,30}://[^/?#]*)"
_PLAIN = "^[!-~]*$"
_LONGEST_PLAIN = 2000  # bytes
# what no display shows, or what changes the direction of the rest: format characters, odd spaces, fillers
_HIDDEN = re.compile(
    "[\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\u3164\ufeff\uffa0\ufff0-\uffff\U000e0000-\U000e0fff]"
)

Named = tuple[int, str, str]  # row, URL, reason


class Reckoning:
    """Counts of the rows that were added."""

    def __init__(self, suffixes: SuffixList, hash_kind: str, folder: Path, listed: int) -> None:
        self.rows = self.https = self.private = self.punycode = 0
        self.well_formed = self.missing = 0
        self.malformed: Counter[HashFault] = Counter()
        self.odd_rows: Counter[Oddity] = Counter()
        self.named: dict[Oddity, list[Named]] = {oddity: [] for oddity in Oddity}
        self.domains = DomainCounter(folder)
        self.by_url = Partitions(folder, "urls", 3)  # URL, digest or 0, row
        self.by_digest = Partitions(folder, "digests", 3)  # digest, domain, row
        self._sites, self._kind, self._listed = Sites(suffixes), hash_kind, listed

    def add(self, batch: pa.RecordBatch) -> None:
        """A batch with the columns `url` and `expected` (`batches`)."""
        import numpy as np

        urls, expected = batch.column("url"), batch.column("expected")
        domains = self._add_urls(urls)
        digests = self._add_digests(urls, expected)
        rows = np.arange(self.rows, self.rows + len(urls), dtype=np.uint64)
        there = np.asarray(urls.is_valid())
        self.by_url.add(numbers_of(urls.filter(urls.is_valid())), digests[there], rows[there])
        both = (digests != 0) & (domains != 0)
        self.by_digest.add(digests[both], domains[both], rows[both])
        self.rows += len(urls)

    def _add_urls(self, urls: pa.Array) -> NDArray[np.uint64]:
        """Count sites and what is odd about them; the number of each row's domain, 0 where it has none."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        heads = pc.extract_regex(urls, _HEAD).field(0)  # "" where there is none
        short = pc.less_equal(pc.binary_length(urls), _LONGEST_PLAIN)
        plain = pc.and_(pc.match_substring_regex(urls, _PLAIN), pc.and_(short, pc.not_equal(heads, "")))
        heads = pc.if_else(pc.fill_null(plain, False), heads, pa.scalar(None, heads.type)).dictionary_encode()
        place = pc.fill_null(heads.indices, -1).to_numpy(zero_copy_only=False)
        sites = [self._sites.of_head(head) for head in heads.dictionary.to_pylist()]
        counts = np.bincount(place[place >= 0], minlength=len(sites)).tolist()
        for site, count in zip(sites, counts, strict=True):
            self._count(site, count)
        numbers = np.zeros(len(sites) + 1, np.uint64)  # the last one is for place -1
        numbers[:-1] = np.fromiter((_number(site) for site in sites), np.uint64, len(sites))
        domains: NDArray[np.uint64] = numbers[place]

        candidates: list[tuple[int, Site]] = []
        others = np.flatnonzero(place < 0)
        for row, url in zip(others.tolist(), urls.take(pa.array(others)).to_pylist(), strict=True):
            site = self._odd_site(url)
            self._count(site, 1)
            domains[row] = _number(site)
            if site.oddities:
                candidates.append((row, site))
        candidates += self._wanted(place, sites)
        for row, site in sorted(candidates, key=lambda each: each[0]):
            for oddity, reason in site.oddities:
                self._name(oddity, row, urls, reason)
        return domains

    def _odd_site(self, url: str | None) -> Site:
        """Of a URL that is not plain ASCII."""
        if url is None:
            return Site("", oddities=((Oddity.BAD_URL, "no URL, or a row that cannot be read"),))
        site = self._sites.of_url(url)
        hidden = _HIDDEN.search(url)
        if hidden is None or not site.domain:
            return site
        why = f"holds the invisible character U+{ord(hidden[0]):04X}"
        odd = (*site.oddities, (Oddity.HIDDEN_CHARACTERS, why))
        return Site(site.domain, site.https, site.private, site.punycode, odd)

    def _count(self, site: Site, rows: int) -> None:
        if site.domain:
            self.domains.add(site.domain, rows, rows if site.https else 0)
            self.https += rows if site.https else 0
            self.private += rows if site.private else 0
            self.punycode += rows if site.punycode else 0
        for oddity, _ in site.oddities:
            self.odd_rows[oddity] += rows

    def _wanted(self, place: NDArray[np.int32], sites: list[Site]) -> list[tuple[int, Site]]:
        """The first rows of the oddities of which more may be named."""
        import numpy as np

        found: dict[int, Site] = {}
        odd = [(number, site.oddities) for number, site in enumerate(sites) if site.oddities]
        for oddity in {oddity for _, oddities in odd for oddity, _ in oddities}:
            left = self._listed - len(self.named[oddity])
            if left > 0:
                has = np.zeros(len(sites) + 1, bool)
                has[[number for number, oddities in odd if any(each is oddity for each, _ in oddities)]] = (
                    True
                )
                found |= {row: sites[place[row]] for row in np.flatnonzero(has[place])[:left].tolist()}
        return list(found.items())

    def _name(self, oddity: Oddity, row: int, urls: pa.Array, reason: str) -> None:
        named = self.named[oddity]
        if len(named) < self._listed:
            named.append((self.rows + row, (urls[row].as_py() or "")[:MAX_SHOWN], reason))

    def _add_digests(self, urls: pa.Array, expected: pa.Array) -> NDArray[np.uint64]:
        """Count digests; the number of each row's digest, 0 where it has none that is well-formed."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        good = well_formed(expected, self._kind)
        numbers = np.zeros(len(expected), np.uint64)
        count = int(good.sum())
        if count:
            numbers[good] = numbers_of(pc.ascii_lower(expected.filter(pa.array(good))))
        self.well_formed += count
        self.missing += expected.null_count
        wrong = np.flatnonzero(~good & np.asarray(expected.is_valid()))
        if len(wrong):
            self.malformed.update(faults(expected.take(pa.array(wrong))))
            self.odd_rows[Oddity.HASH_MALFORMED] += len(wrong)
            for row in wrong[: self._listed].tolist():
                text = expected[row].as_py()
                self._name(Oddity.HASH_MALFORMED, row, urls, f"{text[:80]!r} is {fault_of(text)}")
        return numbers


def _number(site: Site) -> int:
    """A number for the domain, 0 where there is none."""
    return hash(site.domain) & (2**64 - 1)
