"""Turns: limits by host, and items that are put off."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bezoar.acquire.http.turns import Turns


def test_first_come_first_served_up_to_the_limit_of_a_host() -> None:
    turns: Turns[str] = Turns(per_host=1)
    for host, item in (("a", "a1"), ("a", "a2"), ("b", "b1")):
        turns.add(host, item)
    assert (turns.next(0), turns.next(0), turns.next(0)) == ("a1", "b1", None)
    assert turns.waiting == 1
    turns.release("a")
    assert (turns.next(0), turns.waiting) == ("a2", 0)


def test_items_that_are_put_off_come_when_they_are_due() -> None:
    turns: Turns[str] = Turns(per_host=2)
    turns.add_later("a", "late", 2.0)
    turns.add_later("a", "early", 1.0)
    assert (turns.due(), turns.next(0.9), turns.waiting) == (1.0, None, 2)
    assert (turns.next(1.0), turns.due(), turns.next(1.5), turns.next(2.0)) == ("early", 2.0, None, "late")
    assert (turns.due(), turns.waiting) == (None, 0)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=60))
def test_all_come_once_and_no_host_has_too_many(per_host: int, items: list[tuple[str, int]]) -> None:
    turns: Turns[tuple[int, str]] = Turns(per_host)
    for number, (host, at) in enumerate(items):
        if at:
            turns.add_later(host, (number, host), float(at))
        else:
            turns.add(host, (number, host))
    seen, now, held = [], 0.0, Counter[str]()
    while len(seen) < len(items):
        item = turns.next(now)
        if item is not None:
            seen.append(item[0])
            held[item[1]] += 1
            assert held[item[1]] <= per_host
        elif held:
            host = next(iter(held.elements()))
            held[host] -= 1
            held += Counter()
            turns.release(host)
        else:
            now += 1.0
    assert sorted(seen) == list(range(len(items)))
    assert turns.waiting == 0
