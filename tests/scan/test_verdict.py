from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bezoar.scan.result import Finding, Sensitivity, Severity
from bezoar.scan.scene import Evidence
from bezoar.scan.verdict import judged, planted_mask, verdict

K, N, ALPHA = 4, 1000, 0.01
STRONG, WEAK = 1e-9, 0.008
A, B, C = 0, 1, 2  # labels


def finding(
    p_value: float | None, target: int | None, start: int, severity: Severity = Severity.POISON
) -> Finding:
    """One about the ten records from `start` on."""
    return Finding(
        kind="test",
        severity=severity,
        title="t",
        explanation="e.",
        records=np.arange(start, start + 10),
        p_value=p_value,
        target=target,
    )


def view(name: str, *findings: Finding, **p_values: float) -> Evidence:
    """A view whose p-values are its findings', and those given by name of label, and 1."""
    p = np.ones(K)
    for one in findings:
        if one.p_value is not None and one.target is not None:
            p[one.target] = min(p[one.target], one.p_value)
    for label, value in p_values.items():
        p["abcd".index(label)] = value
    return Evidence(name, p, findings)


def severities(evidence: list[Evidence]) -> list[Severity]:
    return [one.severity for one in judged(evidence, ALPHA, N)]


SILENT = [view("second"), view("third"), view("fourth")]


def test_a_weak_finding_does_not_hide_behind_a_strong_one_of_the_same_label_and_view() -> None:
    both = view("spectrum", finding(STRONG, A, 0), finding(WEAK, A, 100))
    evidence = [view("patterns"), both, *SILENT]
    strong, weak = judged(evidence, ALPHA, N)
    assert (strong.severity, weak.severity) == (Severity.POISON, Severity.REVIEW)
    assert weak.explanation.startswith("e. ")
    assert strong.explanation == "e."
    np.testing.assert_array_equal(np.flatnonzero(planted_mask([strong, weak], N)), np.arange(10))


def test_a_weak_finding_stands_where_another_view_rejects_its_label() -> None:
    weak = view("spectrum", finding(WEAK, A, 100))
    assert severities([view("patterns"), weak, *SILENT]) == [Severity.REVIEW]
    assert severities([view("patterns", a=STRONG), weak, *SILENT]) == [Severity.POISON]
    assert severities([view("patterns"), weak, view("third", a=STRONG)]) == [Severity.POISON]
    assert severities([view("patterns", b=STRONG), weak, *SILENT]) == [Severity.REVIEW]  # of another label


def test_several_views_that_are_nearly_sure_are_sure_together() -> None:
    weak = [view(name, finding(WEAK, A, 100 * i)) for i, name in enumerate(("one", "two", "three", "four"))]
    assert severities(weak) == [Severity.POISON] * 4


def test_the_first_view_needs_less_than_the_others() -> None:
    p = 0.004
    assert severities([view("patterns", finding(p, A, 0)), *SILENT]) == [Severity.POISON]
    assert severities([view("patterns"), view("spectrum", finding(p, A, 0)), *SILENT]) == [Severity.REVIEW]


@pytest.mark.parametrize(
    ("p_value", "severity"), [(ALPHA / 2, Severity.POISON), (2 * ALPHA, Severity.REVIEW)]
)
def test_one_view_alone_is_judged_by_itself(p_value: float, severity: Severity) -> None:
    assert severities([view("texts", finding(p_value, B, 0))]) == [severity]


def test_one_view_alone_takes_back_the_weaker_of_two_findings_of_a_label() -> None:
    both = view("texts", finding(STRONG, B, 0), finding(2 * ALPHA, B, 100))
    assert severities([both]) == [Severity.POISON, Severity.REVIEW]


def test_a_finding_without_a_target_speaks_of_the_labels_that_are_as_significant() -> None:
    strong = view("patterns", finding(STRONG, None, 0), c=STRONG)
    assert severities([strong, *SILENT]) == [Severity.POISON]
    weak = view("spectrum", finding(WEAK, None, 0), c=STRONG)
    assert severities([view("patterns"), weak, *SILENT]) == [Severity.REVIEW]


def test_a_finding_that_was_not_tested_is_no_evidence() -> None:
    untested = view("spectrum", finding(None, A, 0), a=STRONG)
    assert severities([view("patterns"), untested, *SILENT]) == [Severity.REVIEW]


def test_what_is_no_poison_is_left_as_it_is() -> None:
    natural = view("patterns", finding(WEAK, A, 0, Severity.NATURAL))
    (said,) = judged([natural, *SILENT], ALPHA, N)
    assert (said.severity, said.explanation) == (Severity.NATURAL, "e.")


def test_poison_is_told_once_and_what_is_taken_back_hides_nothing() -> None:
    first, second = finding(STRONG, A, 0), finding(STRONG, A, 5)
    told = judged([view("patterns", first), view("spectrum", second), *SILENT], ALPHA, N)
    np.testing.assert_array_equal(told[1].records, np.arange(10, 15))
    taken_back = view("spectrum", finding(WEAK, B, 0), finding(STRONG, A, 5))
    told = judged([view("patterns"), taken_back, *SILENT], ALPHA, N)
    np.testing.assert_array_equal(told[1].records, np.arange(5, 15))


@pytest.mark.parametrize("views", [1, 2, 6])
def test_honest_data_are_called_poisoned_at_most_as_often_as_allowed(views: int) -> None:
    rng = np.random.default_rng(views)
    runs, alpha, called = 1500, 0.05, 0
    for _ in range(runs):
        p = np.minimum(1.0, K * rng.random((views, K)))  # each family-wise over its labels
        evidence = [
            view(str(v), *(finding(float(p[v, k]), k, 20 * k) for k in range(K) if p[v, k] <= alpha))
            for v in range(views)
        ]
        evidence = [Evidence(e.view, p[v], e.findings) for v, e in enumerate(evidence)]
        called += any(one.severity is Severity.POISON for one in judged(evidence, alpha, N))
    assert called / runs <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / runs)


def test_a_clean_verdict_says_what_would_not_have_been_noticed_either() -> None:
    labels = np.arange(N) % K
    space = SimpleNamespace(
        records=np.arange(N), labels=labels, votes=SimpleNamespace(margin=np.full(N, -1.0))
    )
    patch, moved = Sensitivity("a patch", 0.01, "how"), Sensitivity("moved records", None, "how")
    said = verdict([], space, N, ALPHA, (patch, moved))  # type: ignore[arg-type]
    assert said.status == "clean"
    assert "would have noticed: a patch, on 1.0%." in said.summary
    assert "At no rate that was tried it would have noticed: moved records." in said.summary
    both = verdict([], space, N, ALPHA, (patch, patch))  # type: ignore[arg-type]
    assert "At no rate" not in both.summary
    assert verdict([], space, N, ALPHA, (moved, patch)).status == "undecided"  # type: ignore[arg-type]
