"""The report for a person: one self-contained HTML file, no script, no request, under 10 MB for any dataset.

Everything that comes from the dataset is escaped twice over: invisible characters become visible
(`text.shown`), then Jinja2's autoescape makes markup inert; a Content-Security-Policy forbids scripts and
requests besides.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bezoar.report import text
from bezoar.report.excerpts import Excerpt, excerpts
from bezoar.report.pictures import Album, Thumbnail
from bezoar.report.templating import environment
from bezoar.report.text import shown
from bezoar.scan.result import Example, Finding, Picture, ScanResult, Severity, Status

PICTURE_BUDGET = 6 << 20  # bytes of data URIs; the rest of 10 MB holds more text than the caps below allow
MAX_FINDINGS = 40  # cards of one severity
MAX_EXAMPLES = 12  # of one finding
MAX_EXCERPTS = 6
FIRST_EXAMPLES = 4  # shown before one has to unfold the rest
MAX_NEIGHBOURS = 4
MAX_KEYS = 60
MAX_CLASSES = 100
MAX_UNREADABLE = 100

_HEADLINE = {
    Status.POISONED: "Poisoned",
    Status.CLEAN: "Clean",
    Status.UNDECIDED: "Undecided",
}
_SEVERITY = {
    Severity.POISON: "Planted",
    Severity.REVIEW: "Review",
    Severity.NATURAL: "Natural",
}
_NOT_SCORES = frozenset({"key", "label", "readable", "finding", "flagged"})


@dataclass(frozen=True, slots=True)
class _ExampleView:
    record: Thumbnail
    same: tuple[Thumbnail, ...]
    other: tuple[Thumbnail, ...]


@dataclass(frozen=True, slots=True)
class _Card:
    """One finding as the template shows it."""

    number: int
    severity: str
    word: str
    title: str
    explanation: str
    count: str
    share: str
    p_value: str
    origins: tuple[str, ...]
    more_origins: int
    target: str | None
    evidence: tuple[Thumbnail, ...]
    examples: tuple[_ExampleView, ...]
    excerpts: tuple[Excerpt, ...]
    keys: tuple[str, ...]
    more_keys: int
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _SourceRow:
    name: str
    among: str
    suspects: int
    records: int
    expected: float
    p_value: str


@dataclass(frozen=True, slots=True)
class _ClassRow:
    name: str
    records: int
    flagged: int
    review: int
    flagged_percent: float
    review_percent: float


def to_html(result: ScanResult, folder: Path | None = None) -> str:
    """The report as one HTML page; `folder`, where the scan is saved, goes into the suggested command."""
    album = Album(PICTURE_BUDGET)
    cards = _cards(result, album)
    classes = _classes(result)
    flagged = int(result.flagged.sum())
    page = environment().get_template("report.html.j2")
    return page.render(
        result=result,
        status=str(result.verdict.status),
        headline=_HEADLINE[result.verdict.status],
        name=shown(Path(result.path).name or result.path, 60),
        path=shown(result.path, 200),
        summary=shown(result.verdict.summary, 800),
        flagged=flagged,
        flagged_share=text.percent(flagged / max(1, result.n_records)),
        groups={str(s): [card for card in cards if card.severity == s] for s in Severity},
        hidden={str(s): max(0, _number(result, s) - MAX_FINDINGS) for s in Severity},
        numbers={str(s): _number(result, s) for s in Severity},
        sensitivity=[
            (shown(r.poison), text.noticed(r.smallest_rate), shown(r.how, 300))
            for r in result.verdict.sensitivity
        ],
        touched=[row for row in classes if row.flagged or row.review][:MAX_CLASSES],
        untouched=[row for row in classes if not (row.flagged or row.review)][:MAX_CLASSES],
        more_classes=max(0, len(classes) - 2 * MAX_CLASSES),
        unreadable=_unreadable(result),
        scores=[shown(name, 60) for name in result.scores.column_names if name not in _NOT_SCORES],
        seconds=[(shown(name, 60), text.seconds(value)) for name, value in result.seconds.items()],
        encoder=shown(result.encoder, 200),
        views=[shown(view, 60) for view in result.views],
        trusted=None if result.trusted is None else shown(result.trusted, 200),
        sources=_sources(result),
        command=_clean_command(result, folder),
        pictures_left_out=album.left_out,
        first_examples=FIRST_EXAMPLES,
    )


def _number(result: ScanResult, severity: Severity) -> int:
    return sum(finding.severity is severity for finding in result.findings)


def _cards(result: ScanResult, album: Album) -> list[_Card]:
    """The first findings of each severity, poison first; all evidence is embedded before any example."""
    chosen = [
        (number, finding)
        for severity in Severity
        for number, finding in [p for p in enumerate(result.findings) if p[1].severity is severity][
            :MAX_FINDINGS
        ]
    ]
    evidence = {n: _thumbnails(finding.pictures[:4], album, "evidence") for n, finding in chosen}
    return [
        _card(result, number, finding, evidence[number], _examples(finding.examples, album))
        for number, finding in chosen
    ]


def _thumbnails(pictures: tuple[Picture, ...], album: Album, what: Any = "record") -> tuple[Thumbnail, ...]:
    return tuple(thumbnail for picture in pictures if (thumbnail := album.add(picture, what)))


def _examples(examples: tuple[Example, ...], album: Album) -> tuple[_ExampleView, ...]:
    views = []
    for example in examples[:MAX_EXAMPLES]:
        record = album.add(example.record)
        if record is not None:
            same = _thumbnails(example.same_label[:MAX_NEIGHBOURS], album)
            other = _thumbnails(example.other_label[:MAX_NEIGHBOURS], album)
            views.append(_ExampleView(record, same, other))
    return tuple(views)


def _card(
    result: ScanResult,
    number: int,
    finding: Finding,
    evidence: tuple[Thumbnail, ...],
    examples: tuple[_ExampleView, ...],
) -> _Card:
    names = [shown(result.label_names[label], 60) for label in finding.origins]
    quoted = excerpts(finding.details, MAX_EXCERPTS)
    details = [row for row in finding.details.items() if not (quoted and row[0] == "examples")]
    keys = result.scores["key"].take(finding.records[:MAX_KEYS])
    return _Card(
        number=number,
        severity=str(finding.severity),
        word=_SEVERITY[finding.severity],
        title=shown(finding.title, 160),
        explanation=shown(finding.explanation, 1500),
        count=text.count(len(finding.records), "record"),
        share=text.percent(len(finding.records) / max(1, result.n_records)),
        p_value=text.p_value(finding.p_value),
        origins=tuple(names[:6]),
        more_origins=max(0, len(names) - 6),
        target=None if finding.target is None else shown(result.label_names[finding.target], 60),
        evidence=evidence,
        examples=examples,
        excerpts=quoted,
        keys=tuple(shown(key.as_py(), 120) for key in keys),
        more_keys=max(0, len(finding.records) - MAX_KEYS),
        details=tuple((shown(str(k), 60), shown(str(v), 200)) for k, v in details[:20]),
    )


def _classes(result: ScanResult) -> list[_ClassRow]:
    """Classes with flagged records first (most flagged first), then the largest others."""
    tally: dict[str, list[int]] = {}
    severity_of = [finding.severity for finding in result.findings]
    finding_of = np.asarray(result.scores["finding"].to_numpy())
    found = np.flatnonzero(finding_of >= 0)
    labels = result.scores["label"].take(found).to_pylist()
    for label, finding in zip(labels, finding_of[found].tolist(), strict=True):
        if severity_of[finding] is not Severity.NATURAL:
            tally.setdefault(label, [0, 0])[severity_of[finding] is Severity.REVIEW] += 1
    rows = []
    for name, records in zip(result.label_names, result.label_counts, strict=True):
        flagged, review = tally.get(name, (0, 0))
        size = max(1, records)
        rows.append(
            _ClassRow(shown(name, 60), records, flagged, review, 100 * flagged / size, 100 * review / size)
        )
    return sorted(rows, key=lambda row: (-row.flagged, -row.review, -row.records))


def _sources(result: ScanResult) -> list[_SourceRow]:
    """The sources that supply more of the suspects than chance; a finding without these facts is passed over."""
    rows = []
    for finding in result.findings:
        facts = finding.details
        if finding.kind == "suspect-source" and isinstance(facts.get("records"), int):
            rows.append(
                _SourceRow(
                    shown(str(facts.get("source")), 60),
                    shown(str(facts.get("among", "")), 60),
                    len(finding.records),
                    facts["records"],
                    float(facts.get("expected") or 0.0),
                    text.p_value(finding.p_value),
                )
            )
    return rows[:MAX_FINDINGS]


def _unreadable(result: ScanResult) -> list[tuple[str, str]]:
    keys = result.scores["key"]
    return [
        (shown(keys[row.index].as_py()), shown(row.reason, 200)) for row in result.unreadable[:MAX_UNREADABLE]
    ]


def _clean_command(result: ScanResult, folder: Path | None) -> str | None:
    """The command that removes what was found; None where nothing is to be removed."""
    if result.verdict.status is not Status.POISONED:
        return None
    saved = shlex.quote(str(folder)) if folder else "SCAN_FOLDER"
    return shown(f"bezoar clean {shlex.quote(result.path)} --scan {saved} CLEANED", 600)
