"""The analysis of a list of URLs as JSON, version 1: all figures, and the rows that are named."""

from __future__ import annotations

from typing import Any

from bezoar.acquire.lists.analysis import IndexAnalysis
from bezoar.acquire.lists.purchase import Holding, Purchase

Json = dict[str, Any]


def index_to_json(analysis: IndexAnalysis) -> Json:
    """Plain values; texts of the list are as written, so that whoever shows them must escape them."""
    spread, again, found = analysis.concentration, analysis.repeats, analysis.hashes
    return {
        "version": 1,
        "path": analysis.path,
        "rows": analysis.rows,
        "suspicious": analysis.suspicious,
        "suffix_list": {
            "version": analysis.suffixes.version,
            "sha256": analysis.suffixes.sha256,
            "suffixes": str(analysis.suffixes.suffixes),
        },
        "concentration": {
            "rows_with_host": spread.rows,
            "domains": spread.domains,
            "herfindahl": spread.herfindahl,
            "control": [{"share": ppm / 1e6, "domains": domains} for ppm, domains in spread.control],
            "largest": [
                {"domains": n, "rows": rows, "share": rows / spread.rows} for n, rows in spread.largest
            ],
            "top": [{"domain": each.domain, "rows": each.rows, "https": each.https} for each in spread.top],
        },
        "transport": {"https": analysis.https, "http": analysis.http},
        "hosts": {"private_suffix": analysis.private, "punycode": analysis.punycode},
        "hashes": {
            "column": found.column,
            "kind": found.kind,
            "well_formed": found.well_formed,
            "missing": found.missing,
            "malformed": {str(kind): rows for kind, rows in found.malformed.items()},
        },
        "repeats": {
            "urls": again.urls,
            "further_rows": again.rows,
            "urls_with_two_hashes": again.contradicted,
            "hashes_on_many_domains": analysis.shared.digests,
        },
        "findings": [
            {
                "kind": str(finding.oddity),
                "rows": finding.rows,
                "listed": [
                    {"row": each.row, "url": each.url, "reason": each.reason} for each in finding.listed
                ],
            }
            for finding in analysis.findings
        ],
        "purchase": "unknown" if analysis.purchase is None else _purchase(analysis.purchase),
    }


def _purchase(found: Purchase) -> Json:
    return {
        "day": found.day.isoformat(),
        "domains_in_table": found.listed,
        "states": [
            {
                "state": str(group.state),
                "domains": group.domains,
                "rows": group.rows,
                "largest": [_holding(each) for each in group.largest],
            }
            for group in found.groups
        ],
        "cheapest": [
            {
                "share": way.parts_per_million / 1e6,
                "rows_needed": way.needed,
                "price": "unknown" if way.price is None else way.price / 100,
                "not_below": None if way.price is None else way.floor / 100,
                "rows": way.rows,
                "domains": [_holding(each) for each in way.domains],
            }
            for way in found.ways
        ],
    }


def _holding(each: Holding) -> Json:
    offer = each.offer
    return {
        "domain": each.domain,
        "rows": each.rows,
        "expires": offer.expires.isoformat() if offer.expires else None,
        "price": offer.price / 100 if offer.price is not None else None,
    }
