"""Which opinion applies is a rule, not a choice."""

from __future__ import annotations

import pytest

from bezoar.custody.audit.irregularities import KINDS, Effect, Irregularity, irregularity
from bezoar.custody.audit.opinion import Verdict, form, misstated


def keys(number: int) -> list[str]:
    return [f"k{place}" for place in range(number)]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], Verdict.UNQUALIFIED),
        ([irregularity("relabelled", "x", keys(1))], Verdict.QUALIFIED),
        ([irregularity("relabelled", "x", keys(10))], Verdict.QUALIFIED),  # 1 %, no more than is tolerable
        ([irregularity("relabelled", "x", keys(11))], Verdict.ADVERSE),
        ([irregularity("missing-reviews", "x", keys(1000))], Verdict.QUALIFIED),  # the balances may be right
        ([irregularity("unreadable-event", "x")], Verdict.QUALIFIED),
        ([irregularity("no-log", "x")], Verdict.DISCLAIMER),
        ([irregularity("no-log", "x"), irregularity("relabelled", "x", keys(1))], Verdict.DISCLAIMER),
        ([irregularity("old-seal", "x")], Verdict.ADVERSE),
        ([irregularity("old-seal", "x"), irregularity("no-data", "x")], Verdict.ADVERSE),
    ],
)
def test_the_rules(found: list[Irregularity], verdict: Verdict) -> None:
    opinion = form(found, "signs", 1000, 0.01)
    assert opinion.verdict is verdict
    assert opinion.reasons
    assert "'signs'" in opinion.paragraph


def test_a_record_counts_once() -> None:
    twice = [irregularity("relabelled", "x", keys(3)), irregularity("data-changed", "x", keys(4))]
    assert misstated(twice) == 4
    assert misstated([irregularity("relabelled", "x", keys(250))]) == 250


def test_hostile_names_are_no_format() -> None:
    assert "{0.__class__}" in form([], "{0.__class__}", 1, 0.01).paragraph


def test_every_kind_says_what_to_do() -> None:
    for kind in KINDS.values():
        assert kind.title
        assert kind.remedy
        assert kind.effect in Effect
