"""How few domains a list depends on: shares, the Herfindahl index, and how many domains control which part of the rows.

Counted in bounded memory: names are held up to a number, then written to files by their hash, and added up file by file.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_HELD = 1 << 18  # names in memory
_PARTS = 64
_POINTS = 240  # of the curve

PARTS_PER_MILLION = (100, 1_000, 10_000)  # 0.01 %, 0.1 %, 1 %
LARGEST = (1, 10, 100, 1_000, 10_000)


@dataclass(frozen=True, slots=True)
class DomainRows:
    """The rows of one domain, and how many of these are https."""

    domain: str
    rows: int
    https: int


@dataclass(frozen=True, slots=True)
class Concentration:
    """How the rows with a host are spread over domains.

    Attributes:
        rows: with a host; shares are of these.
        domains: registrable ones, and addresses and bare names where there is none.
        herfindahl: sum of the squared shares, in (0, 1]; 1 / herfindahl is the number of equal domains of the same concentration.
        control: for each share in parts per million, the smallest number of domains that hold it.
        largest: for n = 1, 10, 100, ... the rows on the n largest domains; n is at most `domains`.
        top: the largest domains, in order.
        curve: (domains, rows on so many of the largest), both growing; for a plot.

    """

    rows: int
    domains: int
    herfindahl: float
    control: tuple[tuple[int, int], ...]
    largest: tuple[tuple[int, int], ...]
    top: tuple[DomainRows, ...]
    curve: tuple[tuple[int, int], ...]


class DomainCounter:
    """Counts rows by domain."""

    def __init__(self, folder: Path) -> None:
        self._files = [folder / f"domains-{number:02}" for number in range(_PARTS)]
        self._rows: Counter[str] = Counter()
        self._https: Counter[str] = Counter()

    def add(self, domain: str, rows: int, https: int) -> None:
        """Some rows of a domain, so many of them https. A name holds no white space: it is one that `check_url` lets pass."""
        self._rows[domain] += rows
        if https:
            self._https[domain] += https
        if len(self._rows) >= _HELD:
            self._spill()

    def parts(self) -> Iterator[list[DomainRows]]:
        """All domains, each once."""
        if not any(file.exists() for file in self._files):
            yield [DomainRows(name, rows, self._https[name]) for name, rows in self._rows.items()]
            return
        self._spill()
        for file in self._files:
            if file.exists():
                yield _added_up(file)

    def rows_of(self, domains: Collection[str]) -> dict[str, int]:
        """The rows of these domains, where they have any."""
        return {each.domain: each.rows for part in self.parts() for each in part if each.domain in domains}

    def _spill(self) -> None:
        lines: list[list[str]] = [[] for _ in self._files]
        for name, rows in self._rows.items():
            lines[hash(name) % _PARTS].append(f"{name} {rows} {self._https[name]}\n")
        for file, some in zip(self._files, lines, strict=True):
            with file.open("a", encoding="ascii") as stream:
                stream.writelines(some)
        self._rows.clear()
        self._https.clear()


def concentration(parts: Iterable[list[DomainRows]], listed: int) -> Concentration:
    """From all domains, each once; `listed` of the largest are named."""
    sizes: Counter[int] = Counter()  # rows of a domain -> domains with so many
    top: list[DomainRows] = []
    for part in parts:
        sizes.update(each.rows for each in part)
        top = heapq.nsmallest(listed, [*top, *part], key=lambda each: (-each.rows, each.domain))
    steps = sorted(sizes.items(), reverse=True)
    rows = sum(size * number for size, number in steps)
    domains = sizes.total()
    return Concentration(
        rows=rows,
        domains=domains,
        herfindahl=sum(number * (size / rows) ** 2 for size, number in steps),
        control=tuple((ppm, _domains_for(steps, needed(rows, ppm))) for ppm in PARTS_PER_MILLION)
        if rows
        else (),
        largest=tuple((n, _rows_on(steps, n)) for n in LARGEST if n <= domains),
        top=tuple(top),
        curve=tuple((n, _rows_on(steps, n)) for n in _points(domains)),
    )


def needed(rows: int, parts_per_million: int) -> int:
    """The least number of rows that is such a share of all."""
    return -(-rows * parts_per_million // 1_000_000)


def _added_up(file: Path) -> list[DomainRows]:
    rows: Counter[str] = Counter()
    https: Counter[str] = Counter()
    with file.open(encoding="ascii") as stream:
        for line in stream:
            name, count, secure = line.split(" ")
            rows[name] += int(count)
            https[name] += int(secure)
    return [DomainRows(name, count, https[name]) for name, count in rows.items()]


def _domains_for(steps: list[tuple[int, int]], rows: int) -> int:
    """The smallest number of domains with at least so many rows."""
    found = 0
    for size, number in steps:
        if rows <= size * number:
            return found + -(-rows // size)
        rows -= size * number
        found += number
    return found


def _rows_on(steps: list[tuple[int, int]], domains: int) -> int:
    """The rows on so many of the largest domains."""
    rows = 0
    for size, number in steps:
        taken = min(number, domains)
        rows += size * taken
        domains -= taken
        if not domains:
            break
    return rows


def _points(domains: int) -> list[int]:
    """Numbers from 1 to `domains`, evenly spread on a scale of magnitudes."""
    if not domains:
        return []
    return sorted({round(domains ** (step / _POINTS)) for step in range(_POINTS + 1)})
