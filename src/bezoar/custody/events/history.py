"""The events of one dataset in a custody log, in order, each entry proved to be in the log.

What cannot be read as an event is handed out all the same, with what is wrong with it: an event that nobody can read is a
hole in the books, and who reads them has to say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bezoar.custody.events.entry import EventEntry, dataset_of
from bezoar.custody.events.event import Event
from bezoar.custody.events.statements import event_of
from bezoar.custody.signing.dsse import Envelope
from bezoar.custody.signing.statement import IN_TOTO, Statement
from bezoar.errors import InputError, VerificationError

if TYPE_CHECKING:
    from bezoar.custody.tlog.log import CustodyLog, Entry


@dataclass(frozen=True)
class Logged:
    """Entry `index` of the log; `event` and `envelope` are None where `problem` says why. No signature is checked."""

    index: int
    event: Event | None
    envelope: Envelope | None
    problem: str = ""


def history(log: CustodyLog, dataset: str) -> Iterator[Logged]:
    """The entries about `dataset`; entries about other things are passed over.

    VerificationError when the log is not what its checkpoint signs, InputError when it cannot be read.
    """
    for entry in log.entries():
        if dataset_of(entry.data) == dataset:
            yield read_entry(log, entry)


def read_entry(log: CustodyLog, entry: Entry) -> Logged:
    """The event that an entry names, or what is wrong with it."""
    where = f"{log.location}: entry {entry.index}"
    envelope = None
    try:
        stated = EventEntry.parse(entry.data, where)
        envelope = Envelope.parse(log.object(stated.object), where)
        event = read_event(envelope, where)
        _compare(stated, event, where)
    except (InputError, VerificationError) as error:
        return Logged(entry.index, None, envelope, str(error))
    return Logged(entry.index, event, envelope)


def read_event(envelope: Envelope, where: str = "event") -> Event:
    """The event in an envelope, whoever signed it; InputError when it holds none."""
    if envelope.payload_type != IN_TOTO:
        raise InputError(f"{where}: the payload is {envelope.payload_type[:60]!r} instead of {IN_TOTO}")
    return event_of(Statement.parse(envelope.payload, where), where)


def entry_of(event: Event, object_hex: str) -> EventEntry:
    """The log's entry for an event whose envelope has this SHA-256."""
    named = max(len(event.records), len(event.was))
    return EventEntry(event.dataset, event.kind, object_hex, named or None, event.after, event.time)


def _compare(stated: EventEntry, event: Event, where: str) -> None:
    if stated != entry_of(event, stated.object):
        raise InputError(f"{where}: says something else than the statement that it names")
