"""Where the labels of a model lie: significance as bars in the order of labels, each statistic as a strip of ticks.

Both are drawn for 2 labels as for 20,000: paths in a box of 100 x 100 that the page stretches, and text beside it. Every figure
in them is in the table of labels or in the JSON result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bezoar.inspect.result import InspectionResult, Severity
from bezoar.report import inspection_words as words
from bezoar.report.text import power_of_ten, shown

_TINY = 1e-300
_HEADROOM = 4.0  # times the threshold: significance above that is cut, or it would hide all else
_NAMED = 3  # targets with their names at their bars
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Bars:
    """Minus the logarithm of each label's p-value.

    Attributes:
        paths: severity ("" for labels that no finding points at) to an SVG path.
        threshold: height of the line, percent from the top, that one label's bar has to cross.
        ticks: (percent from the top, p-value).
        named: (percent from the left, of that edge of the bar where there is more room; name; severity) of targets.
        cut: whether a bar is higher than the box.

    """

    paths: tuple[tuple[str, str], ...]
    threshold: float
    ticks: tuple[tuple[float, str], ...]
    named: tuple[tuple[float, str, str], ...]
    cut: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """One statistic of all labels, small values on the left: severity to an SVG path of ticks."""

    name: str
    lowest: str
    highest: str
    paths: tuple[tuple[str, str], ...]


def bars(result: InspectionResult) -> Bars | None:
    """None where no label was tested."""
    if not result.labels:
        return None
    K = 1 + max(row.label for row in result.labels)
    scores = {row.label: _score(row.p_value) for row in result.labels}
    line = _score(result.verdict.alpha / len(scores))
    top = min(max(1.1 * line, *scores.values()), _HEADROOM * line)
    step = max(1, math.ceil(top / _TICKS))
    width = 100 / K
    gap = 0.15 * width if K <= 60 else 0.0
    severities = _severities(result)

    def path(labels: Sequence[int]) -> str:
        return "".join(
            f"M{label * width + gap:.2f} 100V{100 - 100 * min(1.0, scores[label] / top):.1f}h{width - 2 * gap:.3f}V100z"
            for label in labels
        )

    named = [
        label
        for label, severity in severities.items()
        if severity is not Severity.SHORTCUT and label in scores
    ]
    return Bars(
        paths=_by_severity(scores, severities, path),
        threshold=round(100 - 100 * line / top, 2),
        ticks=tuple(
            (round(100 - 100 * power / top, 2), power_of_ten(-power))
            for power in range(0, math.floor(top) + 1, step)
        ),
        named=tuple(
            (round((label + (label < K / 2)) * width, 2), words.name(result, label), str(severities[label]))
            for label in named[:_NAMED]
        ),
        cut=max(scores.values()) > top,
    )


def strips(result: InspectionResult, columns: Sequence[str]) -> tuple[Strip, ...]:
    """One for each statistic that at least two labels differ in."""
    severities = _severities(result)
    drawn = []
    for column in columns:
        values = {
            row.label: row.statistics[column]
            for row in result.labels
            if math.isfinite(row.statistics.get(column, math.nan))
        }
        if len(set(values.values())) < 2:
            continue
        low, high = min(values.values()), max(values.values())

        def path(
            labels: Sequence[int], values: dict[int, float] = values, low: float = low, high: float = high
        ) -> str:
            return "".join(f"M{1 + 98 * (values[label] - low) / (high - low):.2f} 0V100" for label in labels)

        drawn.append(
            Strip(
                shown(column, 40),
                words.statistic(low),
                words.statistic(high),
                _by_severity(values, severities, path),
            )
        )
    return tuple(drawn)


def _score(p: float) -> float:
    return 0.0 if math.isnan(p) else -math.log10(min(1.0, max(p, _TINY)))


def _severities(result: InspectionResult) -> dict[int, Severity]:
    """Targets of findings, the gravest claim first."""
    found: dict[int, Severity] = {}
    for _, finding in words.by_severity(result):
        if finding.target is not None:
            found.setdefault(finding.target, finding.severity)
    return found


def _by_severity(
    labels: Iterable[int], severities: dict[int, Severity], path: Callable[[Sequence[int]], str]
) -> tuple[tuple[str, str], ...]:
    """One path for each severity; labels without a finding come first and so lie below."""
    groups: dict[str, list[int]] = {}
    for label in labels:
        groups.setdefault(str(severities.get(label, "")), []).append(label)
    return tuple((severity, path(groups[severity])) for severity in sorted(groups))
