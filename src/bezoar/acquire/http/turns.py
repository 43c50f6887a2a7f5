"""Whose turn it is: so many at a time to one host, retries when their time has come, nobody waits for somebody else's host."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """A queue of items, each for one host. An item that `next` hands out holds one of its host's places until `release`.

    Attributes:
        waiting: items for whose host there is no place, and items put off.

    """

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._taken: dict[Hashable, int] = {}
        self._parked: dict[Hashable, deque[T]] = {}
        self._ready: deque[T] = deque()
        self._later: list[tuple[float, int, Hashable, T]] = []
        self._count = 0
        self.waiting = 0

    def add(self, host: Hashable, item: T) -> None:
        """Queue `item`."""
        taken = self._taken.get(host, 0)
        if taken < self._per_host:
            self._taken[host] = taken + 1
            self._ready.append(item)
        else:
            self._parked.setdefault(host, deque()).append(item)
            self.waiting += 1

    def add_later(self, host: Hashable, item: T, at: float) -> None:
        """Queue `item` once the clock says `at`."""
        self._count += 1  # so that items are never compared
        heapq.heappush(self._later, (at, self._count, host, item))
        self.waiting += 1

    def next(self, now: float) -> T | None:
        """The next item that may go; None if there is none yet."""
        while self._later and self._later[0][0] <= now:
            _, _, host, item = heapq.heappop(self._later)
            self.waiting -= 1
            self.add(host, item)
        return self._ready.popleft() if self._ready else None

    def release(self, host: Hashable) -> None:
        """One place at this host is free again."""
        parked = self._parked.get(host)
        if parked:
            self._ready.append(parked.popleft())
            self.waiting -= 1
            if not parked:
                del self._parked[host]
            return
        self._taken[host] -= 1
        if not self._taken[host]:
            del self._taken[host]

    @property
    def ready(self) -> int:
        """Items that may go at once."""
        return len(self._ready)

    def due(self) -> float | None:
        """When the first of the items put off is due."""
        return self._later[0][0] if self._later else None
