"""One verdict from all views: which findings count as planted, and what the dataset is called.

Each view gives every label a p-value that is family-wise within the view; the views are joined per label by the Cauchy
combination. A finding is called poison only where its label is rejected at alpha by all views together, so a clean dataset
is called poisoned with probability at most about alpha, however many views ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bezoar.scan.functional.combination import FIRST_VIEW, cauchy
from bezoar.scan.result import Finding, Sensitivity, Severity, Status, Verdict
from bezoar.scan.scene import Evidence
from bezoar.scan.space import Space

MIN_USABLE = 200  # fewer records cannot carry a verdict
WITHOUT_CANARIES = "Nothing planted was found, but what would have been noticed was not measured."
_LEAST_AGREEMENT = 0.1  # of the way from chance to perfect, that neighbours must agree with the labels
_MOSTLY_EXPLAINED = 0.5  # a finding that an earlier one explains to this share is not told twice
_EXCLUDED_BY_NO_VIEW = (
    "Poison that imitates honest records in every view, such as gradient matching, is not excluded."
)


def judged(evidence: Sequence[Evidence], alpha: float, n: int) -> list[Finding]:
    """The views' findings over `n` records, each record's poison told once, severities after all views are counted.

    Half of the error allowed is the first view's, however many there are: patches are the commonest poison, and where few
    carry one its p-value is a few thousandths at best, which an equal share among many views would never reject.
    """
    others = len(evidence) - 1
    weights = np.array([FIRST_VIEW] + [(1 - FIRST_VIEW) / others] * others if others else [1.0])
    p_values = np.stack([view.p_values for view in evidence])
    findings: list[Finding] = []
    for number, view in enumerate(evidence):
        for finding in view.findings:
            if finding.severity is Severity.POISON and not _rejected(
                p_values, weights, number, finding, alpha
            ):
                finding = replace(
                    finding,
                    severity=Severity.REVIEW,
                    explanation=finding.explanation
                    + " Over all views together this is not significant: a person should look.",
                )
            findings = _add(findings, finding, n)
    return findings


def _rejected(
    p_values: NDArray[np.float64], weights: NDArray[np.float64], view: int, finding: Finding, alpha: float
) -> bool:
    """Whether a label that the finding speaks of (its target, or all as significant in its view) is rejected by all views.

    Its view counts with the finding's own p-value (V, K): a weak one must not hide behind a strong one of the same label.
    """
    own = 1.0 if finding.p_value is None else finding.p_value
    ours = p_values[view] <= own
    if finding.target is not None:
        ours = np.arange(len(ours)) == finding.target
    weighed = p_values.copy()
    weighed[view, ours] = np.maximum(weighed[view, ours], own)
    return bool((cauchy(weighed, weights) <= alpha)[ours].any())


def _add(findings: list[Finding], finding: Finding, n: int) -> list[Finding]:
    """Append `finding` without the records that earlier poison holds; drop it when that explains most of it."""
    rest = finding.records[~planted_mask(findings, n)[finding.records]]
    if len(rest) < (1 - _MOSTLY_EXPLAINED) * len(finding.records):
        return findings
    return [*findings, replace(finding, records=rest)]


def planted_mask(findings: Sequence[Finding], n: int) -> NDArray[np.bool_]:
    """Records (n,) that a finding of severity `poison` holds."""
    mask = np.zeros(n, dtype=bool)
    for finding in findings:
        if finding.severity is Severity.POISON:
            mask[finding.records] = True
    return mask


def verdict(
    findings: Sequence[Finding], space: Space, n: int, alpha: float, sensitivity: tuple[Sensitivity, ...]
) -> Verdict:
    """What the dataset of `n` records is called."""
    planted = [finding for finding in findings if finding.severity is Severity.POISON]
    if planted:
        count = int(planted_mask(planted, n).sum())
        groups = "one group" if len(planted) == 1 else f"{len(planted)} groups"
        words = f"{count:,} of {n:,} records ({count / n:.2%}) look planted, in {groups}."
        return Verdict(Status.POISONED, alpha, words, sensitivity)
    reason = _undecided(space, n, sensitivity)
    if reason:
        return Verdict(Status.UNDECIDED, alpha, reason, sensitivity)
    noticed = "; ".join(
        f"{kind.poison}, on {kind.smallest_rate:.1%}" for kind in sensitivity if kind.smallest_rate
    )
    unnoticed = "; ".join(kind.poison for kind in sensitivity if not kind.smallest_rate)
    words = f"Nothing planted was found. Of all records, this scan would have noticed: {noticed}. "
    if unnoticed:
        words += f"At no rate that was tried it would have noticed: {unnoticed}. "
    words += _EXCLUDED_BY_NO_VIEW
    return Verdict(Status.CLEAN, alpha, words, sensitivity)


def _undecided(space: Space, n: int, sensitivity: tuple[Sensitivity, ...]) -> str | None:
    usable = len(space.records)
    if usable < MIN_USABLE or usable < n / 2:
        return f"Only {usable} of {n} records are readable and labelled: too few to call this dataset clean."
    if not _labels_mean_something(space):
        return "To this encoder the labels look random, so relabelled records could not stand out: try another encoder."
    if not sensitivity:
        return WITHOUT_CANARIES
    if sensitivity[0].smallest_rate is None:
        return f"Nothing planted was found, but not even {sensitivity[0].poison}, on 5 % of the records would have been noticed."
    return None


def _labels_mean_something(space: Space) -> bool:
    """Whether neighbours agree with the labels more often than the largest class alone would make them."""
    chance = np.bincount(space.labels).max() / len(space.labels)
    agreement = (space.votes.margin < 0).mean()
    return bool(agreement >= min(chance + _LEAST_AGREEMENT * (1 - chance), 1.0))
