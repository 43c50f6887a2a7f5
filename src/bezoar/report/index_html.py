"""The analysis of a list of URLs as one HTML page with plots: no script, no request, everything escaped.

What comes from the list is made visible (`text.shown`) and then escaped by Jinja2's autoescape; a Content-Security-Policy
forbids scripts and requests besides. The plots are inline SVG, and every figure in them is in a table or a sentence, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bezoar.acquire.lists.analysis import IndexAnalysis
from bezoar.acquire.lists.concentration import Concentration
from bezoar.acquire.lists.purchase import Purchase, State
from bezoar.report import index_words as words
from bezoar.report.templating import environment
from bezoar.report.text import count, shown

_WIDTH, _HEIGHT = 620, 240  # of the curve, in its own units
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BOUGHT = (State.FOR_SALE, State.LAPSED, State.LAPSING)  # whose domains are named
_DOMAINS = 10  # named of each


@dataclass(frozen=True, slots=True)
class _Curve:
    """Share of the rows (upwards) on the largest n domains (to the right, logarithmic)."""

    width: int
    height: int
    points: str
    area: str
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class _Domain:
    name: str
    rows: int
    share: str
    width: float  # of its bar, percent of the largest
    https: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    domains: str
    rows: str
    share: str
    largest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Odd:
    title: str
    rows: int
    listed: tuple[tuple[int, str, str], ...]
    more: int


def index_to_html(analysis: IndexAnalysis) -> str:
    """The analysis as a page."""
    spread = analysis.concentration
    return (
        environment()
        .get_template("index.html.j2")
        .render(
            path=shown(analysis.path, 300),
            rows=analysis.rows,
            spread=spread,
            suspicious=analysis.suspicious,
            basis=words.basis(analysis),
            control=[(words.ppm(ppm), count(domains, "domain")) for ppm, domains in spread.control],
            largest=[(count(n), words.share(rows, spread.rows)) for n, rows in spread.largest],
            equal=words.equal_domains(analysis),
            private=words.private(analysis),
            curve=_curve(spread),
            top=_top(spread),
            http=f"{count(analysis.http, 'row')} ({words.share(analysis.http, spread.rows)})",
            punycode=count(analysis.punycode, "row"),
            hashes=words.hashes(analysis),
            malformed=[(str(kind), count(rows, "row")) for kind, rows in analysis.hashes.malformed.items()],
            repeats=words.repeats(analysis),
            purchase=analysis.purchase,
            groups=() if analysis.purchase is None else _groups(analysis.purchase),
            ways=() if analysis.purchase is None else [words.way(way) for way in analysis.purchase.ways],
            unknown=words.UNKNOWN_PURCHASE,
            findings=[
                _Odd(
                    words.TITLES[finding.oddity],
                    finding.rows,
                    tuple(
                        (each.row, shown(each.url, 160), shown(each.reason, 160)) for each in finding.listed
                    ),
                    finding.rows - len(finding.listed),
                )
                for finding in analysis.findings
            ],
        )
    )


def _curve(spread: Concentration) -> _Curve | None:
    """None where there is nothing to draw: fewer than two domains."""
    if spread.domains < 2:
        return None
    decades = math.log10(spread.domains)
    places = [
        (_WIDTH * math.log10(domains) / decades, _HEIGHT * (1 - rows / spread.rows))
        for domains, rows in spread.curve
        if domains >= 1
    ]
    points = _points(places)
    corners = [(places[-1][0], float(_HEIGHT)), (places[0][0], float(_HEIGHT))]
    across = [(_WIDTH * power / decades, f"{10**power:,}") for power in range(int(decades) + 1)]
    return _Curve(
        _WIDTH,
        _HEIGHT,
        points,
        f"{points} {_points(corners)}",
        tuple((round(x, 1), label) for x, label in across),
        tuple((round(_HEIGHT * (1 - tick), 1), f"{tick:.0%}") for tick in _TICKS),
    )


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _top(spread: Concentration) -> list[_Domain]:
    most = spread.top[0].rows if spread.top else 1
    return [
        _Domain(
            shown(each.domain, 80),
            each.rows,
            words.share(each.rows, spread.rows),
            round(100 * each.rows / most, 2),
            words.share(each.https, each.rows),
        )
        for each in spread.top
    ]


def _groups(found: Purchase) -> list[_Group]:
    total = sum(group.rows for group in found.groups)
    return [
        _Group(
            words.STATES[group.state],
            count(group.domains, "domain"),
            count(group.rows, "row"),
            words.share(group.rows, total),
            tuple(
                f"{shown(each.domain, 80)} ({count(each.rows, 'row')}{words.offer(each.offer)})"
                for each in group.largest[:_DOMAINS]
            )
            if group.state in _BOUGHT
            else (),
        )
        for group in found.groups
    ]
