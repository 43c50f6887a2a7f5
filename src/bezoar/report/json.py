"""A scan as JSON (`schema/scan-1.json`, JSON Schema draft 2020-12), for machines and for `read_scan`.

Pictures are not in it. A finding lists at most 10,000 of its records, most suspicious first; the complete
assignment of records to findings is in `scores.parquet`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.errors import InputError
from bezoar.files import plain
from bezoar.scan.result import Depth, Finding, ScanResult, Sensitivity, Severity, Status, Unreadable, Verdict

SCHEMA = "bezoar-scan-1"
MAX_LISTED = 10_000

Json = dict[str, Any]


def to_json(result: ScanResult) -> Json:
    """The scan as JSON types only; NaN and infinities become null."""
    keys = result.scores["key"]
    document = {
        "schema": SCHEMA,
        "version": result.version,
        "dataset": {
            "path": result.path,
            "format": result.format,
            "digest": result.digest,
            "records": result.n_records,
            "labels": [
                {"name": name, "records": number}
                for name, number in zip(result.label_names, result.label_counts, strict=True)
            ],
        },
        "settings": {
            "depth": str(result.depth),
            "views": result.views,
            "trusted": result.trusted,
            "encoder": result.encoder,
            "seed": result.seed,
            "alpha": result.verdict.alpha,
        },
        "verdict": {
            "status": str(result.verdict.status),
            "summary": result.verdict.summary,
            "sensitivity": [
                {"poison": row.poison, "smallest_rate": row.smallest_rate, "how": row.how}
                for row in result.verdict.sensitivity
            ],
        },
        "flagged": int(result.flagged.sum()),
        "findings": [_finding(n, finding, keys) for n, finding in enumerate(result.findings)],
        "unreadable": {
            "count": len(result.unreadable),
            "listed": [
                {"index": row.index, "key": keys[row.index].as_py(), "reason": row.reason}
                for row in result.unreadable[:MAX_LISTED]
            ],
        },
        "scores": {"file": "scores.parquet", "columns": list(result.scores.column_names)},
        "seconds": result.seconds,
    }
    checked: Json = plain(document)
    return checked


def from_json(document: Any, scores: pa.Table) -> ScanResult:
    """The scan that `to_json` described, without its pictures; InputError when the document is malformed.

    `scores` needs the columns `finding` and `flagged`; they complete the findings whose list was cut.
    """
    try:
        return _result(document, scores)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"not a scan result ({SCHEMA}): {error!r:.200}") from error


def _finding(number: int, finding: Finding, keys: pa.ChunkedArray) -> Json:
    listed = finding.records[:MAX_LISTED]
    return {
        "number": number,
        "kind": finding.kind,
        "severity": str(finding.severity),
        "title": finding.title,
        "explanation": finding.explanation,
        "p_value": finding.p_value,
        "target": finding.target,
        "origins": list(finding.origins),
        "records": {
            "count": len(finding.records),
            "indices": listed,
            "keys": keys.take(pa.array(listed, pa.int64())).to_pylist(),
        },
        "details": finding.details,
    }


def _result(document: Any, scores: pa.Table) -> ScanResult:
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {document['schema']!r:.60}")
    dataset, settings, verdict = document["dataset"], document["settings"], document["verdict"]
    labels = _list(dataset["labels"])
    n_records = _natural(dataset["records"])
    finding_of = np.asarray(scores["finding"].to_numpy(), dtype=np.int64)
    return ScanResult(
        path=_text(dataset["path"]),
        format=_text(dataset["format"]),
        digest=_text(dataset["digest"]),
        n_records=n_records,
        label_names=tuple(_text(row["name"]) for row in labels),
        label_counts=tuple(_natural(row["records"]) for row in labels),
        encoder=_text(settings["encoder"]),
        seed=int(settings["seed"]),
        version=_text(document["version"]),
        verdict=Verdict(
            Status(verdict["status"]),
            float(settings["alpha"]),
            _text(verdict["summary"]),
            tuple(
                Sensitivity(_text(row["poison"]), _number(row["smallest_rate"]), _text(row["how"]))
                for row in _list(verdict["sensitivity"])
            ),
        ),
        findings=tuple(
            _read_finding(row, np.flatnonzero(finding_of == n), len(labels), n_records)
            for n, row in enumerate(_list(document["findings"]))
        ),
        unreadable=tuple(
            Unreadable(_natural(row["index"], n_records), _text(row["reason"]))
            for row in _list(document["unreadable"]["listed"])
        ),
        scores=scores,
        seconds={
            _text(name): float(value) for name, value in document["seconds"].items() if value is not None
        },
        depth=Depth(settings["depth"]),
        views=tuple(_text(name) for name in _list(settings["views"])),
        trusted=None if settings["trusted"] is None else _text(settings["trusted"]),
    )


def _read_finding(row: Any, assigned: NDArray[np.int64], n_labels: int, n_records: int) -> Finding:
    listed = [_natural(index, n_records) for index in _list(row["records"]["indices"])]
    first = np.array(listed, dtype=np.int64)
    target = row["target"]
    return Finding(
        kind=_text(row["kind"]),
        severity=Severity(row["severity"]),
        title=_text(row["title"]),
        explanation=_text(row["explanation"]),
        records=np.concatenate([first, np.setdiff1d(assigned, first)]),
        p_value=_number(row["p_value"]),
        target=None if target is None else _natural(target, n_labels),
        origins=tuple(_natural(label, n_labels) for label in _list(row["origins"])),
        details=dict(row["details"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is not a text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r:.60} is not a list")
    return value


def _natural(value: Any, below: int = 2**62) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise ValueError(f"{value!r:.60} is not a whole number in [0, {below})")
    return value


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
