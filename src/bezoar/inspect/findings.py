"""Cases told as findings: what was seen, how unlikely that is in a clean model, what it would do. Loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bezoar.inspect.evidence import Evidence
from bezoar.inspect.inquiry import Case
from bezoar.inspect.result import Finding, Severity
from bezoar.inspect.suspects import FEWEST_LABELS
from bezoar.inspect.trigger import Trigger

_NAMED = 3  # labels in a sentence
_TOLD = 1e-6  # the smallest probability that is told as a figure


def told(case: Case, severity: Severity, names: Sequence[str]) -> Finding:
    """A case as a finding, without pictures; `names` (K) are the labels'."""
    suspect, evidence = case.suspect, case.evidence
    finding = Finding(
        kind=suspect.kind,
        severity=severity,
        target=suspect.target,
        sources=() if suspect.kind == "all-to-one" else tuple(sorted(suspect.ways)),
        title=_title(case, severity, names),
        explanation=" ".join(filter(None, (_seen(case, names), _unlikely(case, severity, names)))),
        p_value=suspect.p_value,
        details=_details(case),
    )
    if evidence is None:
        return finding
    return replace(
        finding,
        trigger=evidence.trigger,
        success=evidence.success,
        control=evidence.control,
        tested=evidence.tested,
    )


def _title(case: Case, severity: Severity, names: Sequence[str]) -> str:
    suspect = case.suspect
    whose = _listed(sorted(suspect.ways), names)
    where = "other labels" if suspect.target is None else repr(names[suspect.target])
    if severity is Severity.SHORTCUT:
        return f"{whose} and {where} are nearly alike to this model"
    what = "Images" if suspect.kind == "all-to-one" else f"Images of {whose}"
    if severity is Severity.BACKDOOR:
        return f"{what} with {_article(case.evidence)} are taken for {where}"
    if case.evidence is not None and case.evidence.works:
        return f"{what} can be turned into {where} by {_article(case.evidence)}"
    return f"{where} stands out as the target of a backdoor would"


def _article(evidence: Evidence | None) -> str:
    if evidence is None:
        return "a trigger"
    return {"patch": "a small patch", "shift": "a faint pattern", "warp": "a slight warp"}[
        evidence.trigger.kind
    ]


def _seen(case: Case, names: Sequence[str]) -> str:
    """What the trigger did."""
    evidence = case.evidence
    if evidence is None:
        return f"No trigger was recovered: {case.why_not}."
    to = "the labels it shifts them to" if case.suspect.target is None else repr(names[case.suspect.target])
    told = (
        f"A {evidence.trigger.kind} that {_changes(evidence.trigger)} turns {evidence.success:.0%} of {evidence.tested} "
        f"images that it was not made with into {to}; "
        f"random ones of equal size turn {evidence.control:.0%}."
    )
    if evidence.rivals:
        best = max(rival.success for rival in evidence.rivals)
        others = [rival.target for rival in evidence.rivals if rival.target is not None]
        whose = _listed(others, names) if others else "other exchanges of these labels"
        told += f" Triggers recovered alike for {whose} turn {best:.0%} at most, though they may be half as large again."
    return told


def _changes(trigger: Trigger) -> str:
    match trigger.kind:
        case "patch":
            return f"covers {trigger.size:.1%} of the image"
        case "shift":
            return f"changes each pixel by {trigger.size:.1%} of its range on average"
        case "warp":
            return f"moves each pixel by {trigger.size:.1%} of the height on average"


def _unlikely(case: Case, severity: Severity, names: Sequence[str]) -> str:
    p_value = case.suspect.p_value
    match severity:
        case Severity.SHORTCUT:
            return "The model hardly tells them apart without a trigger, either: clean models have such a short way, too."
        case Severity.BACKDOOR:
            return f"{_so_far(p_value)} Whoever knows the trigger decides what this model answers."
        case Severity.REVIEW if case.evidence is not None and case.evidence.confirmed:
            if len(names) < FEWEST_LABELS:
                return f"With {len(names)} labels there are too few others to say how unusual that is."
            return f"Over all labels that is not significant (p = {p_value:.2g})."
        case _:
            return _so_far(p_value)


def _so_far(p_value: float) -> str:
    """Nothing more exact than what a few dozen clean models can tell."""
    likely = "less than one in a million" if p_value < _TOLD else f"{p_value:.1g}"
    return f"In a clean model, something stands out so far with probability {likely}."


def _details(case: Case) -> dict[str, Any]:
    """Machine-readable facts."""
    details: dict[str, Any] = {
        "ways": {str(source): target for source, target in sorted(case.suspect.ways.items())}
    }
    if case.suspect.kind == "all-to-one":
        details = {}
    evidence = case.evidence
    if evidence is None:
        return details | {"confirmed": False, "reason": case.why_not}
    details |= {
        "confirmed": evidence.confirmed,
        "trigger": evidence.trigger.kind,
        "size": evidence.trigger.size,
        "p_value_against_random": evidence.p_value,
        "rivals": [{"target": r.target, "size": r.size, "success": r.success} for r in evidence.rivals],
    }
    return details


def _listed(labels: Sequence[int], names: Sequence[str]) -> str:
    """'a', 'b' and 2 more."""
    shown = [repr(names[label]) for label in labels[:_NAMED]]
    if len(labels) > _NAMED:
        shown.append(f"{len(labels) - _NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
