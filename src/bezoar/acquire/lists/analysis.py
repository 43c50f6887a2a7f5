"""What can be said of a list of URLs before anything is fetched: who controls it, what is odd about it, what is bound.

After Carlini et al., "Poisoning Web-Scale Training Datasets is Practical" (2023). Offline, in bounded memory: a pass over the
list, 64-bit numbers in a temporary folder (48 bytes a row), and a second pass for the texts of the rows that are named.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bezoar.acquire.lists.batches import batches
from bezoar.acquire.lists.concentration import Concentration, concentration
from bezoar.acquire.lists.domains import SuffixList
from bezoar.acquire.lists.hashes import HashFault
from bezoar.acquire.lists.prices import Offer
from bezoar.acquire.lists.purchase import Purchase, purchase
from bezoar.acquire.lists.reading import UrlList
from bezoar.acquire.lists.reckoning import Reckoning
from bezoar.acquire.lists.repeats import Repeats, Shared, repeats, shared
from bezoar.acquire.lists.sites import Oddity
from bezoar.progress import track

DOMAINS_LISTED = 25


@dataclass(frozen=True, slots=True)
class Listed:
    """A row that is named: its number (0-based), its URL as written, and why."""

    row: int
    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """All `rows` with one oddity, the first few `listed`."""

    oddity: Oddity
    rows: int
    listed: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class Hashes:
    """The digests of a list: `column` None when it has none; `malformed` by kind."""

    column: str | None
    kind: str
    well_formed: int
    missing: int
    malformed: Mapping[HashFault, int]


@dataclass(frozen=True, slots=True)
class IndexAnalysis:
    """What was found.

    Attributes:
        path, rows: of the list.
        suffixes: the Public Suffix List by which domains were told apart.
        https, http: rows that will be fetched so.
        private: rows on hosts under a private suffix (blogspot.com), each of whose customers controls a part.
        punycode: rows on hosts with an international name.
        findings: odd rows, by oddity; only those that occur.
        purchase: None without a table: then nothing is known about it.

    """

    path: str
    rows: int
    suffixes: SuffixList
    https: int
    http: int
    private: int
    punycode: int
    concentration: Concentration
    hashes: Hashes
    repeats: Repeats
    shared: Shared
    findings: tuple[Finding, ...]
    purchase: Purchase | None

    @property
    def suspicious(self) -> bool:
        """Whether a row is odd, or lies on a domain that the table of prices says has lapsed or is for sale."""
        return bool(self.findings) or (self.purchase is not None and self.purchase.exposed > 0)


def analyze(
    source: UrlList,
    suffixes: SuffixList,
    *,
    offers: Mapping[str, Offer] | None = None,
    day: date,
    listed: int = 20,
) -> IndexAnalysis:
    """Analyse a list. `offers` is a table of prices, looked at as of `day`; `listed` rows of each oddity are named.

    InputError when the list is corrupt; OSError when the temporary folder (TMPDIR) is full.
    """
    with tempfile.TemporaryDirectory(prefix="bezoar-index-") as folder:
        reckoning = Reckoning(suffixes, source.columns.hash_kind, Path(folder), listed)
        with track("rows") as bar:
            for batch in batches(source):
                reckoning.add(batch)
                bar.advance(batch.num_rows)
        spread = concentration(reckoning.domains.parts(), DOMAINS_LISTED)
        again = repeats(reckoning.by_url, listed)
        alike = shared(reckoning.by_digest, listed)
        bought = None
        if offers is not None:
            bought = purchase(reckoning.domains.parts(), offers, day, DOMAINS_LISTED)
    return IndexAnalysis(
        path=str(source.path),
        rows=reckoning.rows,
        suffixes=suffixes,
        https=reckoning.https,
        http=spread.rows - reckoning.https,
        private=reckoning.private,
        punycode=reckoning.punycode,
        concentration=spread,
        hashes=Hashes(
            source.columns.hash,
            source.columns.hash_kind,
            reckoning.well_formed,
            reckoning.missing,
            reckoning.malformed,
        ),
        repeats=again,
        shared=alike,
        findings=_findings(source, reckoning, again, alike),
        purchase=bought,
    )


def _findings(source: UrlList, reckoning: Reckoning, again: Repeats, alike: Shared) -> tuple[Finding, ...]:
    counts: Counter[Oddity] = reckoning.odd_rows
    counts[Oddity.TWO_HASHES] = again.contradicting
    counts[Oddity.SHARED_HASH] = alike.rows
    named = reckoning.named
    texts = _texts(source, {row for _, row in again.examples} | {row for row, _, _ in alike.examples})
    named[Oddity.TWO_HASHES] = [
        (other, texts[other], f"row {one} gives another digest for the same URL")
        for one, other in again.examples
    ]
    named[Oddity.SHARED_HASH] = [
        (row, texts[row], f"the same digest stands for {domains:,} domains in {rows:,} rows")
        for row, domains, rows in alike.examples
    ]
    return tuple(
        Finding(oddity, counts[oddity], tuple(Listed(*each) for each in named[oddity]))
        for oddity in Oddity
        if counts[oddity]
    )


def _texts(source: UrlList, rows: set[int]) -> dict[int, str]:
    """The URLs of these rows."""
    found: dict[int, str] = {}
    start = 0
    for batch in batches(source) if rows else ():
        inside = [row for row in rows if start <= row < start + batch.num_rows]
        found |= {row: batch.column("url")[row - start].as_py() or "" for row in inside}
        start += batch.num_rows
        if len(found) == len(rows):
            break
    return found
