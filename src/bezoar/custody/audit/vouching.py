"""Going through a log for the events of one dataset, each with those who vouch for it: whom the policy allows, at a time that the
order of the log allows, and once. Whoever asks whose signature counts asks here, so that the answer is the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from bezoar.custody.audit.authority import Authority, authority
from bezoar.custody.audit.clock import Clock, Moment
from bezoar.custody.audit.policy import Policy
from bezoar.custody.events.entry import dataset_of
from bezoar.custody.events.history import Logged, read_entry
from bezoar.custody.events.times import time_text

if TYPE_CHECKING:
    from bezoar.custody.signing.dsse import Envelope
    from bezoar.custody.tlog.log import CustodyLog


@dataclass(frozen=True)
class Vouched:
    """An entry about the dataset, and who vouches for its event; nobody does for one that cannot be read.

    `moment` is when it was at the least, where the event says an earlier time. `unread` are earlier entries of other datasets
    that claim a later time and cannot be read: whether it was later then, nobody can tell.
    """

    logged: Logged
    who: Authority
    moment: Moment | None = None
    unread: tuple[Logged, ...] = ()

    @property
    def why(self) -> str:
        """Why nobody vouches for the event."""
        if self.moment is None or self.logged.event is None:
            return self.who.why
        said = time_text(self.logged.event.time)
        return f"{self.who.why}; it says {said}, and is later than entry {self.moment.index}"


def vouching(log: CustodyLog, dataset: str, policy: Policy, now: datetime) -> Iterator[Vouched]:
    """The entries about `dataset`, in order. VerificationError or InputError as `CustodyLog.entries`."""
    clock, said = Clock(log, policy, now), _Said()
    own: set[int] = set()
    for entry in log.entries():
        if dataset_of(entry.data) == dataset:
            own.add(entry.index)
            logged = read_entry(log, entry)
            if logged.event is None or logged.envelope is None:
                yield Vouched(logged, Authority(()))
            else:
                moment = clock.later_than(logged.event.time)
                time = moment.time if moment else None
                who = authority(policy, logged.event, logged.envelope, logged.index, time)
                unread = tuple(each for each in clock.unread if each.index not in own)
                clock.unread.clear()
                yield Vouched(logged, said.once(logged.index, logged.envelope, who), moment, unread)
        clock.note(entry)


class _Said:
    """Which statements have been signed by whom, by entry."""

    def __init__(self) -> None:
        self._entries: dict[tuple[bytes, str], int] = {}

    def once(self, index: int, envelope: Envelope, who: Authority) -> Authority:
        """Who vouches for an entry: nobody who has signed the same statement for an earlier one, which anybody can copy."""
        digest = hashlib.sha256(envelope.payload).digest()
        before = {name: self._entries.setdefault((digest, name), index) for name in who.names}
        new = tuple(name for name, entry in before.items() if entry == index)
        if new or not before:
            return replace(who, names=new)
        entry = min(before.values())
        return Authority(
            (), "replayed", f"is the one of entry {entry}, which {', '.join(before)} signed once"
        )
