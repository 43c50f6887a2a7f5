from __future__ import annotations

import numpy as np
import pytest

from bezoar.inspect.evidence import Evidence, Rival
from bezoar.inspect.findings import told
from bezoar.inspect.inquiry import Case
from bezoar.inspect.result import Severity, Status, Verdict
from bezoar.inspect.suspects import Suspect
from bezoar.inspect.triage import Pair, Triage
from bezoar.inspect.trigger import Trigger
from bezoar.inspect.verdict import severity, verdict

NAMES = ("cat", "dog", "<b>bird</b>", "frog", "ship")


def evidence(success: float = 0.95, rival: float = 0.05) -> Evidence:
    trigger = Trigger("patch", np.ones((3, 8, 8), np.float32), np.eye(8, dtype=np.float32))
    rivals = (Rival(0, 0.4, rival, 120), Rival(1, 0.5, 0.0, 120))
    return Evidence(trigger, success, 0.02, 120, 1e-30, rivals)


def case(
    p_value: float = 1e-4,
    shown: Evidence | None = None,
    *,
    shortcut: bool = False,
    pair: bool = False,
    n_labels: int = 5,
) -> Case:
    ways = {1: 2} if pair else {label: 2 for label in range(n_labels) if label != 2}
    kind = "source-specific" if pair else "all-to-one"
    suspect = Suspect(kind, ways, p_value)
    return Case(suspect, shown, "" if shown else "the budget was spent", shortcut)


def judged(*cases: Case, n_labels: int = 5, images: int | None = 300) -> Verdict:
    names = NAMES[:n_labels]
    found = [(entry, severity(entry, 0.01, n_labels)) for entry in cases]
    findings = [told(entry, kind, names) for entry, kind in found if kind is not None]
    family = min((entry.suspect.p_value for entry in cases), default=0.6)
    return verdict(findings, Triage({}, np.full(n_labels, family), family), 0.01, images)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (case(1e-4, evidence()), Severity.BACKDOOR),
        (case(0.01, evidence()), Severity.BACKDOOR),
        (case(0.02, evidence()), Severity.REVIEW),  # confirmed, but not significant
        (case(1e-4, evidence(rival=0.9)), Severity.REVIEW),  # as short a way leads elsewhere
        (case(1e-4, evidence(success=0.4)), Severity.REVIEW),
        (case(1e-4), Severity.REVIEW),
        (case(0.02, evidence(rival=0.9)), None),
        (case(0.02), None),
        (case(1e-4, evidence(), shortcut=True, pair=True), Severity.SHORTCUT),
    ],
)
def test_a_backdoor_is_significant_and_confirmed(entry: Case, expected: Severity | None) -> None:
    assert severity(entry, 0.01, 5) is expected


def test_with_three_labels_none_can_be_called_a_target() -> None:
    assert severity(case(1e-4, evidence()), 0.01, 3) is Severity.REVIEW
    result = judged(case(1.0, evidence(), n_labels=3), n_labels=3)
    assert result.status is Status.UNDECIDED
    assert "3 labels" in result.summary
    assert "one finding" in result.summary


def test_a_confirmed_backdoor_decides() -> None:
    result = judged(case(1e-4, evidence()), case(0.04, evidence()))
    assert result.status is Status.BACKDOORED
    assert result.p_value == 1e-4
    assert "95%" in result.summary
    assert "120 held-out images" in result.summary


def test_what_stands_out_without_being_confirmed_is_undecided() -> None:
    assert judged(case(1e-4, evidence(rival=0.9))).status is Status.UNDECIDED
    free = judged(case(1e-4), images=None)
    assert free.status is Status.UNDECIDED
    assert "Give clean images" in free.summary
    assert any("Without clean images" in limit for limit in free.limits)


def test_what_stands_out_and_was_dismissed_is_not_called_clean() -> None:
    looked = Triage({}, np.full(5, 0.004), 1e-4, (Pair(1, 2, 1e-4),))
    assert verdict([], looked, 0.01, 300).status is Status.UNDECIDED


def test_nothing_significant_is_clean_and_says_what_it_does_not_see() -> None:
    result = judged(case(0.03, evidence()))
    assert result.status is Status.CLEAN
    assert "one finding" in result.summary
    assert judged().status is Status.CLEAN
    assert len(judged().limits) >= 2


def test_a_shortcut_is_no_backdoor_and_makes_a_model_no_more_suspicious() -> None:
    entry = case(1e-4, evidence(), shortcut=True, pair=True)
    finding = told(entry, Severity.SHORTCUT, NAMES)
    looked = Triage({}, np.full(5, 0.1), 1e-4, (Pair(1, 2, 1e-4), Pair(3, 4, 0.3)))
    result = verdict([finding], looked, 0.01, 300)
    assert result.status is Status.CLEAN
    assert result.p_value == 0.3
    assert verdict([], looked, 0.01, 300).p_value == 1e-4


def test_too_few_images_call_nothing_clean() -> None:
    result = judged(images=39)
    assert result.status is Status.UNDECIDED
    assert "39 clean images" in result.summary
    assert judged(case(1e-4, evidence()), images=39).status is Status.BACKDOORED
    assert judged(images=40).status is Status.CLEAN


@pytest.mark.parametrize("cut", ["choose", "random", "margin", "patch", "exchange"])
@pytest.mark.parametrize("images", [300, None])
def test_what_was_not_looked_at_whole_is_never_called_clean(cut: str, images: int | None) -> None:
    looked = Triage({}, np.full(5, 0.6), 0.6, cut=(cut,))
    result = verdict([], looked, 0.01, images)
    assert result.status is Status.UNDECIDED
    assert "budget was spent" in result.summary
    finding = told(case(1e-4, evidence()), Severity.BACKDOOR, NAMES)
    assert verdict([finding], looked, 0.01, images).status is Status.BACKDOORED


def test_limits_say_what_was_left_out() -> None:
    values = np.full(5, 0.6)
    whole = verdict([], Triage({"source": values}, values, 0.6, closely=np.arange(5)), 0.01, 300)
    assert len(whole.limits) == 2
    cut = verdict([], Triage({}, values, 0.6, closely=np.arange(5), cut=("source",)), 0.01, 300)
    assert any("one label to another were not looked for" in limit for limit in cut.limits)
    assert any("budget was spent" in limit for limit in cut.limits)
    some = verdict([], Triage({"source": values}, values, 0.6, closely=np.arange(2)), 0.01, 300)
    assert "Of 5 labels, 2 were looked at closely" in some.limits[0]


def test_findings_tell_what_was_seen() -> None:
    finding = told(case(1e-4, evidence()), Severity.BACKDOOR, NAMES)
    assert finding.target == 2
    assert finding.sources == ()
    assert (finding.success, finding.control, finding.tested) == (0.95, 0.02, 120)
    assert "12.5%" in finding.explanation  # the share of the image
    assert "'cat' and 'dog'" in finding.explanation  # the rivals
    assert finding.details["confirmed"] is True
    assert finding.details["rivals"][0] == {"target": 0, "size": 0.4, "success": 0.05}
    unseen = told(case(1e-4), Severity.REVIEW, NAMES)
    assert "the budget was spent" in unseen.explanation
    assert unseen.trigger is None


def test_all_to_all_says_what_becomes_what() -> None:
    shift = Suspect("all-to-all", {0: 1, 1: 2, 2: 3}, 1e-4)
    finding = told(Case(shift, evidence()), Severity.BACKDOOR, NAMES)
    assert finding.target is None
    assert finding.sources == (0, 1, 2)
    assert finding.details["ways"] == {"0": 1, "1": 2, "2": 3}


def test_nothing_more_exact_is_told_than_calibration_models_can_know() -> None:
    said = [told(case(p_value, evidence()), Severity.BACKDOOR, NAMES).explanation for p_value in (1e-4, 1e-9)]
    assert "with probability 0.0001." in said[0]
    assert "with probability less than one in a million." in said[1]
