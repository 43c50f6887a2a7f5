"""The analysis of a list of URLs for the terminal; whatever comes from the list is made visible first."""

from __future__ import annotations

from collections.abc import Iterator

from bezoar.acquire.lists.analysis import IndexAnalysis
from bezoar.acquire.lists.purchase import Purchase, State
from bezoar.report import index_words as words
from bezoar.report.text import count, shown

_DOMAINS = 10
_ROWS = 5  # of each oddity


def index_to_terminal(analysis: IndexAnalysis) -> str:
    """The lines, without a final line end."""
    return "\n".join(_lines(analysis))


def _lines(analysis: IndexAnalysis) -> Iterator[str]:
    spread = analysis.concentration
    yield f"{shown(analysis.path, 1000)}: {count(analysis.rows, 'row')}, {count(spread.domains, 'domain')}"
    yield f"  {words.basis(analysis)}"
    yield ""
    yield "Who controls it"
    for ppm, domains in spread.control:
        yield f"  {words.ppm(ppm):>6} of the rows: {count(domains, 'domain')}"
    largest = ", ".join(f"{count(n)}: {words.share(rows, spread.rows)}" for n, rows in spread.largest)
    yield f"  on the largest domains, {largest}" if largest else "  nobody: no row has a host"
    yield f"  Herfindahl index {words.equal_domains(analysis)}"
    if text := words.private(analysis):
        yield f"  {text}"
    for each in spread.top[:_DOMAINS]:
        yield f"  {count(each.rows):>14}  {words.share(each.rows, spread.rows):>9}  {shown(each.domain, 80)}"
    yield ""
    yield "How it is fetched"
    yield f"  http without TLS: {count(analysis.http, 'row')} ({words.share(analysis.http, spread.rows)})"
    yield f"  international host names: {count(analysis.punycode, 'row')}"
    yield ""
    yield "What is bound"
    yield from (f"  {line}" for line in words.hashes(analysis))
    yield from (f"  {count(rows):>14}  {kind}" for kind, rows in analysis.hashes.malformed.items())
    yield f"  {words.repeats(analysis)}"
    yield ""
    yield "What could be bought"
    yield from _purchase(analysis.purchase)
    yield ""
    yield from _findings(analysis)


def _purchase(found: Purchase | None) -> Iterator[str]:
    if found is None:
        yield f"  {words.UNKNOWN_PURCHASE}"
        return
    yield f"  as of {found.day}, by a table of {count(found.listed, 'domain')}"
    total = sum(group.rows for group in found.groups)
    for group in found.groups:
        yield (
            f"  {words.STATES[group.state]:<22} {count(group.domains, 'domain'):>16}  {count(group.rows, 'row'):>18}"
            f"  {words.share(group.rows, total):>9}"
        )
        if group.state in (State.FOR_SALE, State.LAPSED, State.LAPSING):
            for each in group.largest[:_ROWS]:
                yield f"      {shown(each.domain, 80)} ({count(each.rows, 'row')}{words.offer(each.offer)})"
    for way in found.ways:
        yield f"  cheapest way to {words.way(way)}"


def _findings(analysis: IndexAnalysis) -> Iterator[str]:
    if not analysis.findings:
        yield "No odd rows"
        return
    yield "Odd rows (the first row of the list is 0)"
    for finding in analysis.findings:
        yield f"  {words.TITLES[finding.oddity]}: {count(finding.rows, 'row')}"
        for each in finding.listed[:_ROWS]:
            yield f"    row {each.row}  {shown(each.url, 80)}  ({shown(each.reason, 120)})"
        if finding.rows > len(finding.listed[:_ROWS]):
            yield "    ..."
