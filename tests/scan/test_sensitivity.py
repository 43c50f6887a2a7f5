from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bezoar.scan.sensitivity import RATES, smallest_found, smallest_noticed

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
def test_bisection_finds_the_smallest_rate_that_the_descent_finds(least: int) -> None:
    expected = max((rate for rate, count in zip(RATES, COUNTS, strict=True) if count < least), default=0.0)
    smallest = min((rate for rate in RATES if rate > expected), default=None)
    descended, bisected = (
        search("poison", "planted", N, from_(least)) for search in (smallest_found, smallest_noticed)
    )
    assert descended == bisected
    assert bisected.smallest_rate == smallest


def test_bisection_asks_for_few_of_the_rates() -> None:
    for least in (1, 15, 70, 10**6):
        asked: list[int] = []
        smallest_noticed("poison", "planted", N, calls_of(from_(least), asked))
        assert len(set(asked)) <= 3


@pytest.mark.parametrize("search", [smallest_found, smallest_noticed])
@pytest.mark.parametrize(("missed", "noticed"), [(1, True), (2, False)])
def test_one_miss_in_ten_trials_is_forgiven_and_two_are_not(
    search: Callable[..., object], missed: int, noticed: bool
) -> None:
    misses = dict.fromkeys(COUNTS, missed)

    def found(count: int) -> bool:
        misses[count] -= 1
        return misses[count] < 0

    sensitivity = search("poison", "planted", N, found)
    assert sensitivity.smallest_rate == (RATES[-1] if noticed else None)  # type: ignore[attr-defined]


def test_chance_finds_are_not_noticed() -> None:
    rng = np.random.default_rng(0)
    for search in (smallest_found, smallest_noticed):
        said = [search("poison", "planted", N, lambda _: rng.random() < 0.5) for _ in range(40)]
        assert sum(kind.smallest_rate is not None for kind in said) <= 5


def test_small_datasets_are_asked_for_one_record_at_least() -> None:
    asked: list[int] = []
    assert smallest_noticed("poison", "planted", 30, calls_of(from_(1), asked)).smallest_rate == RATES[-1]
    assert min(asked) == 1
