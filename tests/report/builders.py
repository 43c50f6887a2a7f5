"""Hand-made scan results: the report is tested against the contract, not against today's detectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bezoar.scan.result import (
    Depth,
    Example,
    Finding,
    Picture,
    ScanResult,
    Sensitivity,
    Severity,
    Status,
    Unreadable,
    Verdict,
)

LABELS = ("Stop", "Speed limit (60km/h)", "Yield")


def noise(seed: int = 0, height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def picture(caption: str = "record", seed: int = 0, side: int = 32) -> Picture:
    return Picture(noise(seed, side, side), caption, mark=(2, 3, 5, 6))


def trigger_finding(records: NDArray[np.int64], **changes: object) -> Finding:
    values: dict[str, object] = {
        "kind": "repeated-pattern",
        "severity": Severity.POISON,
        "title": "A 3x3 pattern repeats at one place",
        "explanation": "Records that share nothing else carry the same pixels.",
        "records": records,
        "p_value": 2.1e-9,
        "target": 1,
        "origins": (0,),
        "pictures": (Picture(noise(1, 3, 3), "recovered trigger"),),
        "examples": (Example(picture("a.png"), (picture("b.png", 2),), (picture("c.png", 3),)),),
        "details": {"place": [2, 3], "patch": 3},
    }
    return Finding(**{**values, **changes})  # type: ignore[arg-type]


def source_finding(records: NDArray[np.int64], name: str = "evil.example") -> Finding:
    facts = {"source": name, "among": "planted records", "records": 12, "expected": 0.25}
    return trigger_finding(
        records,
        kind="suspect-source",
        severity=Severity.REVIEW,
        title=f"{len(records)} of 10 planted records came from {name!r} (2 % of the data)",
        target=None,
        origins=(),
        pictures=(),
        examples=(),
        details=facts,
    )


def text_finding(records: NDArray[np.int64], texts: Sequence[str], mark: object = None) -> Finding:
    rows = [
        {"key": f"texts#{n:06d}", "label": "positive", "text": text, "mark": mark}
        for n, text in enumerate(texts)
    ]
    return trigger_finding(
        records,
        kind="repeated-ngram",
        title="Texts labelled 'positive' share 'cf mn'",
        pictures=(),
        examples=(),
        details={"ngram": "cf mn", "examples": rows},
    )


def scan_result(
    findings: tuple[Finding, ...] = (),
    *,
    n: int = 60,
    status: Status | None = None,
    labels: tuple[str, ...] = LABELS,
    keys: list[str] | None = None,
    unreadable: tuple[Unreadable, ...] = (),
    path: str = "/data/signs.parquet",
    digest: str = "ab" * 32,
    summary: str = "A pattern repeats in records of one class.",
) -> ScanResult:
    finding_of = np.full(n, -1, np.int32)
    for number, finding in reversed(list(enumerate(findings))):
        finding_of[finding.records] = number
    poison = [n for n, row in enumerate(findings) if row.severity is Severity.POISON]
    labels_of = np.arange(n) % len(labels)
    scores = pa.table(
        {
            "key": keys or [f"row-{row:05d}.png" for row in range(n)],
            "label": [labels[label] for label in labels_of],
            "readable": np.ones(n, bool),
            "repeated_pattern": np.linspace(0, 1, n, dtype=np.float32),
            "finding": finding_of,
            "flagged": np.isin(finding_of, poison),
        }
    )
    return ScanResult(
        path=path,
        format="parquet",
        digest=digest,
        n_records=n,
        label_names=labels,
        label_counts=tuple(np.bincount(labels_of, minlength=len(labels)).tolist()),
        encoder="default",
        seed=0,
        version="0.1.0",
        verdict=Verdict(
            status or (Status.POISONED if poison else Status.CLEAN),
            0.01,
            summary,
            (
                Sensitivity("3x3 patch at one place", 0.001, "planted in a copy and found"),
                Sensitivity("feature collision", None, "planted in a copy, up to 1 %"),
            ),
        ),
        findings=findings,
        unreadable=unreadable,
        scores=scores,
        seconds={"decode": 1.5, "repeated pattern": 12.0},
        depth=Depth.DEEP,
        views=("patterns", "neighbours"),
        trusted="/data/clean",
    )
