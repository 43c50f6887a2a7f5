"""What time it was at least when an entry was appended: the time of an earlier entry that a signer of the policy has signed.

An event bears the time that its signer says. A key whose window is over, or a stolen one, can say an earlier time; but it cannot
get in front of what is in the log already, of whichever dataset.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bezoar.custody.audit.authority import authority
from bezoar.custody.audit.policy import Policy
from bezoar.custody.events.entry import EventEntry
from bezoar.custody.events.history import Logged, read_entry
from bezoar.errors import InputError

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog, Entry

CLOCKS = timedelta(minutes=10)  # how far the clocks of two signers may be apart


@dataclass(frozen=True)
class Moment:
    """The time of entry `index`, which a signer of the policy has signed."""

    time: datetime
    index: int


class Clock:
    """Goes on with the entries of a log, in order; `now` is the time of the audit, after which nothing can have been signed."""

    def __init__(self, log: CustodyLog, policy: Policy, now: datetime) -> None:
        self._log, self._policy, self._now = log, policy, now
        self._latest: Moment | None = None
        self._claims: list[tuple[float, int, Entry]] = []  # the latest first; signatures are not checked yet
        self.unread: list[Logged] = []  # that claim a later time than an event did, and cannot be read

    def note(self, entry: Entry) -> None:
        """An entry of any dataset; what is no event has no time."""
        try:
            time = EventEntry.parse(entry.data).time
        except InputError:
            return
        if time <= self._now + CLOCKS:
            heapq.heappush(self._claims, (-time.timestamp(), entry.index, entry))

    def later_than(self, time: datetime) -> Moment | None:
        """The latest moment before the next entry, where it is later than `time` by more than clocks may differ.

        Only entries that claim such a moment are read and their signatures checked: none, where times do not run backwards.
        """
        bound = max(time + CLOCKS, self._latest.time) if self._latest else time + CLOCKS
        while self._claims and -self._claims[0][0] > bound.timestamp():
            _, index, entry = heapq.heappop(self._claims)
            logged = read_entry(self._log, entry)
            if logged.event is None or logged.envelope is None:
                self.unread.append(logged)
                continue
            if authority(self._policy, logged.event, logged.envelope, index).names:
                self._latest = Moment(logged.event.time, index)
                break
        return self._latest if self._latest and self._latest.time > time + CLOCKS else None
