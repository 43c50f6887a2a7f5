"""Which source supplies more of the suspects than chance: a site, a contributor, a shard.

Poison is often one contributor's. Where the dataset says where its records come from, the suspects that the views found are
counted per source and tested exactly (`functional.enrichment`), Holm over all sources. The records themselves are in
the views' findings already, so this is never more than a reason to look at a source.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bezoar.data import Dataset
from bezoar.errors import UsageError
from bezoar.scan.functional.combination import holm
from bezoar.scan.functional.enrichment import Enrichment, enrichment
from bezoar.scan.result import Finding, Severity

KIND = "suspect-source"
USUAL_SOURCES = (
    "source",
    "source_url",
    "url",
    "image_url",
    "domain",
    "host",
    "website",
    "contributor",
    "uploader",
    "shard",
)
_LEVEL = 0.01  # family-wise over all sources and both kinds of suspects
_LEAST_SUSPECTS = 5  # in the whole dataset: with fewer, every source holds a large share of them
_LEAST_OF_SOURCE = 3
_LEAST_ODDS = 2.0  # in large datasets differences that mean nothing are significant too
_MOST = 20  # findings
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_WORDS = {Severity.POISON: "planted records", Severity.REVIEW: "records up for review"}


@dataclass(frozen=True, slots=True)
class Sources:
    """The S sources of a dataset's N records: `names`, and `codes` int64 (N,) into them, -1 where unknown."""

    names: tuple[str, ...]
    codes: NDArray[np.int64]


def source_findings(dataset: Dataset, findings: Sequence[Finding], column: str | None) -> list[Finding]:
    """A finding for every source that supplies far more of the suspects in `findings` than chance.

    `column` names the column of the sources; None takes the first of `USUAL_SOURCES` that there is. URLs count by their
    host. UsageError when the column does not exist or does not hold text or whole numbers.
    """
    sources = read_sources(dataset, column)
    if sources is None or len(sources.names) < 2:
        return []
    labels = dataset.labels.astype(np.int64)
    tested = []
    for severity in (Severity.POISON, Severity.REVIEW):
        suspect = _suspects(findings, severity, len(dataset))
        if suspect.sum() >= _LEAST_SUSPECTS:
            tested.append((severity, suspect, enrichment(sources.codes, labels, suspect, len(sources.names))))
    if not tested:
        return []
    # which sources are large enough to be reported is settled before anything is counted
    large = np.flatnonzero(tested[0][2].records >= _LEAST_OF_SOURCE)
    corrected = holm(np.concatenate([result.p_values[large] for _, _, result in tested]))
    found = []
    for (severity, suspect, result), p_values in zip(tested, np.split(corrected, len(tested)), strict=True):
        for source, p_value in zip(large.tolist(), p_values.tolist(), strict=True):
            if p_value <= _LEVEL and _stands_out(result, source, int(suspect.sum())):
                records = np.flatnonzero(suspect & (sources.codes == source))
                found.append(
                    _finding(severity, sources.names[source], result, source, p_value, records, suspect)
                )
    return sorted(found, key=lambda finding: finding.p_value or 0.0)[:_MOST]


def read_sources(dataset: Dataset, column: str | None) -> Sources | None:
    """The sources of a dataset's records; None when no column is named and none has a usual name."""
    usual = {name.lower(): name for name in reversed(dataset.columns.column_names)}
    if column is None:
        column = next((usual[name] for name in USUAL_SOURCES if name in usual), None)
        if column is None or not _is_nameable(dataset.columns[column].type):
            return None
    elif column not in dataset.columns.column_names:
        dataset.column(column)  # says which columns there are
    elif not _is_nameable(dataset.columns[column].type):
        kind = dataset.columns[column].type
        raise UsageError(
            f"{dataset.path}: column {column!r} holds {kind}; a source is text or a whole number"
        )
    values = pc.dictionary_encode(dataset.columns[column].cast(pa.string())).combine_chunks()
    names = [source_name(value) for value in values.dictionary.to_pylist()]
    unique = {name: place for place, name in enumerate(dict.fromkeys(name for name in names if name))}
    place_of = np.array([unique.get(name, -1) for name in names] + [-1], dtype=np.int64)
    codes = values.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return Sources(tuple(unique), place_of[codes])


def source_name(value: str) -> str:
    """A URL's host without `www.`, in lower case; anything else as it is."""
    value = value.strip()
    if not _URL.match(value):
        return value
    try:
        host = urlsplit(value).hostname
    except ValueError:
        return value
    return (host or value).removeprefix("www.").rstrip(".")


def _is_nameable(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _suspects(findings: Sequence[Finding], severity: Severity, n: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=bool)
    for finding in findings:
        if finding.severity is severity and finding.kind != KIND:
            mask[finding.records] = True
    return mask


def _stands_out(result: Enrichment, source: int, total: int) -> bool:
    """Enough suspects, and odds of at least `_LEAST_ODDS` times those by chance."""
    count, expected = float(result.suspects[source]), float(result.expected[source])
    odds, chance = count * (total - expected), expected * (total - count)
    return count >= _LEAST_OF_SOURCE and odds >= _LEAST_ODDS * chance


def _finding(
    severity: Severity,
    name: str,
    result: Enrichment,
    source: int,
    p_value: float,
    records: NDArray[np.int64],
    suspect: NDArray[np.bool_],
) -> Finding:
    count, size, total = len(records), int(result.records[source]), int(suspect.sum())
    expected, words = float(result.expected[source]), _WORDS[severity]
    percent = float(f"{100 * size / len(suspect):.2g}")
    of_source = f"{count / size:.0%}" if count < size else "all"
    return Finding(
        kind=KIND,
        severity=Severity.REVIEW,
        title=f"{count:,} of {total:,} {words} came from {name!r} ({percent:g} % of the data)",
        explanation=(
            f"{name!r} supplied {size:,} of the {len(suspect):,} records, and {of_source} of these are among the {words} of "
            f"other findings; given their labels, chance explains about {expected:.1f}. Look at how this source's records were "
            "collected, the inconspicuous ones too. Records of one source are often alike, so a single honest mistake can "
            "repeat in many of them."
        ),
        records=records,
        p_value=p_value,
        details={
            "source": name,
            "among": words,
            "suspects": count,
            "records": size,
            "share_of_source": count / size,
            "share_of_suspects": count / total,
            "expected": expected,
            "lift": count / expected,
            "p_value": p_value,
        },
    )
