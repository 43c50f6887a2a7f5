"""What it would take to own a part of a list: domains that lapse or are for sale, and the cheapest way to 0.01 % of the rows.

The measure is that of Carlini et al., "Poisoning Web-Scale Training Datasets is Practical" (2023): 0.01 % of LAION-400M for 60 US
dollars. What the table does not know is unknown, never safe.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from fractions import Fraction

from bezoar.acquire.lists.concentration import PARTS_PER_MILLION, DomainRows, needed
from bezoar.acquire.lists.prices import Offer

SOON = timedelta(days=90)
_EXACT = 50_000_000  # domains times rows up to which the cheapest choice is computed, not approached


class State(StrEnum):
    """What a table says of a domain on a day; the first that fits."""

    FOR_SALE = "for_sale"  # it has a price
    LAPSED = "lapsed"  # its registration has ended
    LAPSING = "lapsing"  # it ends within 90 days
    HELD = "held"  # it ends later
    UNKNOWN = "unknown"  # the table does not have the domain, or neither day nor price


@dataclass(frozen=True, slots=True)
class Holding:
    """A domain in the list and in the table."""

    domain: str
    rows: int
    offer: Offer
    state: State


@dataclass(frozen=True, slots=True)
class Group:
    """The domains of one state, their rows, and the largest of them."""

    state: State
    domains: int
    rows: int
    largest: tuple[Holding, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """The cheapest way to a share of the rows.

    Attributes:
        parts_per_million: the share.
        needed: rows that it takes.
        price: in hundredths; None when all that is for sale does not suffice.
        rows: that one then controls.
        domains: to buy.
        exact: whether no other choice is cheaper; otherwise none is cheaper than `floor`.
        floor: a price, in hundredths, below which there is no way.

    """

    parts_per_million: int
    needed: int
    price: int | None
    rows: int
    domains: tuple[Holding, ...]
    exact: bool
    floor: int


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a table says about the domains of a list, on a day."""

    day: date
    listed: int
    groups: tuple[Group, ...]
    ways: tuple[Way, ...]

    @property
    def exposed(self) -> int:
        """Rows on domains that have lapsed or are for sale."""
        return sum(each.rows for each in self.groups if each.state in (State.FOR_SALE, State.LAPSED))


def state_of(offer: Offer, day: date) -> State:
    """What the table says of a domain on this day."""
    if offer.price is not None:
        return State.FOR_SALE
    if offer.expires is None:
        return State.UNKNOWN
    if offer.expires < day:
        return State.LAPSED
    return State.LAPSING if offer.expires - day <= SOON else State.HELD


def purchase(
    parts: Iterable[list[DomainRows]], offers: Mapping[str, Offer], day: date, listed: int
) -> Purchase:
    """From all domains of a list, each once; `listed` of the largest of each state are named."""
    domains = dict.fromkeys(State, 0)
    rows = dict.fromkeys(State, 0)
    largest: dict[State, list[Holding]] = {state: [] for state in State}
    for_sale: list[Holding] = []
    for part in parts:
        for each in part:
            offer = offers.get(each.domain)
            state = State.UNKNOWN if offer is None else state_of(offer, day)
            domains[state] += 1
            rows[state] += each.rows
            if offer is not None:
                holding = Holding(each.domain, each.rows, offer, state)
                largest[state].append(holding)
                if state is State.FOR_SALE:
                    for_sale.append(holding)
    groups = tuple(
        Group(
            state, domains[state], rows[state], tuple(heapq.nsmallest(listed, largest[state], key=_by_rows))
        )
        for state in State
    )
    total = sum(rows.values())
    return Purchase(
        day,
        len(offers),
        groups,
        tuple(cheapest(for_sale, total, ppm) for ppm in PARTS_PER_MILLION) if total else (),
    )


def cheapest(for_sale: Sequence[Holding], rows: int, parts_per_million: int) -> Way:
    """The cheapest domains that together hold this share of `rows`; computed where that is quick, else approached from above."""
    goal = needed(rows, parts_per_million)
    if sum(each.rows for each in for_sale) < goal:
        return Way(parts_per_million, goal, None, 0, (), True, 0)
    offered = sorted(for_sale, key=lambda each: (Fraction(_price(each), each.rows), -each.rows, each.domain))
    floor = _floor(offered, goal)
    chosen = _greedy(offered, goal)
    exact = sum(map(_price, chosen)) == floor
    if not exact and len(offered) * goal <= _EXACT:
        chosen, exact = _exact(offered, goal), True
    price = sum(map(_price, chosen))
    return Way(
        parts_per_million,
        goal,
        price,
        sum(each.rows for each in chosen),
        tuple(sorted(chosen, key=_by_rows)),
        exact,
        price if exact else floor,
    )


def _floor(offered: Sequence[Holding], goal: int) -> int:
    """What the goal costs when a part of a domain can be bought for that part of its price: no way is cheaper."""
    price = Fraction(0)
    for each in offered:
        taken = min(each.rows, goal)
        price += Fraction(_price(each) * taken, each.rows)
        goal -= taken
        if not goal:
            break
    return -(-price.numerator // price.denominator)


def _greedy(offered: Sequence[Holding], goal: int) -> list[Holding]:
    """The cheapest per row until the goal is reached; then, dearest first, without those that turn out not to be needed."""
    chosen: list[Holding] = []
    rows = 0
    for each in offered:
        if rows >= goal:
            break
        chosen.append(each)
        rows += each.rows
    for each in sorted(chosen, key=_price, reverse=True):
        if rows - each.rows >= goal:
            chosen.remove(each)
            rows -= each.rows
    return chosen


def _exact(offered: Sequence[Holding], goal: int) -> list[Holding]:
    """The covering knapsack problem by dynamic programming over the rows that are still needed."""
    import numpy as np

    never = np.iinfo(np.int64).max // 2
    best = np.full(goal + 1, never)  # price of at least so many rows
    best[0] = 0
    taken = np.zeros((len(offered), goal + 1), bool)
    for place, each in enumerate(offered):
        before = np.zeros(goal + 1, np.int64)  # nothing is needed any more
        before[each.rows :] = best[: max(0, goal + 1 - each.rows)]
        price = before + _price(each)
        price[0] = never
        taken[place] = price < best
        best = np.minimum(best, price)
    chosen = []
    for place in reversed(range(len(offered))):
        if taken[place, goal]:
            chosen.append(offered[place])
            goal = max(0, goal - offered[place].rows)
    return chosen


def _price(each: Holding) -> int:
    return each.offer.price or 0


def _by_rows(each: Holding) -> tuple[int, str]:
    return -each.rows, each.domain
