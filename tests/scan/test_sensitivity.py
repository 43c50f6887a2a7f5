from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bezoar.scan.sensitivity import RATES, smallest_found

N = 10_000
COUNTS = [round(rate * N) for rate in RATES]


def from_(least: float) -> Callable[[int], bool]:
    """A scan that finds `least` records and more."""
    return lambda count: count >= least


def calls_of(found: Callable[[int], bool], asked: list[int]) -> Callable[[int], bool]:
    def counted(count: int) -> bool:
        asked.append(count)
        return found(count)

    return counted


@pytest.mark.parametrize("least", [*COUNTS, 1, 7, 15, 70, 150, 499, 501, 10**6])
def test_bisection_finds_the_smallest_rate_that_is_found(least: int) -> None:
    enough = [rate for rate, count in zip(RATES, COUNTS, strict=True) if count >= least]
    assert smallest_found("poison", "planted", N, from_(least)).smallest_rate == min(enough, default=None)


def test_rates_of_more_records_than_there_are_to_plant_are_not_asked_for() -> None:
    asked: list[int] = []
    found = smallest_found("poison", "planted", N, calls_of(from_(40), asked), most=60)
    assert found.smallest_rate == 0.005
    assert max(asked) <= 60
    assert smallest_found("poison", "planted", N, from_(1), most=9).smallest_rate is None
    assert (
        smallest_found("poison", "planted", 6, from_(1), most=0).smallest_rate is None
    )  # no two of any label


def test_bisection_asks_for_few_of_the_rates() -> None:
    for least in (1, 15, 70, 10**6):
        asked: list[int] = []
        smallest_found("poison", "planted", N, calls_of(from_(least), asked))
        assert len(set(asked)) <= 3


@pytest.mark.parametrize(("missed", "noticed"), [(1, True), (2, False)])
def test_one_miss_in_ten_trials_is_forgiven_and_two_are_not(missed: int, noticed: bool) -> None:
    misses = dict.fromkeys(COUNTS, missed)

    def found(count: int) -> bool:
        misses[count] -= 1
        return misses[count] < 0

    sensitivity = smallest_found("poison", "planted", N, found)
    assert sensitivity.smallest_rate == (RATES[-1] if noticed else None)


def test_chance_finds_are_not_noticed() -> None:
    rng = np.random.default_rng(0)
    said = [smallest_found("poison", "planted", N, lambda _: rng.random() < 0.5) for _ in range(40)]
    assert sum(kind.smallest_rate is not None for kind in said) <= 5


def test_small_datasets_are_asked_for_one_record_at_least() -> None:
    asked: list[int] = []
    assert smallest_found("poison", "planted", 30, calls_of(from_(1), asked)).smallest_rate == RATES[-1]
    assert min(asked) == 1
