"""An inspection for a person: one self-contained HTML file, no script, no request, a few MB for any model.

Everything that comes from the model or its data is escaped twice over: invisible characters become visible
(`text.shown`), then Jinja2's autoescape makes markup inert; a Content-Security-Policy forbids scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.inspect.result import Finding, InspectionResult, Picture, Severity
from bezoar.report import inspection_words as words
from bezoar.report import text
from bezoar.report.inspection_plots import bars, strips
from bezoar.report.pictures import Album, Thumbnail
from bezoar.report.templating import environment
from bezoar.report.text import shown
from bezoar.scan.result import Picture as Shot

PICTURE_BUDGET = 3 << 20  # bytes of data URIs
PICTURE_SIDE = 224  # pixels: a small trigger must stay visible
MAX_FINDINGS = 20  # cards of one severity
MAX_EXAMPLES = 8  # of one finding
FIRST_LABELS = 10  # in sight; the others unfold
MAX_LABELS = 100
MAX_STATISTICS = 5
MAX_DETAILS = 20
MAX_NOTES = 20


@dataclass(frozen=True, slots=True)
class _Card:
    """One finding as the template shows it."""

    number: int
    severity: str
    word: str
    title: str
    explanation: str
    p_value: str
    sources: str
    target: str
    extent: str | None
    success: float | None
    control: float | None
    tested: int
    recovered: tuple[Thumbnail, ...]
    examples: tuple[tuple[Thumbnail, Thumbnail], ...]
    details: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _LabelRow:
    label: int
    name: str
    values: tuple[str, ...]
    p_value: str


def inspection_to_html(result: InspectionResult, folder: Path | None = None) -> str:
    """The report as one HTML page; `folder`, where it is saved, goes into the suggested command."""
    album = Album(PICTURE_BUDGET, PICTURE_SIDE)
    cards = _cards(result, album)
    columns = words.statistics(result)[:MAX_STATISTICS]
    rows = _rows(result, columns)
    numbers = {str(s): sum(finding.severity is s for finding in result.findings) for s in Severity}
    page = environment().get_template("inspection.html.j2")
    return page.render(
        result=result,
        status=str(result.verdict.status),
        headline=words.HEADLINE[result.verdict.status],
        version=shown(result.version, 40),
        name=shown(Path(result.path).name or result.path, 60),
        summary=shown(result.verdict.summary, 800),
        significance=words.significance(result.verdict.p_value),
        groups={str(s): [card for card in cards if card.severity == s] for s in Severity},
        hidden={severity: max(0, number - MAX_FINDINGS) for severity, number in numbers.items()},
        numbers=numbers,
        limits=[shown(limit, 300) for limit in result.verdict.limits],
        bars=bars(result),
        strips=strips(result, columns),
        columns=[shown(column, 40) for column in columns],
        glossary=[(shown(column, 40), words.STATISTICS.get(column, "")) for column in columns],
        first_rows=rows[:FIRST_LABELS],
        other_rows=rows[FIRST_LABELS:MAX_LABELS],
        more_labels=max(0, len(rows) - MAX_LABELS),
        facts=_facts(result),
        notes=[shown(note, 400) for note in result.notes[:MAX_NOTES]],
        command=words.repair_command(result, folder),
        pictures_left_out=album.left_out,
    )


def _cards(result: InspectionResult, album: Album) -> list[_Card]:
    """The first findings of each severity, backdoors first; what was recovered is embedded before any example."""
    chosen = [
        pair
        for severity in Severity
        for pair in [p for p in enumerate(result.findings) if p[1].severity is severity][:MAX_FINDINGS]
    ]
    recovered = {number: _recovered(finding.pictures, album) for number, finding in chosen}
    return [_card(result, number, finding, recovered[number], album) for number, finding in chosen]


def _recovered(pictures: tuple[Picture, ...], album: Album) -> tuple[Thumbnail, ...]:
    """Mask and pattern, which come first."""
    return tuple(thumbnail for picture in pictures[:2] if (thumbnail := _thumbnail(picture, album)))


def _examples(pictures: tuple[Picture, ...], album: Album) -> tuple[tuple[Thumbnail, Thumbnail], ...]:
    """Pairs of an image before and after, which come next."""
    pairs = []
    for before, after in zip(pictures[2::2], pictures[3::2], strict=False):
        first, second = _thumbnail(before, album), _thumbnail(after, album)
        if first is not None and second is not None:
            pairs.append((first, second))
    return tuple(pairs[:MAX_EXAMPLES])


def _thumbnail(picture: Picture, album: Album) -> Thumbnail | None:
    return album.add(Shot(picture.pixels, picture.caption), "evidence")


def _card(
    result: InspectionResult, number: int, finding: Finding, recovered: tuple[Thumbnail, ...], album: Album
) -> _Card:
    return _Card(
        number=number,
        severity=str(finding.severity),
        word=words.SEVERITY[finding.severity],
        title=shown(finding.title, 160),
        explanation=shown(finding.explanation, 1500),
        p_value=words.significance(finding.p_value),
        sources=words.sources(result, finding),
        target=words.target(result, finding),
        extent=None if finding.trigger is None else words.extent(finding.trigger),
        success=finding.success,
        control=finding.control,
        tested=finding.tested,
        recovered=recovered,
        examples=_examples(finding.pictures, album),
        details=_pairs(finding.details)[:MAX_DETAILS],
    )


def _rows(result: InspectionResult, columns: list[str]) -> list[_LabelRow]:
    return [
        _LabelRow(
            row.label,
            words.name(result, row.label),
            tuple(words.statistic(row.statistics.get(column)) for column in columns),
            words.significance(row.p_value),
        )
        for row in words.by_suspicion(result)
    ]


def _facts(result: InspectionResult) -> list[tuple[str, str]]:
    """What one needs to inspect again."""
    origins = result.preprocessing.get("origins")
    known = origins if isinstance(origins, Mapping) else {}
    preprocessing = ", ".join(
        f"{key} {value}" + (f" ({known[key]})" if key in known else "")
        for key, value in result.preprocessing.items()
        if key != "origins"
    )
    return [
        ("Model", shown(result.path, 200)),
        ("Format", shown(result.format, 60)),
        ("Digest (SHA-256)", shown(result.digest, 64)),
        ("Architecture", "in the file" if result.architecture is None else shown(result.architecture, 120)),
        ("Labels", text.count(len(result.label_names))),
        ("Preprocessing", shown(preprocessing, 600)),
        ("Clean data", "none" if result.data is None else shown(result.data, 200)),
        ("Tried on", words.data(result)),
        ("Seed", str(result.seed)),
        ("Error level", f"{text.percent(result.verdict.alpha)}, family-wise over labels"),
        ("Device", shown(result.device, 60)),
        ("Time", _times(result.seconds)),
        ("CPU time", _times(result.cpu_seconds)),
    ]


def _times(stages: dict[str, float]) -> str:
    return ", ".join(f"{shown(name, 40)} {text.seconds(value)}" for name, value in stages.items())


def _pairs(details: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((shown(str(key), 60), shown(str(value), 200)) for key, value in details.items())
